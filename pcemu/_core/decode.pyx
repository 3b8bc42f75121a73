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


cdef inline bint has_feat(Cpu* c, u32 n) noexcept nogil:
    return (c.feat[n >> 6] >> (n & 63)) & 1


cdef struct Scan:           # what is known of an instruction so far
    const u8* p             # its bytes:
    u32 i                   # ... so many are read,
    u32 limit               # ... and so many there are, 15 at most
    u32 mode
    bint x64
    u32 seg                 # of a prefix, or NO_SEG
    bint osz66
    bint asz67
    u32 rex                 # the REX prefix, or what of VEX stands for it; its bits are B 1, X 2, R 4, W 8
    bint have_rex
    u32 flags               # OSZ_LOCK, OSZ_REP, OSZ_REPNE
    bint vex
    u32 vvvv
    u32 vl
    u32 pclass              # the prefix that is a part of the opcode: none, 66, F3, F2
    u32 map                 # of isa_first
    u32 opc
    const IsaRow* row
    u32 szidx               # log2 of the operand size
    u32 asz                 # ... of the address size
    u32 modrm
    u32 reg                 # ModRM's register fields with their fourth bits
    u32 rm
    u32 form                # 1: the operand is in memory
    u32 base
    u32 index
    u32 scale
    u32 defseg              # where no prefix says
    s64 disp
    bint riprel

cdef enum:
    NO_SEG = 255

# The steps that follow return 0 to go on, or else what decode() returns.


cdef inline int ran_out(Scan* s, Op* op) noexcept nogil:
    """More bytes are needed than there are: no instruction has more than 15."""
    return stub(op, h_gp0, 15) if s.limit == 15 else DEC_MORE


cdef inline int scan_prefixes(Scan* s, Op* op) noexcept nogil:
    """Up to the first byte of the opcode, which is looked at and not yet counted as read."""
    cdef u32 b, cls
    while True:
        if s.i >= s.limit:
            return ran_out(s, op)
        b = s.p[s.i]
        cls = prefix_class[b]
        if cls == PX_NONE or (cls == PX_REX and not s.x64):
            return 0
        s.i += 1
        if cls == PX_REX:
            s.rex = b
            s.have_rex = 1
            continue
        s.rex = 0                    # a REX prefix that is not the last one is ignored
        s.have_rex = 0
        if cls == PX_SEG:
            if not s.x64 or b >= 0x64:
                s.seg = prefix_seg[b]
        elif cls == PX_OSZ:
            s.osz66 = 1
        elif cls == PX_ASZ:
            s.asz67 = 1
        elif cls == PX_LOCK:
            s.flags |= OSZ_LOCK
        elif cls == PX_REP:
            s.flags = (s.flags & ~<u32>OSZ_REPNE) | OSZ_REP
        else:
            s.flags = (s.flags & ~<u32>OSZ_REP) | OSZ_REPNE


cdef inline int scan_vex(Scan* s, Op* op) noexcept nogil:
    """Behind C4 or C5 (SDM vol. 2, 2.3.5)."""
    cdef u32 b
    s.vex = 1
    if s.have_rex or s.osz66 or s.flags:
        return stub(op, h_ud, s.i + 1)          # (with the byte that told VEX from LES and LDS)
    if s.i + (2 if s.opc == 0xC4 else 1) >= s.limit:
        return ran_out(s, op)
    b = s.p[s.i]
    s.i += 1
    s.rex = 0x40 | ((~b >> 5) & 4)              # R
    s.map = 5
    if s.opc == 0xC4:
        s.rex |= (~b >> 5) & 3                  # X B
        s.map = 4 + (b & 31)
        b = s.p[s.i]
        s.i += 1
        s.rex |= (b >> 4) & 8                   # W
        if s.map < 5 or s.map > 7:
            return stub(op, h_ud, s.i)
        if b & 0x80:
            s.map += 4
    s.vvvv = (~b >> 3) & 15
    if not s.x64:
        s.rex &= 0x48
    s.vl = (b >> 2) & 1
    s.pclass = b & 3
    s.opc = s.p[s.i]
    s.i += 1
    return 0


