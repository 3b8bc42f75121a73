"""Writing x86-64 machine code: the compile context, instruction encoding, and where the guest's registers live.

Compiled code runs with these registers (jit.pyx explains the whole):

    r14         the Cpu, at its byte 128, so that what is used most has a one-byte displacement
    rcx, r15    scratch
    rsp         the host's stack
    the others  guest registers, mostly the same ones: guest RCX is in r11 and RSP in r13; guest R11, R13, R14 and R15 stay in the Cpu
"""
from pcemu._core.state cimport *

cdef extern from *:
    """
    #include <stddef.h>
    #define PCEMU_AT(f) ((int)offsetof(struct __pyx_t_5pcemu_5_core_5state_Cpu, f) - 128)
    """
    enum:
        AT_CC_RES "PCEMU_AT(cc_res)"
        AT_CC_SRC "PCEMU_AT(cc_src)"
        AT_CC_KIND "PCEMU_AT(cc_kind)"
        AT_EFLAGS "PCEMU_AT(eflags)"
        AT_BUDGET "PCEMU_AT(budget)"
        AT_TLB_R "PCEMU_AT(tr)"
        AT_TLB_W "PCEMU_AT(tw)"
        AT_JCKEY "PCEMU_AT(jckey)"
        AT_PGPC "PCEMU_AT(pgpc)"
        AT_JTMP "PCEMU_AT(jtmp)"
        AT_GROUPS "PCEMU_AT(jdelta)"    # where the first bytes of groups are
        AT_VAL "PCEMU_AT(lbuf)"         # an operand that waits
        AT_CR4 "PCEMU_AT(cr4)"
        AT_TSC "PCEMU_AT(tsc_offset)"
        AT_SEG "PCEMU_AT(seg)"          # of a Seg: base, limit at 8, flags at 12
        AT_JC "PCEMU_AT(jc)"
        AT_VEC "PCEMU_AT(vec)"
        AT_FPR "PCEMU_AT(fpr)"
        AT_FCW "PCEMU_AT(fcw)"
        AT_FSW "PCEMU_AT(fsw)"
        AT_FTOP "PCEMU_AT(ftop)"        # ftag is the byte behind it
        AT_FOP "PCEMU_AT(fop)"
        AT_FIP "PCEMU_AT(fip)"
        AT_FDP "PCEMU_AT(fdp)"
        AT_FCS "PCEMU_AT(fcs)"
        AT_FDS "PCEMU_AT(fds)"
        AT_XTMP "(PCEMU_AT(wbuf) + 48)"         # words of the x87 emitter

cdef enum:
    H_AX = 0
    H_CX = 1            # scratch
    H_DX = 2
    H_BX = 3
    H_SP = 4            # the host's stack
    H_BP = 5
    H_SI = 6
    H_DI = 7
    H_R11 = 11
    H_R13 = 13
    H_ENV = 14
    H_T = 15            # scratch
    NO_REG = -1

cdef enum:              # flags as in Op.fneed
    FB_C = 1
    FB_P = 2
    FB_A = 4
    FB_Z = 8
    FB_S = 16
    FB_O = 32
    FB_ALL = 63

cdef enum:              # where a value is
    L_NONE = 0
    L_REG = 1           # guest register `g` (8 bits: its byte offset in Cpu.r)
    L_IMM = 2
    L_ENV = 3           # Cpu.cc_res or Cpu.cc_src, whichever the place is for
    L_SAVED = 4         # its slot below: a register's value before that changed (8 to 32 bits: not extended)
    L_SHIFT = 5         # what is in the second slot, shifted by `imm`; g: the shift's number in its group | log2 of bytes << 4
    L_FLOW = 6          # CF and OF, both as the byte there says

cdef enum:              # which of the host's flags are the guest's
    HOST_NONE = 0
    HOST_ALL = 1
    HOST_NO_OF = 2      # all but OF
    HOST_CF = 3         # CF alone
    HOST_NO_CF = 4

