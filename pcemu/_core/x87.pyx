"""x87 exceptions: pending ones, stack faults, and the responses masked and unmasked (SDM vol. 1, 8.4-8.7).

Arithmetic runs on the host with every exception masked. outcome() turns the flags it raised into what the guest's control word
asks for. Where the guest has overflow or underflow unmasked, the result is that of the same operation on scaled operands, its
exponent biased by 24,576 (SDM vol. 1, 8.5.4).
"""
from pcemu._core.access cimport *
from pcemu._core.latch cimport settle_ports
from pcemu._core.physmem cimport Memory
from pcemu._core.undo cimport Lock

cdef enum:
    BIAS = 16383
    WRAP = 24576            # the exponent of a result that overflows or underflows unmasked is off by this
    SMALL = 200             # operands this many binades below 1: the series' second term is far beyond the significand

if not x87_host_default():
    raise ImportError("pcemu: the x87 control word of this process is not the ABI's 0x37f")


# ------------------------------------------------------------------------------------------- pending exceptions

cdef void ferr(Cpu* c, bint level) noexcept with gil:
    """The FERR# pin, for CR0.NE = 0. The machine's ferr_hook(level) drives IRQ 13 with it."""
    if c.lock_pass:
        (<Lock*>c.lock).ferr = 1 + level        # when the run is over
        return
    try:
        settle_ports(c)
        hook = (<object>c.pyobj).ferr_hook
        if hook is not None:
            c.in_callback = 1
            hook(bool(level))
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
    finally:
        c.in_callback = 0


cdef bint wait_slow(Cpu* c) noexcept nogil:
    """ES is set at a waiting instruction. True: go on regardless.

    CR0.NE = 1: #MF. CR0.NE = 0: FERR# asks for IRQ 13 (SDM vol. 1, 8.7.2). Where it comes through at once the instruction runs
    again after it; where interrupts are off or IGNNE# is held, the instruction goes on, as with a real IGNNE#.
    """
    if c.cr0 & CR0_NE:
        set_exc(c, EXC_MF)
        return 0
    ferr(c, 1)
    if c.exit == EXIT_CALLBACK:
        return 0
    if c.pending & PEND_INTR and c.eflags & F_IF and not (c.shadow and c.single and c.shadow_at == c.icount_end - <u64>c.budget - 1):
        c.exit = EXIT_SINGLE
        return 0
    return 1


cdef bint stack_fault(Cpu* c, u32 c1) noexcept nogil:
    """Stack overflow (c1 = X_C1) or underflow (0). True: masked, deliver the indefinite QNaN."""
    c.fsw = <u16>((c.fsw & ~X_C1) | X_IE | X_SF | c1)
    summarise(c)
    return c.fcw & X_IE


# ------------------------------------------------------------------------------------------------- arithmetic

cdef u32 run(Cpu* c, X87Fn f, void* d, const void* a, const void* b) noexcept nogil:
    """Run f under the guest's precision and rounding. Flags that are set in fsw and masked may show without cause."""
    return x87_run(f, d, a, b, c.fcw, c.fsw & c.fcw & X_FLAGS)


cdef void to80(u64* d, const void* p, u32 kind) noexcept nogil:
    """A finite memory operand as an 80-bit value."""
    cdef s64 v = 0
    cdef u64 bits, e
    cdef u64 sign = 0
    d[0] = d[1] = 0
    if kind == A_I16 or kind == A_I32:
        v = (<s16*>p)[0] if kind == A_I16 else (<s32*>p)[0]
        if v == 0:
            return
        if v < 0:
            sign = 0x8000
            v = -v
        e = clz64(v)
        d[0] = <u64>v << e
        d[1] = sign | (BIAS + 63 - e)
        return
    if kind == A_REG:
        d[0] = (<u64*>p)[0]
        d[1] = (<u64*>p)[1]
        return
    if kind == A_M32:
        bits = (<u32*>p)[0]
        e = (bits >> 23) & 255
        sign = (bits >> 31) << 15
        d[0] = bits << 40
        bits = 127
    else:
        bits = (<u64*>p)[0]
        e = (bits >> 52) & 2047
        sign = (bits >> 63) << 15
        d[0] = bits << 11
        bits = 1023
    d[0] &= ~(<u64>1 << 63)
    d[1] = sign
    if e:
        d[0] |= <u64>1 << 63
        d[1] |= e + BIAS - bits
    elif d[0]:
        e = clz64(d[0])
        d[0] <<= e
        d[1] |= BIAS - bits + 1 - e


