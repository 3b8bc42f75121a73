"""FMA (fused multiply and add, one rounding) and F16C (conversion from and to half precision), expanded from x_avx_fma.pxi.in."""
from libc.string cimport memcpy, memset

from pcemu._core.simd cimport *
from pcemu._core.x_sse_fp cimport FpFn, fp_try, shape

cdef extern from "host_fma.h" nogil:
    enum:
        FMA_132, FMA_213, FMA_231, FMA_NEG, FMA_SUB, FMA_ADDSUB, FMA_SUBADD
    bint have_fma() noexcept
    void f_vcvtph2ps(u8* d, const u8* s, u32 imm, u32* mx) noexcept
    void v_vcvtph2ps(u8* d, const u8* a, const u8* b, u32 imm, u32* mx) noexcept
    void w_vcvtph2ps(u8* d, const u8* a, const u8* b, u32 imm, u32* mx) noexcept
    void v_vcvtps2ph(u8* d, const u8* a, const u8* b, u32 imm, u32* mx) noexcept
    void w_vcvtps2ph(u8* d, const u8* a, const u8* b, u32 imm, u32* mx) noexcept
    u32 ps2ph_flags(const u8* s, int n, u32 imm, u32 ctl, u32 live) noexcept

cdef enum:
    MX_BEFORE = 7       # IE, DE, ZE: found before the result is

ctypedef void (*ConvertFn)(u8* d, const u8* a, const u8* b, u32 imm, u32* mx) noexcept nogil


cdef bint fma_commit(Cpu* c, Op* op, FpFn f, const u8* s, int size, int halves) noexcept nogil:
    """s: the third operand, of `size` bytes."""
    cdef u8* d = c.vec[op.reg]
    cdef u8 t[32]
    cdef u8 pair[64]                    # second and third operand of each half
    memset(pair, 0, 64)
    memcpy(t, d, 32)
    memcpy(pair, c.vec[op.vvvv], 16)
    memcpy(pair + 32, &c.vec[op.vvvv][16], 16)
    memcpy(pair + 16, s, 16 if size > 16 else size)
    if halves > 1:
        memcpy(pair + 48, s + 16, 16)
    if not fp_try(c, op, f, t, pair, halves, 32):
        return 0
    if halves == 1:
        memset(t + 16, 0, 16)
    memcpy(d, t, 32)
    return 1


cdef Op* fma_slow(Cpu* c, Op* op, FpFn f, const u8* s, int size, int halves) noexcept nogil:
    """A handler's work with an exception unmasked, or on a host without FMA."""
    if UNLIKELY(not fma_commit(c, op, f, s, size, halves)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* fma_slow_mem_twin(Cpu* c, Op* op, FpFn f, int size, int halves) noexcept nogil:
    """A memory form's slow twin, for any of its reasons."""
    cdef u8* p = ld(c, op, size)
    if UNLIKELY(p is NULL):
        return fault(c, op)
    return fma_slow(c, op, f, p, size, halves)


# Called through a variable, so that the compiler keeps it out of the handlers, whose fast path then needs no stack.
cdef Op* (*fma_slow_mem)(Cpu* c, Op* op, FpFn f, int size, int halves) noexcept nogil
fma_slow_mem = fma_slow_mem_twin

# --------------------------------------------------------------------------------------------- half precision

cdef bint from_half_commit(Cpu* c, Op* op, const u8* s, int halves) noexcept nogil:
    cdef u8 t[32]
    memset(t, 0, 32)
    if not fp_try(c, op, f_vcvtph2ps, t, s, halves, 8):
        return 0
    memcpy(c.vec[op.reg], t, 32)
    return 1


cdef Op* from_half_slow(Cpu* c, Op* op, const u8* s, int halves) noexcept nogil:
    if UNLIKELY(not from_half_commit(c, op, s, halves)):
        return fault(c, op)
    return nxt(c, op)


cdef bint to_half_allowed(Cpu* c, Op* op, const u8* s, int n) noexcept nogil:
    """With an exception unmasked. False: #XM (or #UD) is pending, its flags are set."""
    cdef u32 live = ~(c.mxcsr >> 7) & MXCSR_FLAGS
    cdef u32 flags = ps2ph_flags(s, n, <u32>op.imm, c.mxcsr, live)
    if flags & live & MX_BEFORE:
        flags &= MX_BEFORE
    c.mxcsr |= flags
    if flags & live:
        set_exc(c, EXC_XM if c.cr4 & CR4_OSXMMEXCPT else EXC_UD)
        return 0
    return 1


cdef bint to_half_store(Cpu* c, Op* op, ConvertFn f, int size) noexcept nogil:
    """The flags of a conversion whose store faults do not stay."""
    cdef u8 t[32]
    cdef u64 va
    if not ea(c, op, size, ACC_WRITE):
        return 0
    va = c.ea
    if not mmu.probe_write(c, op, va, size):
        return 0
    if not fp_quiet(c) and not to_half_allowed(c, op, c.vec[op.reg], size // 2):
        return 0
    f(t, NULL, c.vec[op.reg], <u32>op.imm, &c.mxcsr)
    return mmu.st_slow_bytes(c, op, va, t, size)

include "gen/x_avx_fma.pxi"
include "gen/x_avx_fma_reg.pxi"
