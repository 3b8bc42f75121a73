"""Emitters of MMX: operations on the lower half of a spare XMM register, from and to the significands in the Cpu (jit.pyx explains).

The host's MMX registers would do, too, but leave its x87 unit in a state that C code does not expect. What differs on 128 bits
is made up for: see COMBINE. Each instruction looks for a pending x87 exception first (then the handler raises it), and sets
TOP to 0 and all tags to valid, unless the one before it has just done so; one that writes sets sign and exponent to ones
(mmx.pxd).
"""
from pcemu._core.e_x87 cimport x87_flush
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *

cdef extern from *:
    """
    static int pcemu_has_ssse3(void)
    {
    #if defined(__x86_64__)
        __builtin_cpu_init();
        return __builtin_cpu_supports("ssse3") != 0;
    #endif
        return 0;
    }
    """
    bint has_ssse3 "pcemu_has_ssse3"() nogil

cdef enum:              # COMBINE: how the operation is made, d and s being the lower halves (sub in emit_table.py)
    M_PLAIN = 0         # op d, s
    M_HIGH = 1          # the upper half of what the operation on low elements makes
    M_JOIN = 2          # op of s:d with itself
    M_TWICE = 3         # op of d:d, s
    M_ALIGN = 4         # s:d shifted
    M_SHUFFLE = 5       # PSHUFLW

cdef enum:              # sub of moves
    M_LOAD, M_STORE, M_COPY, M_TO_XMM, M_FROM_XMM, M_MASK, M_EXTRACT, M_INSERT, M_EMPTY

cdef enum:
    FSW_ES = 0x80         # FSW: an exception is pending

cdef bint ssse3 = has_ssse3()


cdef inline int at(int i) noexcept nogil:
    """Place of MMX register i."""
    return AT_FPR + 16 * i


cdef void ready(J* j) noexcept nogil:
    x87_flush(j)
    if j.mmx == j.i - 1 and j.i != j.n1:
        return
    rm(j, 0, 0xF6, 0, H_ENV, AT_FSW)            # test byte
    e8(j, FSW_ES)
    new_stub(j, jcc_fwd(j, 5), STUB_SLOW)
    j.in_host = 0


cdef void left(J* j, u8 tag) noexcept nogil:
    """What the x87's emitters may expect."""
    j.x87.top = 0
    j.x87.tag = tag
    j.x87.sure = 0


cdef void done(J* j, int written) noexcept nogil:
    """The instruction is complete. written: the MMX register whose significand has changed, or NO_REG."""
    if written >= 0:
        rm(j, 3, 0xC7, 0, H_ENV, at(written) + 8)
        e32(j, 0xFFFF)
    if j.mmx != j.i - 1 or j.i == j.n1:
        rm(j, 1, 0xC7, 0, H_ENV, AT_FTOP)
        e8(j, 0)
        e8(j, 0xFF)
    j.mmx = j.i
    left(j, 0xFF)


cdef void load(J* j, int x, int base, s32 disp) noexcept nogil:
    """movq x, [base + disp]"""
    e8(j, 0xF3)
    rm(j, 2, 0x0F7E, x, base, disp)


cdef void source(J* j, Op* op, EmitRow r, int x) noexcept nogil:
    """x = the op's second operand."""
    if not r.access:
        load(j, x, H_ENV, at(op.rm))
    elif r.width == 8:
        load(j, x, H_CX, 0)
    else:
        rm(j, 1, 0x0F6E, x, H_CX, 0)            # movd


