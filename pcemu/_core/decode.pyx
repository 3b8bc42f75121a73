"""The decoder: one instruction at a time, by the tables that isa/gen.py makes (SDM vol. 2, chapter 2)."""
import importlib

from libc.stdlib cimport calloc
from libc.string cimport memset, strcmp

from pcemu._core.access cimport *

cdef extern from "gen/tables.h" nogil:
    ctypedef struct IsaRow:
        u16 h[2][4]
        u32 attr
        u16 feat
        u8 imm
        u8 size
        u8 place[2][5]
        u8 fneed
        u8 fdef
        u8 fundef
        const char* name
    const IsaRow* isa_rows
    const char** isa_handlers       # sorted
    const u16 isa_first[2][12][256]
    const u16 isa_sub[1][64]
    const u16 isa_rm[1][8]
    enum:
        A_MODRM, A_END, A_LOCK, A_PRIV, A_TIME, A_D64, A_F64, A_PE, A_FPU, A_MMX, A_SSE, A_WAIT, A_AVX
        A_VEX_L0, A_VEX_L1, A_AVX2_L1, A_VSIB, A_FORCE_REG, A_NP
        IMM_NONE, IMM_IB, IMM_IBS, IMM_IW, IMM_IZ, IMM_IV, IMM_JB, IMM_JZ, IMM_O, IMM_A, IMM_IWIB, IMM_ONE, IMM_L, IMM_IBL
        N_ROWS, N_HANDLERS, ISA_FEAT_AVX2

assert sizeof(Op) == 48

cdef enum:
    BY_LENGTH = 6                   # IsaRow.size: the vector length picks the handler

cdef OpFn handlers[8192]            # by the table's number
memset(handlers, 0, sizeof(handlers))
assert N_HANDLERS < 8192


cdef void add_handler(const char* name, OpFn fn) noexcept nogil:
    """Handlers are registered by name, so that only this module depends on the table's numbering."""
    cdef int lo = 1, hi = N_HANDLERS, mid, d
    while lo < hi:
        mid = (lo + hi) >> 1
        d = strcmp(name, isa_handlers[mid])
        if d == 0:
            handlers[mid] = fn
            return
        if d < 0:
            hi = mid
        else:
            lo = mid + 1

# legacy prefixes: what each byte means while prefixes are scanned
cdef enum:
    PX_NONE = 0
    PX_SEG = 1
    PX_OSZ = 2
    PX_ASZ = 3
    PX_LOCK = 4
    PX_REP = 5
    PX_REPNE = 6
    PX_REX = 7

cdef u8 prefix_class[256]
cdef u8 prefix_seg[256]
memset(prefix_class, 0, 256)
for _i, _s in ((0x26, ES), (0x2E, CS), (0x36, SS), (0x3E, DS), (0x64, FS), (0x65, GS)):
    prefix_class[_i] = PX_SEG
    prefix_seg[_i] = _s
prefix_class[0x66] = PX_OSZ
prefix_class[0x67] = PX_ASZ
prefix_class[0xF0] = PX_LOCK
prefix_class[0xF3] = PX_REP
prefix_class[0xF2] = PX_REPNE
for _i in range(0x40, 0x50):
    prefix_class[_i] = PX_REX

# 16-bit addressing (SDM vol. 2, table 2-1): base and index by ModRM.rm
cdef u8 base16[8]
cdef u8 index16[8]
for _i, (_b, _x) in enumerate(((RBX, RSI), (RBX, RDI), (RBP, RSI), (RBP, RDI), (RSI, 16), (RDI, 16), (RBP, 16), (RBX, 16))):
    base16[_i] = _b
    index16[_i] = _x


# ---------------------------------------------------------------------------------------- fault stubs and exits

cdef Op* h_ud(Cpu* c, Op* op) noexcept nogil:
    return raise_exc(c, op, EXC_UD)


cdef Op* h_nm(Cpu* c, Op* op) noexcept nogil:
    return raise_exc(c, op, EXC_NM)


cdef Op* h_gp0(Cpu* c, Op* op) noexcept nogil:
    return raise_err(c, op, EXC_GP, 0)