cdef inline int scan_opcode(Scan* s, Op* op) noexcept nogil:
    """Map, opcode and mandatory prefix; of a VEX prefix all its fields."""
    s.opc = s.p[s.i]
    s.i += 1
    if s.opc == 0x0F:
        if s.i >= s.limit:
            return ran_out(s, op)
        s.opc = s.p[s.i]
        s.i += 1
        s.map = 1
        if s.opc == 0x38 or s.opc == 0x3A:
            s.map = 2 if s.opc == 0x38 else 3
            if s.i >= s.limit:
                return ran_out(s, op)
            s.opc = s.p[s.i]
            s.i += 1
    elif (s.opc == 0xC4 or s.opc == 0xC5) and (s.mode & M_PE) and not (s.mode & M_VM):
        if s.i >= s.limit:
            return ran_out(s, op)
        if s.x64 or s.p[s.i] >= 0xC0:           # else LES and LDS
            return scan_vex(s, op)
    s.pclass = 3 if s.flags & OSZ_REPNE else 2 if s.flags & OSZ_REP else 1 if s.osz66 else 0
    return 0


cdef inline int find_row(Cpu* c, Scan* s, Op* op) noexcept nogil:
    """The table's row, where need be by mandatory prefix and ModRM, which stays unread; of a processor that has it. What has been
    looked at is part of what is no instruction: it may become one when that byte changes."""
    cdef u32 rid = isa_first[s.x64][s.map][s.opc]
    cdef u32 sub, n, looked = 0
    if rid & 0x8000:
        sub = rid & 0x7FFF
        if s.i < s.limit:
            s.modrm = s.p[s.i]
            looked = 1
        else:
            # no more bytes: fine where prefixes alone decide (NOP and PAUSE have no ModRM)
            n = isa_sub[sub][s.pclass * 16]
            if n == 0 or n & 0x8000 or isa_rows[n].attr & A_MODRM:
                return ran_out(s, op)
        n = ((s.modrm >> 6) == 3) * 8 + ((s.modrm >> 3) & 7)
        rid = isa_sub[sub][s.pclass * 16 + n]
        if rid & 0x8000:
            rid = isa_rm[rid & 0x7FFF][s.modrm & 7]
        if rid and s.pclass and not s.vex and isa_rows[rid].feat and not has_feat(c, isa_rows[rid].feat - 1):
            # the prefixed form is not there: older processors ignore the prefix (TZCNT is BSF)
            rid = isa_sub[sub][n]
            if rid & 0x8000:
                rid = isa_rm[rid & 0x7FFF][s.modrm & 7]
            if isa_rows[rid].attr & A_NP:
                rid = 0
    if rid == 0:
        return stub(op, h_ud, s.i + looked)
    s.row = &isa_rows[rid]
    op.kind = <u16>rid
    if s.row.feat and not has_feat(c, s.row.feat - 1):
        return stub(op, h_ud, s.i + looked)
    return 0


cdef inline void find_sizes(Scan* s) noexcept nogil:
    """Operand and address size."""
    cdef u32 attr = s.row.attr
    cdef bint code32
    if s.x64:
        s.asz = 2 if s.asz67 else 3
        if attr & A_F64 or s.rex & 8:
            s.szidx = 3
        elif s.osz66:
            s.szidx = 1
        else:
            s.szidx = 3 if attr & A_D64 else 2
    else:
        code32 = (s.mode & M_CODE_MASK) == M_CODE32
        s.szidx = 2 if code32 != s.osz66 else 1
        s.asz = 2 if code32 != s.asz67 else 1
    if s.row.size < 4:
        s.szidx = s.row.size
    elif s.row.size == 5:
        s.szidx = 3 if (s.rex & 8) and s.x64 else 2


