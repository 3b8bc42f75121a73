"""Emitters: string instructions that stay inside a page, as the host's (jit.pyx explains). The handlers (x_string.pyx) do the rest:
other addresses than flat ones, going down, what crosses a page, and what the TLB does not know.

A REP inside the page is one chunk, and so one instruction (x_string.pyx). RSI and RDI are the guest's in the host's own registers:
they hold host addresses while the host's instruction runs, and everything that can lead to the handler comes before.
"""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *

cdef enum:
    MOVS = 0            # EmitRow.sub
    STOS = 1
    LODS = 2
    SCAS = 3
    CMPS = 4
    AT_SRC = AT_VAL     # host addresses,
    AT_DST = AT_VAL + 8
    AT_BYTES = AT_VAL + 16      # ... what a REP is to move,
    AT_OLD_SI = AT_VAL + 24     # ... and the guest's registers
    AT_OLD_DI = AT_VAL + 32


cdef bint flat(J* j, Op* op, bint source) noexcept nogil:
    """Are the offsets linear addresses?"""
    if j.m64:
        return address_size(op) == 3 and not (source and (op.seg == FS or op.seg == GS))
    return j.mode & M_FLAT and address_size(op) == 2 and not (source and (op.seg == CS or op.seg >= FS))


cdef void find(J* j, int reg, int sz, bint rep, bint write, int to) noexcept nogil:
    """Host address of what `reg` points to, into the Cpu: one element, or (rep) as many as RCX says, all in the page."""
    cdef int asz = 3 if j.m64 else 2
    cdef s32 at = tlb_at(j, write)
    rr(j, asz, 0x8B, H_CX, reg)
    tlb_index(j)
    rmx(j, 3, 0x2B, H_CX, H_ENV, H_T, 0, at)
    rr(j, 3, 0x81, 7, H_CX)
    e32(j, 4096 - (1 << sz))
    new_stub(j, jcc_fwd(j, 7), STUB_END)
    if rep:
        rm(j, 3, 0x03, H_CX, H_ENV, AT_BYTES)
        rr(j, 3, 0x81, 7, H_CX)
        e32(j, 4096)
        new_stub(j, jcc_fwd(j, 7), STUB_END)
        rm(j, 3, 0x2B, H_CX, H_ENV, AT_BYTES)
    rmx(j, 3, 0x03, H_CX, H_ENV, H_T, 0, at + 8)
    st_env(j, 3, H_CX, to)


cdef void host_string(J* j, u32 prefix, int sz, u32 opc) noexcept nogil:
    if prefix:
        e8(j, prefix)
    e_prefix(j, sz, 0, 0, 0, 0)
    e8(j, opc | (1 if sz else 0))


cdef void compared(J* j, int sz, bint memory) noexcept nogil:
    """Flags of the last elements compared: those before RSI, or the accumulator, and before RDI. Both registers are lost."""
    cdef s32 back = -(1 << sz)
    cdef u32 opc = <u32>(0x0FB6 + sz) if sz < 2 else 0x8B
    rm(j, 3 if sz == 3 else 2, opc, H_CX, H_DI, back)
    st_env(j, 3, H_CX, AT_CC_SRC)
    if memory:
        rm(j, 3 if sz == 3 else 2, opc, H_DI, H_SI, back)
    else:
        mov(j, H_DI, H_AX)
    rr(j, 3, 0x2B, H_DI, H_CX)
    st_sx(j, sz, H_DI)
    st_kind(j, K_SUB + sz)


cdef bint e_string(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef u32 sub = r.sub
    cdef int sz = r.size if r.size < 4 else 0
    cdef int asz = 3 if j.m64 else 2
    cdef s32 b = 1 << sz
    cdef bint rep = (op.osz & (OSZ_REP | OSZ_REPNE)) != 0
    cdef bint source = sub == MOVS or sub == LODS or sub == CMPS
    cdef bint dest = sub != LODS
    cdef bint compares = sub == SCAS or sub == CMPS
    cdef u8* none = NULL
    if not flat(j, op, source) or rep and sub == LODS:
        return 0
    if compares:
        home(j)
    if source:
        will_write(j, RSI, 0)
    if dest:
        will_write(j, RDI, 0)
    if rep:
        will_write(j, RCX, 0)
    if sub == LODS:
        will_write(j, RAX, 0)
    rm(j, 2, 0xF7, 0, H_ENV, AT_EFLAGS)
    e32(j, F_DF)
    new_stub(j, jcc_fwd(j, 5), STUB_END)
    j.in_host = HOST_NONE
    if rep:
        rr(j, asz, 0x85, H_R11, H_R11)
        none = jcc_fwd(j, 4)
        rr(j, asz, 0x81, 7, H_R11)
        e32(j, 4096)
        new_stub(j, jcc_fwd(j, 7), STUB_END)
        rr(j, asz, 0x8B, H_CX, H_R11)       # (of RCX, only ECX counts outside 64-bit mode: what it held there is still in it)
        rmx(j, 3, 0x8D, H_CX, NO_REG, H_CX, sz, 0)
        st_env(j, 3, H_CX, AT_BYTES)
    if source:
        find(j, H_SI, sz, rep, 0, AT_SRC)
    if dest:
        find(j, H_DI, sz, rep, not compares, AT_DST)
    # nothing leads to the handler from here on
    if sub == LODS:
        rm(j, sz, 0x8A if sz == 0 else 0x8B, H_AX, H_CX, 0)
        rm(j, asz, 0x8D, H_SI, H_SI, b)
        return 1
    if source:
        st_env(j, 3, H_SI, AT_OLD_SI)
        ld_env(j, 3, H_SI, AT_SRC)
    st_env(j, 3, H_DI, AT_OLD_DI)
    ld_env(j, 3, H_DI, AT_DST)
    if rep:
        rr(j, asz, 0x8B, H_CX, H_R11)
    if sub == MOVS:
        host_string(j, 0xF3 if rep else 0, sz, 0xA4)
    elif sub == STOS:
        host_string(j, 0xF3 if rep else 0, sz, 0xAA)
    else:
        host_string(j, 0 if not rep else 0xF3 if op.osz & OSZ_REP else 0xF2, sz, 0xA6 if sub == CMPS else 0xAE)
    if not rep:
        mov_imm(j, H_T, <u64>b)
    else:                               # r15 = bytes done
        rr(j, asz, 0x8B, H_T, H_R11)
        rr(j, 3, 0x2B, H_T, H_CX)
        rr(j, 3, 0xC1, 4, H_T)
        e8(j, <u32>sz)
        rr(j, asz, 0x8B, H_R11, H_CX)
    if compares:
        compared(j, sz, sub == CMPS)
    if source:
        ld_env(j, 3, H_SI, AT_OLD_SI)
        rr(j, asz, 0x03, H_SI, H_T)
    ld_env(j, 3, H_DI, AT_OLD_DI)
    rr(j, asz, 0x03, H_DI, H_T)
    if none is not NULL:
        patch_rw(none, j.p)
    if compares:
        set_env(j, HOST_NONE)
    return 1


emitters[E_STRING] = e_string