cdef enum:              # what is known of the flags
    N_TRIPLE = 0        # kind, res, src
    N_CMP = 1           # of a - b, not computed yet
    N_TEST = 2          # of a & b
    N_INC = 3           # kind and res; CF is the node `prior`'s
    N_ROT = 4           # CF and OF of a rotation (kind: 0 left, 1 right) by its result; the others are the node `prior`'s
    CUR_ENV = -1        # nothing: only Cpu.cc_* tells
    CUR_DEAD = -2       # nobody will ask

cdef struct Loc:
    u32 t
    u32 g
    s64 imm

cdef struct Node:       # never changed once made: stubs refer to it
    u32 type
    u32 kind            # K_*
    u32 size            # log2 of bytes
    int prior
    Loc res             # N_CMP, N_TEST: a
    Loc src             # ... b

cdef struct XState:     # what is known of the x87 (e_x87.pyx)
    Op* note            # whose pointers FIP, FOP, FCS and FDS should be, or NULL: they are
    u8 on               # the upper part of the guest's stack is in the host's registers, in the same order
    u8 top              # the guest's TOP and tags (off: as in the Cpu)
    u8 tag
    u8 depth            # registers on the host's stack
    u8 dirty            # physical registers whose places in the Cpu are out of date
    u8 ghost            # ... and those that have become empty since, and whose last value is still to be stored
    u8 codes            # condition codes that are in the host's status word: as in X87Row
    u8 cw               # the host's control word may not be its own
    u8 seg              # segment of the last memory operand, or 0xFF
    u16 home            # Cpu.ftop and ftag
    u16 fcw             # the guest's control word, 0: one that masks all exceptions
    u8 sure             # TOP and tags have been compared
    u8 lost             # nothing is known of them

cdef struct Stub:       # code out of line, written behind the block
    u8* at              # the rel32 that leads to it
    u8* back            # where it returns to
    Op* op
    int node            # the flags before the op
    u32 synced
    u32 kind            # STUB_*
    u32 want_flags      # the host's flags are used after it
    u32 xd              # J.xd at it
    u32 xback           # J.xv behind the op
    bint wide           # J.wide at it
    XState x87          # J.x87 at it,
    XState x87_back     # ... and behind the op
    u64 arg
    u32 xv              # J.xv at it
    u8* passed          # a page check that failed, of rcx: where it goes on if the TLB's second level, or T_STORE, knows the place, or NULL
    s32 tlb             # ... the displacement of its TLB
    u32 bytes           # ... how many, from there on, and REFILL_* (tlb.pxd)
    Block* b            # the block of the unit
    u32 rest            # instructions of the unit behind that block
    u32 checked         # of a jump: its target is known to lie in the code segment
    bint sum            # a page check that failed: it leaves an address that is the sum of rcx and r15

cdef enum:
    STUB_SLOW = 0       # call the op's handler, go on
    STUB_END = 1        # ... which ends the block. In the middle of a unit: and leaves it
    STUB_BUDGET = 2
    STUB_LINK = 3       # arg: 0 or 1, the chain
    STUB_REST = 4       # the interpreter does the rest of the block
    STUB_GUARD = 5      # arg: the guard
    STUB_SIDE = 6       # arg: 0 or 1, the chain: a jump out of the middle of a unit
    STUB_OTHER = 8      # in the middle of a unit: an indirect jump to another place, which is in rcx
    STUB_ROUND = 7      # like STUB_BUDGET, at the head of a loop's second round
    STUB_CLEX = 9       # the host's x87 has exception flags that the guest's has not; arg: where it returns to
    STUB_CODES = 11     # condition codes of the host's x87 are not the guest's; arg likewise

cdef struct Place:      # of a memory operand: r[base] + (r[index] << scale) + disp, R_ZERO for none, R_PC for the page
    int base
    int index
    u32 scale
    int sz              # log2 of the address size
    s64 disp

