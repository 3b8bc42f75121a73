"""AVX moves: registers, memory, single elements, broadcasts, masked moves and gathers; tests; VZEROUPPER and VZEROALL."""
from libc.string cimport memset

from pcemu._core.simd cimport *

cdef extern from "host_avx.h" nogil:
    void copy16 "h_copy16"(u8* d, const u8* s) noexcept
    u32 h_pmovmskb(const u8* s) noexcept
    u32 h_movmskps(const u8* s) noexcept
    u32 h_movmskpd(const u8* s) noexcept
    u32 v_test(const u8* a, const u8* b, u64 mask) noexcept
    u32 w_test(const u8* a, const u8* b, u64 mask) noexcept
    void clear_high(u8* d) noexcept

ctypedef void (*AvxFn)(u8* d, const u8* a, const u8* b, u32 imm) noexcept nogil


cdef Op* slow_load_twin(Cpu* c, Op* op, AvxFn f, int size, u64 align) noexcept nogil:
    """What quick_r() does not do. Misaligned where that matters: #GP(0)."""
    cdef u8* p
    if UNLIKELY(not ea(c, op, size, ACC_READ)):
        return fault(c, op)
    if UNLIKELY(c.ea & align):
        return raise_err(c, op, EXC_GP, 0)
    p = ldv(c, op, c.ea, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    f(c.vec[op.reg], c.vec[op.vvvv], p, <u32>op.imm)
    return nxt(c, op)


cdef Op* slow_store_twin(Cpu* c, Op* op, const u8* src, int size, u64 align) noexcept nogil:
    cdef u8* p
    if UNLIKELY(not ea(c, op, size, ACC_WRITE)):
        return fault(c, op)
    if UNLIKELY(c.ea & align):
        return raise_err(c, op, EXC_GP, 0)
    p = wrp(c, op, c.ea, size)
    if p is not NULL:
        mmu.copy_small(p, src, size)
    elif UNLIKELY(not mmu.st_slow_bytes(c, op, c.ea, src, size)):
        return fault(c, op)
    return nxt(c, op)


# Called through variables, so that the compiler keeps them out of the handlers, whose fast path then needs no stack.
cdef Op* (*slow_load)(Cpu* c, Op* op, AvxFn f, int size, u64 align) noexcept nogil
cdef Op* (*slow_store)(Cpu* c, Op* op, const u8* src, int size, u64 align) noexcept nogil
slow_load = slow_load_twin
slow_store = slow_store_twin

# ------------------------------------------------------------------------------------- masked moves and gathers

cdef inline bint chosen(const u8* mask, int i, int width) noexcept nogil:
    """Is the top bit of the mask's element set?"""
    return mask[i * width + width - 1] >> 7


cdef inline bint lin_at(Cpu* c, Op* op, u64 off, int size, int access) noexcept nogil:
    """Linear address of the operand's offset `off`, cut to the address size, into c.ea. Masked moves and gathers never raise #AC."""
    if ((op.scale >> 2) & 3) != 3:
        off = <u32>off
    if not segcheck.seg_lin(c, op.seg, off + size - 1, 1, access):
        return 0
    return segcheck.seg_lin(c, op.seg, off, 1, access)


cdef bint reach(Cpu* c, Op* op, const u8* mask, int size, int width, int access) noexcept nogil:
    """Would an access to the chosen elements of the op's memory operand go through? Other elements do not matter, and with none
    chosen nothing does. False: the fault is pending. Else c.ea is where the operand begins."""
    cdef int i, first = -1, last = 0
    cdef u64 va
    for i in range(size // width):
        if chosen(mask, i, width):
            last = i
            if first < 0:
                first = i
    if first < 0:
        return 1
    size = (last + 1 - first) * width
    if not lin_at(c, op, segcheck.ea_offset(c, op) + first * width, size, access):
        return 0
    va = c.ea
    if not (mmu.probe_read(c, op, va, size) if access == ACC_READ else mmu.probe_write(c, op, va, size)):
        return 0
    c.ea = va - first * width
    return 1


cdef bint masked_load(Cpu* c, Op* op, int size, int width) noexcept nogil:
    cdef u8* mask = c.vec[op.vvvv]
    cdef u8* p
    cdef u8 t[32]
    cdef int i
    cdef u64 va
    memset(t, 0, 32)
    if not reach(c, op, mask, size, width, ACC_READ):
        return 0
    va = c.ea
    for i in range(size // width):
        if chosen(mask, i, width):
            p = ldv(c, op, va + i * width, width)
            if UNLIKELY(p is NULL):
                return 0
            if width == 4:
                (<u32*>t)[i] = (<u32*>p)[0]
            else:
                (<u64*>t)[i] = (<u64*>p)[0]
    copy16(c.vec[op.reg], t)
    copy16(&c.vec[op.reg][16], &t[16])
    return 1


cdef bint masked_store(Cpu* c, Op* op, int size, int width) noexcept nogil:
    cdef u8* mask = c.vec[op.vvvv]
    cdef u8* v = c.vec[op.reg]
    cdef int i
    cdef u64 va
    if not reach(c, op, mask, size, width, ACC_WRITE):
        return 0
    va = c.ea
    for i in range(size // width):
        if chosen(mask, i, width):
            if not (stv32(c, op, va + 4 * i, (<u32*>v)[i]) if width == 4 else stv64(c, op, va + 8 * i, (<u64*>v)[i])):
                return 0
    return 1


cdef bint gather(Cpu* c, Op* op, int n, int index, int width) noexcept nogil:
    """n elements of `width` bytes by indices of `index` bytes. An element that was loaded has its mask element cleared, so that
    after a fault the instruction goes on where it stopped (SDM vol. 2, VGATHERDPS)."""
    cdef u8* d = c.vec[op.reg]
    cdef u8* mask = c.vec[op.vvvv]
    cdef u8* x = c.vec[op.is4]
    cdef u64 base = c.r[op.base] + <u64><s64>op.disp
    cdef s64 k
    cdef u8* p
    cdef int i
    for i in range(n):
        if chosen(mask, i, width):
            k = (<s32*>x)[i] if index == 4 else (<s64*>x)[i]
            if UNLIKELY(not lin_at(c, op, base + (<u64>k << (op.scale & 3)), width, ACC_READ)):
                return 0
            p = ldv(c, op, c.ea, width)
            if UNLIKELY(p is NULL):
                return 0
            if width == 4:
                (<u32*>d)[i] = (<u32*>p)[0]
            else:
                (<u64*>d)[i] = (<u64*>p)[0]
        if width == 4:
            (<u32*>mask)[i] = 0
        else:
            (<u64*>mask)[i] = 0
    memset(mask, 0, 32)
    memset(d + n * width, 0, 32 - n * width)
    return 1

include "gen/x_avx.pxi"


cdef Op* op_vzero_128(Cpu* c, Op* op) noexcept nogil:
    """VZEROUPPER."""
    cdef int i
    for i in range(16 if c.mode & M_CODE64 else 8):
        clear_high(c.vec[i])
    return nxt(c, op)


cdef Op* op_vzero_256(Cpu* c, Op* op) noexcept nogil:
    """VZEROALL."""
    memset(c.vec, 0, 16 * 32 if c.mode & M_CODE64 else 8 * 32)
    return nxt(c, op)


include "gen/x_avx_reg.pxi"
