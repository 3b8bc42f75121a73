"""Shared by the MMX, SSE and state-image families: aligned operands and the floating-point environment.

While the CPU runs, the host's MXCSR holds the guest's rounding, DAZ and FTZ with every exception masked, so that a handler is
one host instruction. The sticky flags gather there and come home on STMXCSR, FXSAVE and fp_leave(). The engine calls
fp_enter() when it starts to run handlers and fp_leave() before anything else of the host's may compute: at its exit and
around callbacks. With an exception unmasked every operation takes fp_slow() (x_sse_fp.pyx).
"""
from pcemu._core.access cimport *
from pcemu._core cimport modes

cdef extern from "host_fp.h" nogil:
    u32 host_mxcsr_get() noexcept
    void host_mxcsr_set(u32) noexcept
    const int PCEMU_X86

include "gen/features.pxi"

cdef enum:
    MXCSR_FLAGS = 0x3F
    MXCSR_DAZ = 1 << 6
    MXCSR_MASKS = 0x1F80
    MXCSR_CONTROL = 0xE040      # rounding, FTZ, DAZ
    MXCSR_MM = 1 << 17          # AMD: misaligned operands of other instructions than moves are allowed
    HOST_FP_ON = 1 << 31        # in Cpu.host_fp, with the host's own MXCSR below it


cdef inline void fp_enter(Cpu* c) noexcept nogil:
    """The guest's floating-point environment into the host."""
    c.host_fp = host_mxcsr_get() | <u32>HOST_FP_ON
    host_mxcsr_set((c.mxcsr & (MXCSR_CONTROL | MXCSR_FLAGS)) | MXCSR_MASKS)


cdef inline void fp_leave(Cpu* c) noexcept nogil:
    """Sticky flags home, the host's own environment back."""
    if PCEMU_X86:
        c.mxcsr |= host_mxcsr_get() & MXCSR_FLAGS
    host_mxcsr_set(c.host_fp & ~<u32>HOST_FP_ON)
    c.host_fp = 0


cdef inline u32 get_mxcsr(Cpu* c) noexcept nogil:
    """MXCSR as the guest sees it, in a handler or outside."""
    if PCEMU_X86 and c.host_fp:
        c.mxcsr |= host_mxcsr_get() & MXCSR_FLAGS
    return c.mxcsr


cdef inline void set_mxcsr(Cpu* c, u32 v) noexcept nogil:
    c.mxcsr = v
    if PCEMU_X86 and c.host_fp:
        host_mxcsr_set((v & (MXCSR_CONTROL | MXCSR_FLAGS)) | MXCSR_MASKS)


cdef inline bint feature(Cpu* c, u32 n) noexcept nogil:
    """Does the CPU model have this feature (FEAT_*)?"""
    return (c.feat[n >> 6] >> (n & 63)) & 1


cdef inline u32 mxcsr_mask(Cpu* c) noexcept nogil:
    """The bits that exist."""
    return 0xFFFF | MXCSR_MM if feature(c, FEAT_MISALIGNSSE) else 0xFFFF


cdef inline bint fp_quiet(Cpu* c) noexcept nogil:
    """All exceptions masked: the ordinary case."""
    return LIKELY((c.mxcsr & MXCSR_MASKS) == MXCSR_MASKS)


cdef inline Op* fp_mode(Cpu* c, Op* op) noexcept nogil:
    """Behind an instruction that has loaded MXCSR (it ends its block): the mode says whether an exception is unmasked."""
    if UNLIKELY(fp_quiet(c) == ((c.mode & M_FPX) != 0)):
        modes.update_mode(c)
        return leave(c, next_pc(c, op))
    return nxt(c, op)

# -------------------------------------------------------------------------------------------- 16-byte operands

cdef inline bint ea16(Cpu* c, Op* op, int access, bint move) noexcept nogil:
    """Address of an aligned 16-byte operand into c.ea. Misaligned: #GP(0), never #AC; MXCSR.MM lets all but moves do it."""
    if UNLIKELY(not ea(c, op, 16, access)):
        return 0
    if UNLIKELY(c.ea & 15) and (move or not c.mxcsr & MXCSR_MM):
        set_exc_err(c, EXC_GP, 0)
        return 0
    return 1


cdef inline u8* ld16a(Cpu* c, Op* op) noexcept nogil:
    """The op's aligned 16-byte operand, for reading. NULL: return fault(c, op)."""
    if not ea16(c, op, ACC_READ, 0):
        return NULL
    return ldv(c, op, c.ea, 16)


cdef inline u8* quick(Cpu* c, Op* op, TlbEntry* tlb, int size, u64 align) noexcept nogil:
    """The op's operand where a flat address, its alignment and a TLB hit are all it takes, else NULL with nothing done: then
    the handler ends in a call of its slow twin, so that the fast path saves no register."""
    cdef u64 va, off
    cdef TlbEntry* e
    if LIKELY(op.am == AM_FLAT64):
        va = c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp + c.seg[op.seg].base
    elif op.am == AM_FLAT32:
        va = <u32>(<u32>(c.r[op.base] + (c.r[op.index] << (op.scale & 3)) + <u64><s64>op.disp) + c.seg[op.seg].base)
    else:
        return NULL
    if UNLIKELY(va & align):
        return NULL
    e = &tlb[(va >> 12) & TLB_MASK]
    off = va - e.tag
    if LIKELY(off <= <u64>(4096 - size)):
        return e.host + off
    return NULL


cdef inline u8* quick_r(Cpu* c, Op* op, int size, u64 align) noexcept nogil:
    return quick(c, op, c.tlb_r, size, align)


cdef inline u8* quick_w(Cpu* c, Op* op, int size, u64 align) noexcept nogil:
    return quick(c, op, c.tlb_w, size, align)