cdef bint e_mmx(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef Encoding e = encodings[op.kind]
    cdef u32 opc = (0x0F3800 if e.map == 2 else 0x0F00) | e.opcode
    cdef int d, s, result
    if r.access and not plain(j) or e.host and not ssse3:
        return 0
    ready(j)
    if r.access:
        mem(j, r.width, 0)
    d = x_free(j, NO_REG)
    s = x_free(j, d)
    result = d
    if r.sub != M_SHUFFLE:
        load(j, d, H_ENV, at(op.reg))
    if r.form == FORM_QI:
        rr(j, 1, opc, e.modrm & 7, d)
        e8(j, <u32>op.imm)
    else:
        source(j, op, r, s)
        if r.sub == M_PLAIN:
            rr(j, 1, opc, d, s)
        elif r.sub == M_HIGH:
            rr(j, 1, opc - 8, d, s)
        elif r.sub == M_JOIN:
            rr(j, 1, 0x0F6C, d, s)              # punpcklqdq
            rr(j, 1, opc, d, d)
        elif r.sub == M_TWICE:
            rr(j, 1, 0x0F6C, d, d)
            rr(j, 1, opc, d, s)
        elif r.sub == M_ALIGN:
            rr(j, 1, 0x0F6C, s, d)
            rr(j, 1, 0x0F73, 3, s)              # psrldq
            e8(j, <u32>op.imm)
            result = s
        else:
            e8(j, 0xF2)
            rr(j, 2, 0x0F70, d, s)              # pshuflw
            e8(j, <u32>op.imm)
    if r.sub == M_HIGH:
        rm(j, 2, 0x0F17, result, H_ENV, at(op.reg))         # movhps
    else:
        rm(j, 1, 0x0FD6, result, H_ENV, at(op.reg))         # movq
    done(j, op.reg)
    return 1


cdef bint e_mmxmove(J* j, Op* op, EmitRow r) noexcept nogil:
    """To and from memory, general and XMM registers; EMMS."""
    cdef int sz = 2 if r.width == 4 else 3
    cdef int written = NO_REG, x
    cdef int g = HR[op.reg] if r.form == FORM_RQ or r.form == FORM_RQI else H_T
    if r.access and not plain(j):
        return 0
    if (r.form == FORM_RQ or r.form == FORM_RQI) and r.sub != M_TO_XMM:
        will_write(j, op.reg, 0)
    if g < 0:
        g = H_T
    ready(j)
    if r.access:
        mem(j, r.width, r.sub == M_STORE)
    if r.sub == M_LOAD:
        if r.access:
            rm(j, sz, 0x8B, H_T, H_CX, 0)
        else:
            ld_g(j, sz, H_T, op.rm)
        st_env(j, 3, H_T, at(op.reg))
        written = op.reg
    elif r.sub == M_STORE:
        ld_env(j, sz, g, at(op.reg if r.access else op.rm))
        if r.access:
            rm(j, sz, 0x89, g, H_CX, 0)
    elif r.sub == M_COPY:
        ld_env(j, 3, H_T, at(op.rm))
        st_env(j, 3, H_T, at(op.reg))
        written = op.reg
    elif r.sub == M_TO_XMM:
        load(j, op.reg, H_ENV, at(op.rm))
        x_changed(j, op.reg)
    elif r.sub == M_FROM_XMM:
        x_load(j, op.rm)
        rm(j, 1, 0x0FD6, op.rm, H_ENV, at(op.reg))
        written = op.reg
    elif r.sub == M_MASK:
        x = x_free(j, NO_REG)
        load(j, x, H_ENV, at(op.rm))
        rr(j, 1, 0x0FD7, g, x)
    elif r.sub == M_EXTRACT:
        rm(j, 2, 0x0FB7, g, H_ENV, at(op.rm) + 2 * <int>(op.imm & 3))
    elif r.sub == M_INSERT:
        if r.access:
            rm(j, 2, 0x0FB7, H_T, H_CX, 0)
        else:
            ld_g(j, 2, H_T, op.rm)
        rm(j, 1, 0x89, H_T, H_ENV, at(op.reg) + 2 * <int>(op.imm & 3))
        written = op.reg
    else:                                       # EMMS
        rm(j, 1, 0xC7, 0, H_ENV, AT_FTOP)
        e8(j, 0)
        e8(j, 0)
        left(j, 0)
        return 1
    if g == H_T and (r.form == FORM_RQ or r.form == FORM_RQI) and r.sub != M_TO_XMM:
        st_g(j, 3, H_T, op.reg)
    done(j, written)
    return 1


emitters[E_MMX] = e_mmx
emitters[E_MMXMOVE] = e_mmxmove