cdef Op* h_exit(Cpu* c, Op* op) noexcept nogil:
    """Behind the last op of a block that just runs on: continue at the next pc."""
    cdef u64 pc = c.r[R_PC] + op.pcoff
    cdef Block* b = c.cur.chain0
    if not (c.mode & M_CODE64):
        pc = <u32>pc                    # 16-bit code too: only branches cut it to 16 bits (SDM vol. 2, JMP)
    if LIKELY(b is not NULL):
        return enter(c, b, pc)
    c.pc = pc
    c.link = &c.cur.chain0
    c.exit = EXIT_PC
    return NULL


cdef Op* h_limit(Cpu* c, Op* op) noexcept nogil:
    """Before the first op of a block in a limited segment: where the end lies beyond the limit the instructions run one by one."""
    if UNLIKELY(c.r[R_PC] + c.cur.nbytes - 1 > c.seg[CS].limit):
        c.exit = EXIT_SINGLE
        c.fault_op = op + 1
        return NULL
    return op[1].fn(c, op + 1)


cdef void set_limit_op(Op* op) noexcept nogil:
    memset(op, 0, sizeof(Op))
    op.fn = h_limit


cdef void set_exit_op(Op* op, u32 pcoff) noexcept nogil:
    memset(op, 0, sizeof(Op))
    op.fn = h_exit
    op.pcoff = <u16>pcoff


cdef int stub(Op* op, OpFn fn, u32 used) noexcept nogil:
    op.fn = fn
    op.props = OP_END | OP_MAYFAULT
    op.length = <u8>(used if used < 15 else 15)
    op.kind = 0
    return op.length


# ------------------------------------------------------------------------------------------------ the decoder

cdef inline u64 fetch(const u8* p, u32 n) noexcept nogil:
    """n bytes, little-endian, zero-extended (n: 1, 2, 4 or 8)."""
    if n == 1:
        return p[0]
    if n == 2:
        return (<u16*>p)[0]
    if n == 4:
        return (<u32*>p)[0]
    return (<u64*>p)[0]


cdef inline u64 sext(u64 v, u32 n) noexcept nogil:
    if n == 1:
        return <u64><s64><s8>v
    if n == 2:
        return <u64><s64><s16>v
    if n == 4:
        return <u64><s64><s32>v
    return v


cdef inline u8 regnum(u32 src, u32 kind, u32 mreg, u32 mrm, u32 opc, bint rex) noexcept nogil:
    """A register field by its source (modrm.reg, modrm.rm, opcode, fixed 0) and kind (plain, byte, low three bits)."""
    cdef u32 n = 0
    if src == 1:
        n = mreg
    elif src == 2:
        n = mrm
    elif src == 3:
        n = opc
    if kind == 1:
        if not rex and n >= 4 and n < 8:
            return <u8>((n - 4) * 8 + 1)
        return <u8>(n * 8)
    if kind == 2:
        return <u8>(n & 7)
    return <u8>n