cdef inline int scan_modrm(Scan* s, Op* op) noexcept nogil:
    """ModRM, SIB and displacement."""
    cdef u32 mod, sib, n = 0
    if s.i >= s.limit:
        return ran_out(s, op)
    s.modrm = s.p[s.i]
    s.i += 1
    mod = s.modrm >> 6
    s.reg = ((s.modrm >> 3) & 7) | ((s.rex & 4) << 1)
    s.rm = s.modrm & 7
    if mod == 3 or s.row.attr & A_FORCE_REG:
        s.rm |= (s.rex & 1) << 3
        return 0
    s.form = 1
    if s.asz == 1:
        s.base = base16[s.rm]
        s.index = index16[s.rm]
        if mod == 0 and s.rm == 6:
            s.base = R_ZERO
            n = 2
        elif mod:
            n = mod
        if s.base == RBP:
            s.defseg = SS
    else:
        s.base = s.rm
        if s.rm == 4:
            if s.i >= s.limit:
                return ran_out(s, op)
            sib = s.p[s.i]
            s.i += 1
            s.scale = sib >> 6
            s.index = ((sib >> 3) & 7) | ((s.rex & 2) << 2)
            if s.row.attr & A_VSIB:             # a vector register; the handler adds it
                op.is4 = <u8>s.index
                s.index = R_ZERO
            elif s.index == 4:
                s.index = R_ZERO
                s.scale = 0
            s.base = sib & 7
        if mod == 0 and s.base == 5:            # no base
            s.base = R_ZERO
            n = 4
            s.riprel = s.x64 and s.rm == 5
        else:
            if s.base == RSP or s.base == RBP:
                s.defseg = SS
            s.base |= (s.rex & 1) << 3
            if s.base >= 8:
                s.defseg = DS
        if mod:
            n = 1 if mod == 1 else 4
    if n:
        if s.i + n > s.limit:
            return ran_out(s, op)
        s.disp = <s64>sext(fetch(s.p + s.i, n), n)
        s.i += n
    return 0


cdef inline int scan_immediate(Scan* s, Op* op, u32 pcoff) noexcept nogil:
    cdef u32 kind = s.row.imm, n = 0
    cdef const u8* at = s.p + s.i
    if kind == IMM_IB or kind == IMM_IBS or kind == IMM_JB or kind == IMM_L or kind == IMM_IBL:
        n = 1
    elif kind == IMM_IW:
        n = 2
    elif kind == IMM_IZ or kind == IMM_JZ:
        n = 2 if s.szidx == 1 else 4
    elif kind == IMM_IV:
        n = 1 << s.szidx
    elif kind == IMM_O:
        n = 1 << s.asz
    elif kind == IMM_A:
        n = 4 if s.szidx == 1 else 6
    elif kind == IMM_IWIB:
        n = 3
    elif kind == IMM_ONE:
        op.imm = 1
    if n:
        if s.i + n > s.limit:
            return ran_out(s, op)
        s.i += n
        if kind == IMM_A:
            op.imm = fetch(at, n - 2) | (<u64>fetch(at + n - 2, 2) << 32)
        elif kind == IMM_IWIB:
            op.imm = fetch(at, 2) | (<u64>at[2] << 16)
        else:
            op.imm = fetch(at, n)
            if kind == IMM_IBS or kind == IMM_JB or kind == IMM_IZ or kind == IMM_JZ:
                op.imm = sext(op.imm, n)
            elif kind == IMM_L or kind == IMM_IBL:
                op.is4 = <u8>((op.imm >> 4) & (15 if s.x64 else 7))
    if kind == IMM_JB or kind == IMM_JZ:
        op.imm += pcoff + s.i
    return 0


cdef inline void fill(Scan* s, Op* op, u32 pcoff) noexcept nogil:
    """The op's fields but imm, is4 and kind, which are there, and its handler."""
    cdef const IsaRow* row = s.row
    cdef const u8* place = row.place[s.form]
    cdef u32 opc_reg = (s.opc & 7) | ((s.rex & 1) << 3)
    op.reg = regnum(place[0], place[1], s.reg, s.rm, opc_reg, s.have_rex)
    op.rm = regnum(place[2], place[3], s.reg, s.rm, opc_reg, s.have_rex)
    op.vvvv = <u8>(s.vvvv if s.x64 else s.vvvv & 7)
    op.base = <u8>s.base
    op.index = <u8>s.index
    op.scale = <u8>(s.scale | (s.asz << 2))
    op.length = <u8>s.i
    op.osz = <u8>(s.szidx | (s.vl << 2) | s.flags)
    op.fneed = row.fneed
    op.fdef = row.fdef
    op.fundef = row.fundef
    op.props = OP_MAYFAULT
    if row.attr & A_END:
        op.props |= OP_END
    if row.attr & A_TIME:
        op.props |= OP_TIME
    if row.attr & A_PRIV:
        op.props |= OP_PRIV
    if s.x64:
        op.seg = <u8>(s.seg if s.seg != NO_SEG else SEG_FLAT)
        op.am = AM_FLAT64 if s.asz == 3 else AM_GENERAL
    else:
        op.seg = <u8>(s.seg if s.seg != NO_SEG else s.defseg)
        # code segments are never writable and may not be readable
        op.am = AM_FLAT32 if (s.asz == 2 and (s.mode & M_FLAT) and op.seg < FS and op.seg != CS) else AM_GENERAL
    if s.mode & M_AC:
        op.am = AM_GENERAL
    if s.riprel:
        op.base = R_PC
        s.disp += pcoff + s.i
        if s.disp > 0x7fffffff:
            op.am = AM_GENERAL
            op.scale |= 16              # the displacement lost 2^32
            s.disp -= <s64>1 << 32
    op.disp = <s32>s.disp