cdef struct Group:      # accesses off the same registers that one check admits
    Place place
    u32 epoch           # of the base: how often it had changed in ways not known
    u32 epoch_x         # ... of the index
    s64 lo              # range, relative to the registers at the beginning of their epochs
    s64 hi
    bint write

cdef enum:
    MAX_GROUPS = 14     # Cpu.jdelta's last two are:
    AT_SAVED = AT_GROUPS + 8 * 14
    GROUP_SPAN = 1024   # bytes at most: a group that crosses into another page is left to the interpreter. Off a pointer that
    GROUP_STEP = 40     # ... moves, this much for each access: what crossing costs against what a check does

cdef enum:
    MAX_NODES = 400
    MAX_STUBS = 700
    NEXT_GUESS = 2      # a return or an indirect jump leads there, mostly
    MAX_UNIT = 20       # blocks compiled together,
    UNIT_OPS = 128      # ... and instructions
    LOOP_OPS = 96       # a unit that is a loop is unrolled to this many,
    MAX_ROUNDS = 9      # ... or to this many rounds; there are two at least
    MAX_BLOCKS = 48     # blocks of all rounds

cdef struct Link:        # stands in the code, before what leads to another block
    Block* b
    u64 slot            # the chain, 0 or 1
    u8* site            # the rel32 to patch

cdef struct J:          # the block being compiled
    u8* p               # where the next byte goes (the writable mapping)
    u8* end
    s64 rx              # executable minus writable address
    Cpu* c
    Block* b            # ... of its unit, the one whose ops are being written
    Block* head         # the unit: blocks that follow one another, compiled together
    Block* unit[48]
    int slots[48]       # of each: next_slot
    int n_unit
    Op* ops[256]        # all of them
    u32 rest            # instructions behind the block
    int next_slot       # the chain that leads to the unit's next block, or NEXT_GUESS, or -1
    u32 next_off        # ... its place in the page
    Op* op
    u32 mode
    bint m64
    u32 boff            # the block's place in its page
    int i               # number of the op
    int n
    int cur             # node that describes the guest's flags, or CUR_*
    bint synced         # Cpu.cc_* holds them too
    int in_host         # the host's flags are the guest's (those that are live): HOST_*
    int host_lo         # stubs from here on come back behind the instruction that set them
    int op_stub         # the op's first stub
    int n_nodes
    int n_stubs
    bint failed
    bint sum            # the emitter takes an operand as rcx + r15, too,
    bint summed         # ... and so it is
    u32 xv              # guest XMM registers that are in the host's, and from bit 16 on the upper halves of YMM registers, ...
    u32 xd              # ... of them those whose place in the Cpu is out of date
    bint wide           # ... and whether upper halves of the host's registers have been written
    u32 xsize           # bytes of code that stubs need for that
    s32 at              # the last memory operand is at rcx + this
    int held            # the group whose address rcx holds, behind the op before; -1: none
    int held_now        # ... while no operand of the present op has been addressed,
    int held_after      # ... and since
    bint align          # the next memory operand must be aligned to its size
    u64 lo              # the unit's code, as Block.addr
    u64 hi
    int mmx             # number of the last op if it was an MMX instruction: the x87 state is as that leaves it
    int n1              # a loop: instructions of the first round; otherwise all
    bint loop
    u32 variant         # ... guest registers that are not after a round what they were before
    u8* second          # ... the head of the second round (writable), and what is known there: as cur, synced, xv ...
    int second_cur
    bint second_synced
    u32 second_xv
    u32 second_xd
    bint second_wide
    XState x87
    XState second_x87
    int x87_end         # the first op that cannot run on the host's x87 as it is
    u32 boffs[256]      # places in the page of the blocks of ops
    u32 live[256]       # flags that matter after op i
    u32 epoch[18]       # of each guest register (see Group)
    s64 moved[18]       # ... and by how much it has moved since
    bint lone           # no groups: there were too many that crossed
    int n_groups
    Group groups[16]
    Node nodes[400]
    Stub stubs[700]