cdef int decode(Cpu* c, u32 mode, const u8* p, u32 avail, u32 pcoff, Op* op) noexcept nogil:
    cdef u32 i = 0
    cdef u32 limit = avail if avail < 15 else 15
    cdef bint x64 = (mode & M_CODE_MASK) == M_CODE64
    cdef u32 seg = 255
    cdef bint osz66 = 0, asz67 = 0
    cdef u32 rexb = 0, osflags = 0, pclass = 0, mp = 0, opc, b, cls
    cdef bint code32
    cdef bint have_rex = 0, vex = 0
    cdef u32 vvvv = 0, vl = 0
    cdef u32 modrm = 0, mod = 3, mreg = 0, mrm = 0, rid, szidx, form = 0, asz, n, sib
    cdef u32 base = R_ZERO, index = R_ZERO, scale = 0, immk
    cdef s64 disp = 0
    cdef bint riprel = 0
    cdef const IsaRow* row
    cdef u32 attr
    cdef u16 h
    cdef u32 defseg = DS
    cdef u64 v

    op.pcoff = <u16>pcoff
    op.fneed = op.fdef = op.fundef = 0
    op.jit = 0
    op.imm = 0
    # ---- prefixes
    while True:
        if i >= limit:
            return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
        b = p[i]
        cls = prefix_class[b]
        if cls == PX_NONE or (cls == PX_REX and not x64):
            break
        i += 1
        if cls == PX_REX:
            rexb = b
            have_rex = 1
            continue
        rexb = 0                     # a REX prefix that is not the last one is ignored
        have_rex = 0
        if cls == PX_SEG:
            if not x64 or b >= 0x64:
                seg = prefix_seg[b]
        elif cls == PX_OSZ:
            osz66 = 1
        elif cls == PX_ASZ:
            asz67 = 1
        elif cls == PX_LOCK:
            osflags |= OSZ_LOCK
        elif cls == PX_REP:
            osflags = (osflags & ~OSZ_REPNE) | OSZ_REP
        else:
            osflags = (osflags & ~OSZ_REP) | OSZ_REPNE
    # ---- opcode
    opc = b
    i += 1
    if opc == 0x0F:
        if i >= limit:
            return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
        opc = p[i]
        i += 1
        mp = 1
        if opc == 0x38 or opc == 0x3A:
            mp = 2 if opc == 0x38 else 3
            if i >= limit:
                return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
            opc = p[i]
            i += 1
    elif (opc == 0xC4 or opc == 0xC5) and (mode & M_PE) and not (mode & M_VM):
        if i >= limit:
            return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
        if x64 or p[i] >= 0xC0:
            vex = 1
            if have_rex or osz66 or osflags:
                return stub(op, h_ud, i)
            if i + (2 if opc == 0xC4 else 1) >= limit:
                return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
            b = p[i]
            i += 1
            rexb = 0x40 | ((~b >> 5) & 4)                 # R
            mp = 5
            if opc == 0xC4:
                rexb |= (~b >> 5) & 3                      # X B
                mp = 4 + (b & 31)
                b = p[i]
                i += 1
                rexb |= (b >> 4) & 8                       # W
                if mp < 5 or mp > 7:
                    return stub(op, h_ud, i)
                if b & 0x80:
                    mp += 4
            vvvv = (~b >> 3) & 15
            if not x64:
                rexb &= 0x48
            vl = (b >> 2) & 1
            pclass = b & 3
            opc = p[i]
            i += 1
    if not vex:
        pclass = 3 if osflags & OSZ_REPNE else 2 if osflags & OSZ_REP else 1 if osz66 else 0
    # ---- table
    rid = isa_first[x64][mp][opc]
    if rid & 0x8000:
        b = rid & 0x7FFF
        if i < limit:
            modrm = p[i]
        else:
            # no more bytes: fine where prefixes alone decide (NOP and PAUSE have no ModRM)
            n = isa_sub[b][pclass * 16]
            if n == 0 or n & 0x8000 or isa_rows[n].attr & A_MODRM:
                return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
        n = ((modrm >> 6) == 3) * 8 + ((modrm >> 3) & 7)
        rid = isa_sub[b][pclass * 16 + n]
        if rid & 0x8000:
            rid = isa_rm[rid & 0x7FFF][modrm & 7]
        if rid and pclass and not vex and isa_rows[rid].feat and not has_feat(c, isa_rows[rid].feat - 1):
            # the prefixed form is not there: older processors ignore the prefix (TZCNT is BSF)
            rid = isa_sub[b][n]
            if rid & 0x8000:
                rid = isa_rm[rid & 0x7FFF][modrm & 7]
            if isa_rows[rid].attr & A_NP:
                rid = 0
    if rid == 0:
        return stub(op, h_ud, i)
    row = &isa_rows[rid]
    attr = row.attr
    op.kind = <u16>rid
    if row.feat and not has_feat(c, row.feat - 1):
        return stub(op, h_ud, i)
    # ---- operand and address size
    if x64:
        asz = 2 if asz67 else 3
        if attr & A_F64:
            szidx = 3
        elif rexb & 8:
            szidx = 3
        elif osz66:
            szidx = 1
        elif attr & A_D64:
            szidx = 3
        else:
            szidx = 2
    else:
        code32 = (mode & M_CODE_MASK) == M_CODE32
        szidx = 2 if code32 != osz66 else 1
        asz = 2 if code32 != asz67 else 1
    if row.size < 4:
        szidx = row.size
    elif row.size == 5:
        szidx = 3 if (rexb & 8) and x64 else 2
    # ---- ModRM, SIB, displacement
    if attr & A_MODRM:
        if i >= limit:
            return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
        modrm = p[i]
        i += 1
        mod = modrm >> 6
        mreg = ((modrm >> 3) & 7) | ((rexb & 4) << 1)
        mrm = modrm & 7
        if mod == 3 or attr & A_FORCE_REG:
            mrm |= (rexb & 1) << 3
        else:
            form = 1
            n = 0
            if asz == 1:
                base = base16[mrm]
                index = index16[mrm]
                if mod == 0 and mrm == 6:
                    base = R_ZERO
                    n = 2
                elif mod == 1:
                    n = 1
                elif mod == 2:
                    n = 2
                if base == RBP:
                    defseg = SS
            else:
                base = mrm
                if mrm == 4:
                    if i >= limit:
                        return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
                    sib = p[i]
                    i += 1
                    scale = sib >> 6
                    index = ((sib >> 3) & 7) | ((rexb & 2) << 2)
                    if attr & A_VSIB:                  # a vector register; the handler adds it
                        op.is4 = <u8>index
                        index = R_ZERO
                    elif index == 4:
                        index = R_ZERO
                        scale = 0
                    base = sib & 7
                    if base == 5 and mod == 0:
                        base = R_ZERO
                        n = 4
                    else:
                        if base == RSP or base == RBP:
                            defseg = SS
                        base |= (rexb & 1) << 3
                        if base >= 8:
                            defseg = DS
                elif mrm == 5 and mod == 0:
                    n = 4
                    base = R_ZERO
                    riprel = x64
                else:
                    if mrm == RBP:
                        defseg = SS
                    base |= (rexb & 1) << 3
                    if base >= 8:
                        defseg = DS
                if mod == 1:
                    n = 1
                elif mod == 2:
                    n = 4
            if n:
                if i + n > limit:
                    return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
                disp = <s64>sext(fetch(p + i, n), n)
                i += n
    # ---- immediate
    immk = row.imm
    if immk != IMM_NONE:
        n = 0
        if immk == IMM_IB or immk == IMM_IBS or immk == IMM_JB or immk == IMM_L or immk == IMM_IBL:
            n = 1
        elif immk == IMM_IW:
            n = 2
        elif immk == IMM_IZ or immk == IMM_JZ:
            n = 2 if szidx == 1 else 4
        elif immk == IMM_IV:
            n = 1 << szidx
        elif immk == IMM_O:
            n = 1 << asz
        elif immk == IMM_A:
            n = 4 if szidx == 1 else 6
        elif immk == IMM_IWIB:
            n = 3
        elif immk == IMM_ONE:
            op.imm = 1
        if n:
            if i + n > limit:
                return stub(op, h_gp0, 15) if limit == 15 else DEC_MORE
            if immk == IMM_A:
                v = fetch(p + i, n - 2)
                op.imm = v | (<u64>fetch(p + i + n - 2, 2) << 32)
            elif immk == IMM_IWIB:
                op.imm = fetch(p + i, 2) | (<u64>p[i + 2] << 16)
            else:
                op.imm = fetch(p + i, n)
                if immk == IMM_IBS or immk == IMM_JB or immk == IMM_IZ or immk == IMM_JZ:
                    op.imm = sext(op.imm, n)
                elif immk == IMM_L or immk == IMM_IBL:
                    op.is4 = <u8>((op.imm >> 4) & (15 if x64 else 7))
            i += n
        if immk == IMM_JB or immk == IMM_JZ:
            op.imm += pcoff + i
    # ---- fields
    op.reg = regnum(row.place[form][0], row.place[form][1], mreg, mrm, (opc & 7) | ((rexb & 1) << 3), have_rex)
    op.rm = regnum(row.place[form][2], row.place[form][3], mreg, mrm, (opc & 7) | ((rexb & 1) << 3), have_rex)
    op.vvvv = <u8>(vvvv if x64 else vvvv & 7)
    op.base = <u8>base
    op.index = <u8>index
    op.scale = <u8>(scale | (asz << 2))
    op.length = <u8>i
    op.osz = <u8>(szidx | (vl << 2) | osflags)
    op.fneed = row.fneed
    op.fdef = row.fdef
    op.fundef = row.fundef
    op.props = OP_MAYFAULT
    if attr & A_END:
        op.props |= OP_END
    if attr & A_TIME:
        op.props |= OP_TIME
    if attr & A_PRIV:
        op.props |= OP_PRIV
    if x64:
        op.seg = <u8>(seg if seg != 255 else SEG_FLAT)
        op.am = AM_FLAT64 if asz == 3 else AM_GENERAL
    else:
        op.seg = <u8>(seg if seg != 255 else defseg)
        # code segments are never writable and may not be readable
        op.am = AM_FLAT32 if (asz == 2 and (mode & M_FLAT) and op.seg < FS and op.seg != CS) else AM_GENERAL
    if mode & M_AC:
        op.am = AM_GENERAL
    if riprel:
        op.base = R_PC
        disp += pcoff + i
        if disp > 0x7fffffff:
            op.am = AM_GENERAL
            op.scale |= 16              # the displacement lost 2^32
            disp -= <s64>1 << 32
    op.disp = <s32>disp
    # ---- rules of the mode
    if osflags & OSZ_LOCK and (not (attr & A_LOCK) or not form):
        return stub(op, h_ud, i)
    if vex:
        if attr & A_VEX_L0 and vl or attr & A_VEX_L1 and not vl:
            return stub(op, h_ud, i)
        if not row.place[form][4] and vvvv:
            return stub(op, h_ud, i)
        if attr & A_AVX2_L1 and vl and not has_feat(c, ISA_FEAT_AVX2):
            return stub(op, h_ud, i)
        if attr & A_VSIB and (not form or mrm != 4 or asz == 1 or op.reg == op.is4 or op.vvvv == op.is4 or op.reg == op.vvvv):
            return stub(op, h_ud, i)
        if attr & A_AVX:
            if not (mode & M_AVX) or not (mode & M_OSXSAVE):
                return stub(op, h_ud, i)
            if mode & M_TS:
                return stub(op, h_nm, i)
    if attr & (A_FPU | A_MMX | A_SSE | A_WAIT | A_PE | A_PRIV):
        if attr & A_FPU:
            if mode & (M_EM | M_TS):
                return stub(op, h_nm, i)
            op.imm = (opc & 7) << 8 | modrm        # as the x87 opcode register holds it
        if attr & A_WAIT and (mode & M_MP) and (mode & M_TS):
            return stub(op, h_nm, i)
        if attr & A_MMX:
            if mode & M_EM:
                return stub(op, h_ud, i)
            if mode & M_TS:
                return stub(op, h_nm, i)
        if attr & A_SSE:
            if mode & M_EM or not (mode & M_OSFXSR):
                return stub(op, h_ud, i)
            if mode & M_TS:
                return stub(op, h_nm, i)
        if attr & A_PE and (not (mode & M_PE) or mode & M_VM):
            return stub(op, h_ud, i)
        if attr & A_PRIV and (mode >> M_CPL_SHIFT) & 3:
            return stub(op, h_gp0, i)
    h = row.h[form][vl if row.size == BY_LENGTH else szidx]
    if h == 0 or handlers[h] == NULL:
        return stub(op, h_ud, i)
    op.fn = handlers[h]
    op.jit = <u64>h << 48
    return <int>i