cdef s32 unit(u64* d, const u64* s) noexcept nogil:
    """The operand scaled to [1, 2) (a zero stays); returns the exponent that takes it back."""
    cdef s32 e = <s32>(s[1] & SE_NAN)
    cdef u32 z
    d[0] = s[0]
    d[1] = s[1] & 0xFFFF
    if d[0] == 0:
        return 0
    z = clz64(d[0])
    d[0] <<= z
    d[1] = (s[1] & 0x8000) | BIAS
    return (e if e else 1) - <s32>z - BIAS


cdef inline void shift(u64* d, s32 by) noexcept nogil:
    """Multiply by 2^by; what becomes too small is a tiny number, whose sign is all that matters."""
    cdef s32 e = <s32>(d[1] & SE_NAN) + by
    if d[0] == 0:
        return
    if e < 1:
        e = 1
        d[0] = <u64>1 << 63
    d[1] = (d[1] & 0x8000) | <u32>e


cdef u32 rescale(Cpu* c, X87Fn f, u32 how, bint under, u64* d, const u64* a, const u64* b) noexcept nogil:
    """The unmasked response: the result of f with its exponent wrapped; returns flags and C1."""
    cdef u64 x[2]
    cdef u64 y[2]
    cdef s32 ea = unit(x, a)
    cdef s32 eb = unit(y, b) if b is not NULL else 0
    cdef s32 e
    cdef u32 sw = 0
    if how == S_ADD:
        e = SMALL if under else -64
        shift(x, ea + e)
        shift(y, eb + e)
        e = -e
    elif how == S_MUL:
        e = ea + eb
    elif how == S_DIV:
        e = ea - eb
    elif how == S_DIVR:
        e = eb - ea
    elif how == S_SMALL:
        shift(x, -SMALL)
        e = ea + SMALL
    elif how == S_ATAN:
        shift(y, -SMALL)
        e = eb - ea + SMALL
    elif how == S_LOG or how == S_LOGP1:
        e = eb
        if how == S_LOG or ea > -SMALL:
            x[0] = a[0]
            x[1] = a[1]
        else:
            shift(x, -SMALL)
            e += ea + SMALL
    elif how == S_SCALE:                # a * 2^trunc(b)
        e = 0
        if eb > 16:
            e = 100000
        elif eb >= 0 and y[0]:
            e = <s32>(y[0] >> (63 - eb))
        e = ea - e if y[1] & 0x8000 else ea + e
        d[0] = x[0]
        d[1] = x[1]
    else:                               # S_EXACT: the result is there
        e = unit(d, d)
    if how != S_SCALE and how != S_EXACT:
        sw = x87_run(f, d, x, y, c.fcw, 0)
    e += <s32>(d[1] & SE_NAN) + (WRAP if under else -WRAP)
    sw = (sw & (X_PE | X_C1)) | (X_UE if under else X_OE)
    if e >= SE_NAN:                     # FSCALE can go further than the wrapped exponent reaches
        e = SE_NAN
        d[0] = <u64>1 << 63
        sw |= X_PE | X_C1
    elif e <= 0:
        e = 0
        d[0] = 0
        sw |= X_PE
    d[1] = (d[1] & 0x8000) | <u32>e
    return sw


cdef bint outcome(Cpu* c, X87Fn f, u32 how, u32 sw, u64* d, const u64* a, const u64* b) noexcept nogil:
    """f has raised the flags in sw and left a masked result in d. Sets status; True: write d, which may have changed."""
    cdef u32 live = ~<u32>c.fcw & X_FLAGS
    if UNLIKELY(live):
        if sw & live & X_BEFORE:
            c.fsw = <u16>((c.fsw & ~X_C1) | (sw & X_BEFORE) | X_ES | X_B)
            return 0
        if how:
            # an exact tiny result raises UE only when unmasked
            if live & X_UE and (sw & X_UE or (d[0] and not d[1] & SE_NAN)):
                sw = (sw & ~(X_FLAGS | X_C1)) | (sw & X_DE) | rescale(c, f, how, 1, d, a, b)
            elif sw & live & X_OE:
                sw = (sw & ~(X_FLAGS | X_C1)) | (sw & X_DE) | rescale(c, f, how, 0, d, a, b)
        if sw & live:
            c.fsw |= X_ES | X_B
    c.fsw = <u16>((c.fsw & ~X_C1) | (sw & (X_FLAGS | X_C1)))
    return 1