cdef extern from "gen/emit.h" nogil:
    ctypedef struct EmitRow:
        u8 cls, sub, form, size
        u8 access       # A_*
        u8 width        # bytes accessed
        u16 changes     # guest registers: the first eight by number, then C_*
        u8 step         # STEP_*: a change by an amount known beforehand
        u8 kills        # flags (FB_*) that it gives a new value whatever happens, KILLS_IF_COUNT
        u8 faults       # FAULTS_*
    const EmitRow* emit_rows
    enum:
        E_NONE, E_MOV, E_ALU, E_TEST, E_ADC, E_UNARY, E_LEA, E_MOVX, E_SHIFT, E_ROTATE, E_IMUL, E_MUL, E_DIV, E_PUSH, E_POP, E_LEAVE, E_BMI
        E_JCC, E_LOOP, E_STRING, E_JMP, E_CALL, E_JMPI, E_RET, E_SETCC, E_CMOVCC, E_CBW, E_CWD, E_BSWAP, E_XCHG, E_NOP, E_BT, E_SCAN
        E_CMPXCHG, E_XADD, E_SHD, E_DIR, E_SAHF, E_TIME, E_MMX, E_MMXMOVE, E_VEC, E_VST, E_VTOG, E_GTOV, E_VZERO, E_VFLAGS, E_X87
        FORM_NONE, FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_R, FORM_M, FORM_I, FORM_J, FORM_RC, FORM_MC, FORM_RRI, FORM_RMI
        FORM_RRC, FORM_MRI, FORM_RO, FORM_OR, FORM_RRR, FORM_RRM, FORM_RMR, FORM_RRRI, FORM_RRMI, FORM_RRRR, FORM_RRMR
        FORM_QQ, FORM_QM, FORM_QI, FORM_QR, FORM_RQ, FORM_MQ, FORM_QQI, FORM_QMI, FORM_RQI, FORM_QRI
        V_ALIGNED, V_WHOLE, V_DEST, V_SELF, V_FP, V_XMM0, ENC_SWAP, ENC_VVVV
        VEX_IS, VEX_L1, VEX_W1, VEX_AVX2_L1, VEX_LEGACY
        A_READ, A_WRITE, A_OPERAND, A_PUSH, A_POP, A_OTHER
        C_FIRST, C_SECOND, C_ALL, C_VVVV
        STEP_NONE, STEP_PUSH, STEP_POP, STEP_ADD, STEP_SUB, STEP_INC, STEP_DEC, STEP_LEA
        KILLS_IF_COUNT
        FAULTS_NEVER, FAULTS_ALWAYS, FAULTS_FP
        HOST_PNI, HOST_SSSE3, HOST_SSE4_1, HOST_SSE4_2, HOST_AES, HOST_PCLMULQDQ, HOST_AVX, HOST_AVX2, HOST_FMA, HOST_F16C
    ctypedef struct Encoding:
        u8 prefix, map, opcode, modrm, host, vex
    const Encoding* encodings       # by Op.kind
    ctypedef struct X87Row:         # what an x87 instruction does (emit_table.py)
        u8 kind
        u8 need, write              # 1: ST(0), 2: ST(i), 4: ST(1), 8: what is pushed
        u8 push, pop
        u8 codes                    # 1: C1, 2: C2, 4: C0 and C3
        u8 size, store
    const X87Row* x87_rows          # by EmitRow.sub
    enum:
        X87_OP, X87_FLAGS, X87_PART, X87_PREM, X87_CMOV2, X87_CMOV4, X87_CMOV6, X87_CMOV10, X87_FLDCW, X87_FNSTCW, X87_FNSTSW, X87_FNSTSWAX
        X87_FNCLEX, X87_FWAIT, X87_PREDICT, X87_CLEAR, X87_LOST