cdef inline bint has_feat(Cpu* c, u32 n) noexcept nogil:
    return (c.feat[n >> 6] >> (n & 63)) & 1


cdef str handler_name(int n):
    return isa_handlers[n].decode() if 0 < n < N_HANDLERS else "(fault)"


def row_names() -> list:
    """Names of the instruction table's rows, by Op.kind."""
    return ["(invalid)"] + [isa_rows[i].name.decode() for i in range(1, N_ROWS)]


cdef Cpu* _any = NULL               # a processor with every feature, for row_of


def row_of(bytes code, u32 bits=32, bint protected=True):
    """(row, length, log2 of the operand size) of the instruction that `code` begins with, privilege and features aside.

    Row 0: not an instruction in 16-, 32- or 64-bit code; length 0: the bytes end before it does. For tests and listings.
    """
    global _any
    cdef Op op
    cdef int n
    if _any is NULL:
        importlib.import_module("pcemu._core.engine")     # handlers register with it; a row without one is no instruction
        _any = <Cpu*>calloc(1, sizeof(Cpu))
        if _any is NULL:
            raise MemoryError()
        memset(_any.feat, 0xff, sizeof(_any.feat))
    memset(&op, 0, sizeof(op))
    n = decode(_any, (0 if bits == 16 else 1 if bits == 32 else 2) | (M_PE if protected else 0) | M_OSFXSR | M_OSXSAVE | M_AVX,
               <const u8*><char*>code, <u32>min(len(code), 15), 0, &op)
    if n < 0:
        return 0, 0, 0
    return op.kind, n, op.osz & 3