cdef inline OpFn vex_fault(Cpu* c, Scan* s, Op* op) noexcept nogil:
    """What a VEX-coded instruction raises before it looks at its operands; NULL: nothing."""
    cdef u32 attr = s.row.attr
    if attr & A_VEX_L0 and s.vl or attr & A_VEX_L1 and not s.vl:
        return h_ud
    if not s.row.place[s.form][4] and s.vvvv:
        return h_ud
    if attr & A_AVX2_L1 and s.vl and not has_feat(c, ISA_FEAT_AVX2):
        return h_ud
    if attr & A_VSIB and (not s.form or s.rm != 4 or s.asz == 1 or op.reg == op.is4 or op.vvvv == op.is4 or op.reg == op.vvvv):
        return h_ud
    if attr & A_AVX:
        if not (s.mode & M_AVX) or not (s.mode & M_OSXSAVE):
            return h_ud
        if s.mode & M_TS:
            return h_nm
    return NULL


cdef inline OpFn mode_fault(Scan* s) noexcept nogil:
    """... what one raises that the present mode forbids, by the attributes of its row."""
    cdef u32 attr = s.row.attr
    cdef u32 mode = s.mode
    if attr & A_FPU and mode & (M_EM | M_TS):
        return h_nm
    if attr & A_WAIT and (mode & M_MP) and (mode & M_TS):
        return h_nm
    if attr & A_MMX:
        if mode & M_EM:
            return h_ud
        if mode & M_TS:
            return h_nm
    if attr & A_SSE:
        if mode & M_EM or not (mode & M_OSFXSR):
            return h_ud
        if mode & M_TS:
            return h_nm
    if attr & A_PE and (not (mode & M_PE) or mode & M_VM):
        return h_ud
    if attr & A_PRIV and (mode >> M_CPL_SHIFT) & 3:
        return h_gp0
    return NULL


cdef int decode(Cpu* c, u32 mode, const u8* p, u32 avail, u32 pcoff, Op* op) noexcept nogil:
    cdef Scan s
    cdef OpFn fault_ = NULL
    cdef int end
    cdef u16 h
    memset(&s, 0, sizeof(Scan))
    s.p = p
    s.limit = avail if avail < 15 else 15
    s.mode = mode
    s.x64 = (mode & M_CODE_MASK) == M_CODE64
    s.seg = NO_SEG
    s.base = s.index = R_ZERO
    s.defseg = DS
    op.pcoff = <u16>pcoff
    op.fneed = op.fdef = op.fundef = 0
    op.jit = 0
    op.imm = 0
    end = scan_prefixes(&s, op) or scan_opcode(&s, op) or find_row(c, &s, op)
    if end:
        return end
    find_sizes(&s)
    if s.row.attr & A_MODRM:
        end = scan_modrm(&s, op)
        if end:
            return end
    if s.row.imm != IMM_NONE:
        end = scan_immediate(&s, op, pcoff)
        if end:
            return end
    fill(&s, op, pcoff)
    if s.flags & OSZ_LOCK and (not (s.row.attr & A_LOCK) or not s.form):
        return stub(op, h_ud, s.i)
    if s.vex:
        fault_ = vex_fault(c, &s, op)
    if fault_ == NULL and s.row.attr & (A_FPU | A_MMX | A_SSE | A_WAIT | A_PE | A_PRIV):
        fault_ = mode_fault(&s)
        if s.row.attr & A_FPU:
            op.imm = (s.opc & 7) << 8 | s.modrm     # as the x87 opcode register holds it
    if fault_ != NULL:
        return stub(op, fault_, s.i)
    h = s.row.h[s.form][s.vl if s.row.size == BY_LENGTH else s.szidx]
    if h == 0 or handlers[h] == NULL:
        return stub(op, h_ud, s.i)
    op.fn = handlers[h]
    op.jit = <u64>h << 48
    return <int>s.i


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
