# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""x87 control: control and status word, environment and state images (SDM vol. 1, 8.1.10 and figures 8-9 to 8-12).

None of these changes the instruction and data pointers but by loading them.
"""
from libc.string cimport memset

from pcemu._core.x87 cimport *

cdef enum:
    STATE32 = 108
    CW_BITS = 0x1F3F
    CW_ONE = 0x40               # always set


cdef inline u16 status(Cpu* c) noexcept nogil:
    return <u16>((c.fsw & 0xC7FF) | (c.ftop & 7) << 11)


cdef inline void changed(Cpu* c, u16 before) noexcept nogil:
    """With CR0.NE = 0 the end of a pending exception lowers FERR#."""
    if UNLIKELY(before & ~c.fsw & X_ES and not c.cr0 & CR0_NE):
        ferr(c, 0)


cdef inline void set_control(Cpu* c, u32 v) noexcept nogil:
    cdef u16 before = c.fsw
    c.fcw = <u16>((v & CW_BITS) | CW_ONE)
    summarise(c)
    changed(c, before)


cdef void init(Cpu* c) noexcept nogil:
    """FNINIT; the registers keep what they hold (SDM vol. 3, table 9-1)."""
    cdef u16 before = c.fsw
    c.fcw = 0x37F
    c.fsw = 0
    c.ftop = 0
    c.ftag = 0
    c.fop = 0
    c.fip = c.fdp = 0
    c.fcs = c.fds = 0
    changed(c, before)


# ------------------------------------------------------------------------------------------------------- words

cdef Op* op_fwait(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_fnclex(Cpu* c, Op* op) noexcept nogil:
    cdef u16 before = c.fsw
    c.fsw &= <u16>~(X_FLAGS | X_SF | X_ES | X_B)
    changed(c, before)
    return nxt(c, op)


cdef Op* op_fninit(Cpu* c, Op* op) noexcept nogil:
    init(c)
    return nxt(c, op)


cdef Op* op_fneni(Cpu* c, Op* op) noexcept nogil:
    """8087 interrupt control: nothing since the 287."""
    return nxt(c, op)


cdef Op* op_fndisi(Cpu* c, Op* op) noexcept nogil:
    return nxt(c, op)


cdef Op* op_fnsetpm(Cpu* c, Op* op) noexcept nogil:
    """287 protected mode: nothing since the 387."""
    return nxt(c, op)


cdef Op* op_fldcw_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p
    if UNLIKELY(not ready(c)):
        return fault(c, op)
    p = ld(c, op, 2)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    set_control(c, (<u16*>p)[0])
    return nxt(c, op)


cdef Op* op_fnstcw_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not st16(c, op, c.fcw)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_fnstsw_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not st16(c, op, status(c))):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_fnstsw_r(Cpu* c, Op* op) noexcept nogil:
    (<u16*>&c.r[RAX])[0] = status(c)
    return nxt(c, op)

# ------------------------------------------------------------------------------------------------------ images

cdef inline bint linear(Cpu* c) noexcept nogil:
    """Real and virtual-8086 mode: the image has 20-bit (32-bit) linear pointers and the opcode instead of selectors."""
    return not c.mode & M_PE or c.mode & M_VM


cdef u32 tag_word(Cpu* c) noexcept nogil:
    """Two bits a register: 0 valid, 1 zero, 2 special, 3 empty."""
    cdef u32 tags = 0, i, t
    cdef u64 m, e
    for i in range(8):
        m = c.fpr[2 * i]
        e = c.fpr[2 * i + 1] & SE_NAN
        if not full(c, i):
            t = 3
        elif e == 0:
            t = 2 if m else 1
        else:
            t = 2 if e == SE_NAN or not m >> 63 else 0
        tags |= t << (2 * i)
    return tags


cdef u32 pack(Cpu* c, u32* w, bint wide) noexcept nogil:
    """The environment as seven words or doublewords; returns the bytes of each."""
    cdef u32 i
    cdef u32 ip = <u32>c.fip
    cdef u32 dp = <u32>c.fdp
    w[0] = c.fcw
    w[1] = status(c)
    w[2] = tag_word(c)
    if linear(c):
        ip += <u32>c.fcs << 4
        dp += <u32>c.fds << 4
        w[3] = ip & 0xFFFF
        w[5] = dp & 0xFFFF
        w[4] = (ip >> 16) << 12 | (c.fop & 0x7FF)
        w[6] = (dp >> 16) << 12
    else:
        w[3] = ip
        w[4] = c.fcs
        w[5] = dp
        w[6] = c.fds
        if wide:
            w[4] |= (c.fop & 0x7FF) << 16
    if wide:
        for i in range(7):
            if i != 4 and (linear(c) or i != 3 and i != 5) and not (linear(c) and i == 6):
                w[i] |= <u32>0xFFFF0000
    return 4 if wide else 2