cdef enum:              # thunks: code that all blocks share, at the beginning of the code memory
    T_ENTER = 0
    T_EXIT = 1
    T_SLOW = 2          # called: run the op in r15 by its handler
    T_END = 3           # jumped to: ... which ends the block
    T_BUDGET = 4
    T_LINK = 5          # jumped to: patch a jump inside the page; its record is at r15 (writable)
    T_GOTO = 7          # by the pc in rcx
    T_INTERP = 8
    T_FLAGS = 9         # called: the host's flags from Cpu.cc_*
    T_CF = 10           # called: r15 = CF
    T_SETCF = 11        # called: CF = r15, the other flags stay
    T_ROT = 12          # called: CF and OF of the rotation whose result is in r15 and whose kind in jtmp
    T_REST = 13         # jumped to: interpret from the op in r15
    T_XLINK = 14        # jumped to: link a jump into another page, whose code begins at r15 (writable)
    T_XGUARD = 15       # jumped to: look again whether the rest of the instruction still lies in the next page
    T_FIND = 16         # jumped to: as T_GOTO, the pc is in jtmp
    T_XPARK = 17        # called: the x87 state home, as the XState in r15 says
    T_XBACK = 18        # ... and back into the host's
    T_REFILL = 19       # called: rcx = host address of the linear address in rcx, to be read (r15: Stub.bytes). ZF: not known
    T_STORE = 20        # ... to be written (r15: Stub.bytes << 48 | the unit's first block)
    N_THUNKS = 21

cdef enum:              # places in the code of a jump into another page (far_jump)
    X_PGPC = 6
    X_GEN = 27
    X_REL = 49
    X_END = 53
    X_HOST2 = 39        # ... and of a guard

cdef u32[21] thunk_at           # their offsets
cdef int[16] HR                 # host register of a guest register, or NO_REG

# An emitter returns False where the handler shall do it; nothing has been written then.
ctypedef bint (*EmitFn)(J* j, Op* op, EmitRow r) noexcept nogil

cdef EmitFn[256] emitters       # by class; each e_*.pyx enters its own

cdef bint has_popcnt
cdef bint has_bmi

# ---- emit.pyx
cdef void g_rm(J* j, int sz, u32 opc, int reg, int g) noexcept nogil
cdef void ld_g(J* j, int sz, int dst, int g) noexcept nogil
cdef void st_g(J* j, int sz, int src, int g) noexcept nogil
cdef s64 imm_of(int sz, u64 v) noexcept nogil
cdef void alu_rr(J* j, int sz, u32 sub, int reg, int rm_) noexcept nogil
cdef void alu_ri(J* j, int sz, u32 sub, int reg, s64 v) noexcept nogil
cdef Stub* new_stub(J* j, u8* at, u32 kind) noexcept nogil
cdef void x_move(J* j, u32 opc, u32 regs) noexcept nogil
cdef void x_load(J* j, int r) noexcept nogil
cdef void x_load_vex(J* j, int r, bint whole) noexcept nogil
cdef void x_changed(J* j, int r) noexcept nogil
cdef void x_changed_vex(J* j, int r) noexcept nogil
cdef void x_narrow(J* j, bint wide) noexcept nogil
cdef int x_free(J* j, int other) noexcept nogil
cdef void x_flush(J* j) noexcept nogil
cdef void call_c(J* j, int t) noexcept nogil


cdef inline u8* thunk(J* j, int n) noexcept nogil:
    return j.c.m.code_rx + thunk_at[n]


cdef inline int gnum(int sz, int g) noexcept nogil:
    return g >> 3 if sz == 0 else g


cdef inline bint is_high(int sz, int g) noexcept nogil:
    return sz == 0 and g & 1