cdef void unpack(Cpu* c, const u8* p, bint wide) noexcept nogil:
    """The environment from memory. Whether an exception is pending follows from flags and masks, not from ES in the image."""
    cdef u32 w[7]
    cdef u32 i
    cdef u16 before = c.fsw
    cdef bint lin = linear(c)
    for i in range(7):
        w[i] = (<u32*>p)[i] if wide else (<u16*>p)[i]
    c.fcw = <u16>((w[0] & CW_BITS) | CW_ONE)
    c.fsw = <u16>(w[1] & (X_FLAGS | X_SF | X_CC))
    c.ftop = <u8>(w[1] >> 11 & 7)
    c.ftag = 0
    for i in range(8):
        if (w[2] >> (2 * i)) & 3 != 3:
            c.ftag |= <u8>(1 << i)
    summarise(c)
    if lin:
        c.fip = (w[3] & 0xFFFF) | (w[4] & 0x0FFFF000) << 4
        c.fdp = (w[5] & 0xFFFF) | (w[6] & 0x0FFFF000) << 4
        c.fop = <u16>(w[4] & 0x7FF)
        c.fcs = c.fds = 0
    else:
        c.fip = w[3]
        c.fdp = w[5]
        c.fcs = <u16>w[4]
        c.fds = <u16>w[6]
        if wide:
            c.fop = <u16>(w[4] >> 16 & 0x7FF)
    changed(c, before)


cdef bint save(Cpu* c, Op* op, bint registers) noexcept nogil:
    """The environment, and the registers in stack order, to memory: all or nothing."""
    cdef u8 image[STATE32 + 6]
    cdef u32 w[7]
    cdef bint wide = op.osz & 3 != 1
    cdef u32 n = pack(c, w, wide)
    cdef u32 i, size
    cdef u64 va
    for i in range(7):
        (<u32*>(image + n * i))[0] = w[i]       # in order: the upper halves of 16-bit words are written over
    size = 7 * n
    if registers:
        for i in range(8):
            (<u64*>(image + size))[0] = c.fpr[2 * phys(c, i)]
            (<u16*>(image + size))[4] = <u16>c.fpr[2 * phys(c, i) + 1]
            size += 10
    if not ea(c, op, size, ACC_WRITE):
        return 0
    va = c.ea
    if not mmu.probe_write(c, op, va, size):
        return 0
    i = 0
    while i < size:
        if size - i >= 4:
            if not stv32(c, op, va + i, (<u32*>(image + i))[0]):
                return 0
        elif not stv16(c, op, va + i, (<u16*>(image + i))[0]):
            return 0
        i += 4
    return 1


cdef bint restore(Cpu* c, Op* op, bint registers) noexcept nogil:
    cdef u8 image[STATE32 + 20]
    cdef bint wide = op.osz & 3 != 1
    cdef u32 at = 28 if wide else 14
    cdef u32 size = at + (80 if registers else 0)
    cdef u32 i
    cdef u64 va
    cdef u8* p
    if not ea(c, op, size, ACC_READ):
        return 0
    va = c.ea
    if not mmu.probe_read(c, op, va, size):
        return 0
    memset(image, 0, sizeof(image))
    for i in range(0, size, 2):
        p = ldv(c, op, va + i, 2)
        if p is NULL:
            return 0
        (<u16*>(image + i))[0] = (<u16*>p)[0]
    unpack(c, image, wide)
    if registers:
        for i in range(8):
            c.fpr[2 * phys(c, i)] = (<u64*>(image + at))[0]
            c.fpr[2 * phys(c, i) + 1] = (<u16*>(image + at))[4]
            at += 10
    return 1


cdef Op* op_fnstenv_m(Cpu* c, Op* op) noexcept nogil:
    """Store the environment, then mask all exceptions."""
    if UNLIKELY(not save(c, op, 0)):
        return fault(c, op)
    set_control(c, c.fcw | X_FLAGS)
    return nxt(c, op)


cdef Op* op_fnsave_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not save(c, op, 1)):
        return fault(c, op)
    init(c)
    return nxt(c, op)


cdef Op* op_fldenv_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not ready(c) or not restore(c, op, 0)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_frstor_m(Cpu* c, Op* op) noexcept nogil:
    if UNLIKELY(not ready(c) or not restore(c, op, 1)):
        return fault(c, op)
    return nxt(c, op)


include "gen/x_x87_env_reg.pxi"