cdef inline void rcx_lost(J* j) noexcept nogil:
    """rcx is something else than the address of a group (operands.pyx)."""
    j.held_now = j.held_after = -1


# ------------------------------------------------------------------------------------------------ bytes

cdef inline void e8(J* j, u32 v) noexcept nogil:
    j.p[0] = <u8>v
    j.p += 1


cdef inline void e32(J* j, u32 v) noexcept nogil:
    (<u32*>j.p)[0] = v
    j.p += 4


cdef inline void e64(J* j, u64 v) noexcept nogil:
    (<u64*>j.p)[0] = v
    j.p += 8


cdef inline int env_r(int g) noexcept nogil:
    """Displacement of guest register g in the Cpu."""
    return g * 8 - 128


cdef inline void e_op(J* j, u32 opc) noexcept nogil:
    """Opcode bytes: 0x0Fxx and 0x0F38xx as one number."""
    if opc > 0xFFFF:
        e8(j, opc >> 16)
    if opc > 0xFF:
        e8(j, opc >> 8)
    e8(j, opc)


cdef inline void e_prefix(J* j, int sz, u32 reg, u32 index, u32 rm, bint byte_reg) noexcept nogil:
    """66 and REX. sz: log2 of the operand size; byte_reg: a register among 4-7 is SPL..DIL, not AH..BH."""
    cdef u32 rex = (8 if sz == 3 else 0) | ((reg >> 3) << 2) | ((index >> 3) << 1) | (rm >> 3)
    if sz == 1:
        e8(j, 0x66)
    if rex or byte_reg:
        e8(j, 0x40 | rex)


cdef inline void e_vex(J* j, u32 pp, u32 map_, u32 opc, u32 w, u32 l, u32 reg, u32 vvvv, u32 rm) noexcept nogil:
    """VEX prefix and opcode. pp: 66 F3 F2 as 1 2 3; map_: 1 to 3; vvvv: 0 where there is none."""
    if map_ == 1 and not w and rm < 8:
        e8(j, 0xC5)
        e8(j, (~reg & 8) << 4 | (~vvvv & 15) << 3 | l << 2 | pp)
    else:
        e8(j, 0xC4)
        e8(j, (~reg & 8) << 4 | 0x40 | (~rm & 8) << 2 | map_)
        e8(j, w << 7 | (~vvvv & 15) << 3 | l << 2 | pp)
    e8(j, opc)


cdef inline void rr(J* j, int sz, u32 opc, int reg, int rm) noexcept nogil:
    """opc reg, rm: both registers; for 8 bits opc is the byte form already. sz 0 with SPL..DIL gets its REX."""
    e_prefix(j, sz, reg, 0, rm, sz == 0 and (4 <= reg < 8 or 4 <= rm < 8))
    e_op(j, opc)
    e8(j, 0xC0 | ((reg & 7) << 3) | (rm & 7))


cdef inline void e_mem(J* j, int reg, int base, s32 disp) noexcept nogil:
    """ModRM for [base + disp]."""
    cdef u32 r = (reg & 7) << 3
    if disp == 0 and (base & 7) != 5:
        e8(j, r | (base & 7))
        if (base & 7) == 4:
            e8(j, 0x24)
    elif -128 <= disp < 128:
        e8(j, 0x40 | r | (base & 7))
        if (base & 7) == 4:
            e8(j, 0x24)
        e8(j, <u32>disp)
    else:
        e8(j, 0x80 | r | (base & 7))
        if (base & 7) == 4:
            e8(j, 0x24)
        e32(j, <u32>disp)


cdef inline void rm(J* j, int sz, u32 opc, int reg, int base, s32 disp) noexcept nogil:
    """opc reg, [base + disp] (or the other way round, as the opcode says)."""
    e_prefix(j, sz, reg, 0, base, sz == 0 and 4 <= reg < 8)
    e_op(j, opc)
    e_mem(j, reg, base, disp)


cdef inline void rmx(J* j, int sz, u32 opc, int reg, int base, int index, u32 scale, s32 disp) noexcept nogil:
    """opc reg, [base + index << scale + disp]; base NO_REG: none."""
    e_prefix(j, sz, reg, index, base if base >= 0 else 0, sz == 0 and 4 <= reg < 8)
    e_op(j, opc)
    if base < 0:
        e8(j, ((reg & 7) << 3) | 4)
        e8(j, (scale << 6) | ((index & 7) << 3) | 5)
        e32(j, <u32>disp)
    elif disp == 0 and (base & 7) != 5:
        e8(j, ((reg & 7) << 3) | 4)
        e8(j, (scale << 6) | ((index & 7) << 3) | (base & 7))
    elif -128 <= disp < 128:
        e8(j, 0x40 | ((reg & 7) << 3) | 4)
        e8(j, (scale << 6) | ((index & 7) << 3) | (base & 7))
        e8(j, <u32>disp)
    else:
        e8(j, 0x80 | ((reg & 7) << 3) | 4)
        e8(j, (scale << 6) | ((index & 7) << 3) | (base & 7))
        e32(j, <u32>disp)


cdef inline void e_imm(J* j, int sz, u64 v) noexcept nogil:
    """An immediate of an ordinary instruction: 1, 2 or 4 bytes."""
    if sz == 0:
        e8(j, <u32>v)
    elif sz == 1:
        e8(j, <u32>v)
        e8(j, <u32>(v >> 8))
    else:
        e32(j, <u32>v)


cdef inline void mov_imm(J* j, int reg, u64 v) noexcept nogil:
    """reg = v, the shortest way that leaves the flags alone."""
    if v == <u32>v:
        e_prefix(j, 2, 0, 0, reg, 0)
        e8(j, 0xB8 | (reg & 7))
        e32(j, <u32>v)
    elif v == <u64><s64><s32>v:
        rr(j, 3, 0xC7, 0, reg)
        e32(j, <u32>v)
    else:
        e_prefix(j, 3, 0, 0, reg, 0)
        e8(j, 0xB8 | (reg & 7))
        e64(j, v)


cdef inline void mov(J* j, int dst, int src) noexcept nogil:
    if dst != src:
        rr(j, 3, 0x8B, dst, src)


cdef inline void ld_env(J* j, int sz, int reg, int disp) noexcept nogil:
    rm(j, sz, 0x8B, reg, H_ENV, disp)


cdef inline void st_env(J* j, int sz, int reg, int disp) noexcept nogil:
    rm(j, sz, 0x89, reg, H_ENV, disp)


cdef inline void jmp_rx(J* j, u8* target) noexcept nogil:
    """jmp to an executable address."""
    e8(j, 0xE9)
    e32(j, <u32>(target - (j.p + j.rx + 4)))


cdef inline void call_rx(J* j, u8* target) noexcept nogil:
    e8(j, 0xE8)
    e32(j, <u32>(target - (j.p + j.rx + 4)))


cdef inline u8* jcc_fwd(J* j, u32 cc) noexcept nogil:
    """jcc to a place not known yet; returns where its rel32 is."""
    e8(j, 0x0F)
    e8(j, 0x80 | cc)
    e32(j, 0)
    return j.p - 4


cdef inline u8* jcc_short(J* j, u32 cc) noexcept nogil:
    e8(j, 0x70 | cc)
    e8(j, 0)
    return j.p


cdef inline void here_short(J* j, u8* from_) noexcept nogil:
    if j.p - from_ > 127:
        j.failed = 1
    (from_ - 1)[0] = <u8>(j.p - from_)


cdef inline void patch_rw(u8* at, u8* target_rw) noexcept nogil:
    """Point the rel32 at `at` to target (both writable addresses)."""
    (<u32*>at)[0] = <u32>(target_rw - (at + 4))
