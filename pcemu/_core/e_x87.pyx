"""Emitters of the x87: the same instruction again, on the host's own x87 (jit.pyx explains the whole).

Between two points of a unit the upper registers of the guest's stack are on the host's, in the same order, so that ST(i) here is
ST(i) there and an instruction's bytes need no change. TOP and the tags are those that the Cpu has when the unit is compiled; they are
compared where the host's x87 is taken, and from there on they are known. So an instruction that would find the stack full or a
register empty is found here, and left to its handler.

How many registers are loaded follows from looking ahead over the unit. They go home where it ends, where a handler is called, and
out of line wherever it can be left. The host's x87 is empty and has its own control word at all other times.

The guest's exceptions are all masked, or nothing is compiled. The host's exception flags are sticky, as the guest's are: where the
x87 is taken the host must not have one that the guest has not; where it goes home they are added. Condition codes that an
instruction has written are in the host's status word, those that none has written still in the guest's.

What remains in a register that has become empty can be seen (by FNSAVE, by MMX), so it goes home, too. The host keeps it as well, but
no x87 instruction reads it. An MMX instruction makes all registers valid and TOP 0; then they can be stored, and EMMS empties them. That
takes next to no time. For this TOP is 0 on the host whenever its stack is empty.
"""
from pcemu._core.emit cimport *
from pcemu._core.flags cimport *
from pcemu._core.operands cimport *

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <cpuid.h>
    #define X87_HOST 1
    #else
    #define X87_HOST 0
    #endif
    static int pcemu_x87_lahf(void)
    {
    #if X87_HOST
        unsigned a, b, c = 0, d;
        return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1;
    #else
        return 0;
    #endif
    }
    /* The host's x87 as FXSAVE has it: control word, status word, tags (a bit for a register that is not empty); at 32 the registers,
       ST(0) first, also those that are empty. SSE state stays as it is. */
    static void pcemu_x87_get(unsigned char *image)
    {
    #if X87_HOST
        __asm__ volatile("fxsave64 %0" : "=m"(*(unsigned char (*)[512])image));
    #else
        (void)image;
    #endif
    }
    static void pcemu_x87_set(unsigned char *image)
    {
    #if X87_HOST
        __asm__ volatile("fxrstor64 %0" : : "m"(*(unsigned char (*)[512])image));
    #else
        (void)image;
    #endif
    }
    """
    const int X87_HOST
    bint has_lahf "pcemu_x87_lahf"() nogil
    void host_get "pcemu_x87_get"(u8*) nogil
    void host_set "pcemu_x87_set"(u8*) nogil

cdef bint have_lahf = has_lahf()

cdef enum:
    FLAGS = 0x3F                # exception flags, and their masks
    PENDING = 0x80
    TOP = 0x3800
    ALL_CODES = 0x4700
    DEFAULT = 0x37F             # the host's own control word
    CW_BITS = 0x1F3F
    CW_ONE = 0x40
    NO_SEG = 0xFF
    SEG_SEL = 16                # Seg.sel
    SCOPE = 200                 # ops looked ahead


cdef inline u32 code_bits(u32 codes) noexcept nogil:
    return (0x200 if codes & 1 else 0) | (0x400 if codes & 2 else 0) | (0x4100 if codes & 4 else 0)


# ============================================================================================== thunks' C side

cdef inline u8* aligned(u8* p) noexcept nogil:
    return p + (16 - (<u64>p & 15))


cdef u8* x87_park(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """As x87_home(), for where the time does not matter."""
    cdef XState* x = <XState*>arg
    cdef u8[528] room
    cdef u8* image = aligned(room)
    cdef u32 mask = code_bits(x.codes)
    cdef u64* reg
    cdef int i, r
    cdef Block* b
    host_get(image)
    c.fsw = <u16>((c.fsw & ~mask) | ((<u16*>image)[1] & (mask | FLAGS)))
    for i in range(8):
        r = (x.top + i) & 7
        if (x.dirty | x.ghost) >> r & 1:
            reg = <u64*>(image + 32 + 16 * i)
            c.fpr[2 * r] = reg[0]
            c.fpr[2 * r + 1] = reg[1] & 0xFFFF
    (<u16*>image)[0] = DEFAULT
    (<u16*>image)[1] &= FLAGS
    image[4] = 0
    host_set(image)
    c.ftop = x.top
    c.ftag = x.tag
    if x.note is not NULL:
        b = <Block*>(x.note.jit & (((<u64>1) << 48) - 1))
        c.fip = c.pgpc + (b.addr & 4095) + x.note.pcoff
        if not c.mode & M_CODE64:
            c.fip = <u32>c.fip
        c.fop = <u16>x.note.imm
        c.fcs = c.seg[CS].sel
        if x.seg != NO_SEG:
            c.fds = c.seg[x.seg].sel
    return <u8*>1


cdef u8* x87_back(Cpu* c, void* arg, u64 unit) noexcept nogil:
    """The handler has run: its state back into the host's x87."""
    cdef XState* x = <XState*>arg
    cdef u8[528] room
    cdef u8* image = aligned(room)
    cdef u64* reg
    cdef int i, r, top = -<int>x.depth & 7
    host_get(image)
    (<u16*>image)[0] = c.fcw if x.cw else DEFAULT
    (<u16*>image)[1] = <u16>((c.fsw & (FLAGS | ALL_CODES)) | top << 11)
    image[4] = 0
    for i in range(8):
        r = (x.top + i) & 7
        reg = <u64*>(image + 32 + 16 * i)
        reg[0] = c.fpr[2 * r]
        reg[1] = c.fpr[2 * r + 1] & 0xFFFF
        if i < x.depth:
            image[4] |= <u8>(1 << ((top + i) & 7))
    host_set(image)
    c.ftop = <u8>x.home                 # the code counts on it
    c.ftag = <u8>(x.home >> 8)
    return <u8*>1


# ====================================================================================================== going home

cdef inline void ld16(J* j, int reg, int disp) noexcept nogil:
    rm(j, 2, 0x0FB7, reg, H_ENV, disp)


cdef inline void st16(J* j, int reg, int disp) noexcept nogil:
    rm(j, 1, 0x89, reg, H_ENV, disp)


cdef inline void st16_imm(J* j, u32 v, int disp) noexcept nogil:
    mov_imm(j, H_CX, v)
    st16(j, H_CX, disp)


cdef inline void host_m(J* j, u32 opc, u32 digit, int disp) noexcept nogil:
    """An x87 instruction on something in the Cpu."""
    rm(j, 2, opc, digit, H_ENV, disp)


cdef inline int place_of(int r) noexcept nogil:
    return AT_FPR + 16 * (r & 7)


cdef void host_status(J* j, u32 mask) noexcept nogil:
    """rcx = the guest's status word but TOP, of which the bits in mask are in the host's. r15 is lost."""
    host_m(j, 0xDD, 7, AT_XTMP)                     # fnstsw
    ld16(j, H_CX, AT_XTMP)
    ld16(j, H_T, AT_FSW)
    rr(j, 2, 0x81, 4, H_CX)
    e32(j, mask | FLAGS)
    if mask:
        rr(j, 2, 0x81, 4, H_T)
        e32(j, ~mask & 0xFFFF)
    alu_rr(j, 2, 1, H_CX, H_T)


cdef void store_ghosts(J* j, XState* x) noexcept nogil:
    """The stack is empty: what remains in its registers. rcx is lost."""
    cdef int h, r, _n, first = 8, last = 0
    for r in range(8):
        if x.ghost >> r & 1:
            h = (r - x.top - x.depth) & 7
            first = h if h < first else first
            last = h if h > last else last
    e8(j, 0x0F)                                     # movd ecx, mm0
    e8(j, 0x7E)
    e8(j, 0xC1)
    if first >= 4:
        for _n in range(8 - first):
            e8(j, 0xD9)                             # fdecstp
            e8(j, 0xF6)
    else:
        first = 0
    for h in range(first, last + 1):
        r = (h + x.top + x.depth) & 7
        if x.ghost >> r & 1:
            host_m(j, 0xDB, 7, place_of(r))
        else:
            e8(j, 0xD9)                             # fincstp
            e8(j, 0xF7)
    if last != 7:
        e8(j, 0x0F)
        e8(j, 0x7E)
        e8(j, 0xC1)
    e8(j, 0x0F)                                     # emms
    e8(j, 0x77)


cdef void x87_home(J* j, XState* x) noexcept nogil:
    """Write what is in the host's x87 to the Cpu and empty it. Scratch registers and the host's flags are lost."""
    cdef int i, r
    cdef u8* skip
    cdef Block* b
    if not x.on:
        return
    host_status(j, code_bits(x.codes))
    st16(j, H_CX, AT_FSW)
    for i in range(x.depth):
        r = (x.top + i) & 7
        if x.dirty >> r & 1:
            host_m(j, 0xDB, 7, place_of(r))         # fstp m80
        else:
            e8(j, 0xDD)                             # fstp st(0)
            e8(j, 0xD8)
    if x.ghost:
        store_ghosts(j, x)
    if x.home != (x.top | <u32>x.tag << 8):
        st16_imm(j, x.top | <u32>x.tag << 8, AT_FTOP)
    if x.cw:
        ld16(j, H_CX, AT_FCW)
        rr(j, 2, 0x81, 7, H_CX)
        e32(j, DEFAULT)
        skip = jcc_short(j, 4)
        rm(j, 2, 0xC7, 0, H_ENV, AT_XTMP)
        e32(j, DEFAULT)
        host_m(j, 0xD9, 5, AT_XTMP)                 # fldcw
        here_short(j, skip)
    if x.note is not NULL:
        b = <Block*>(x.note.jit & (((<u64>1) << 48) - 1))
        ld_env(j, 3, H_CX, AT_PGPC)
        rm(j, 3 if j.m64 else 2, 0x8D, H_CX, H_CX, <s32>((b.addr & 4095) + x.note.pcoff))
        st_env(j, 3, H_CX, AT_FIP)
        st16_imm(j, x.note.imm & 0xFFFF, AT_FOP)
        ld16(j, H_CX, AT_SEG + CS * 32 + SEG_SEL)
        st16(j, H_CX, AT_FCS)
        if x.seg != NO_SEG:
            ld16(j, H_CX, AT_SEG + x.seg * 32 + SEG_SEL)
            st16(j, H_CX, AT_FDS)


cdef void turned_off(XState* x) noexcept nogil:
    x.on = 0
    x.depth = 0
    x.dirty = 0
    x.ghost = 0
    x.codes = 0
    x.cw = 0
    x.note = NULL
    x.seg = NO_SEG
    x.home = <u16>(x.top | <u32>x.tag << 8)


cdef void x87_flush(J* j) noexcept nogil:
    if j.x87.on:
        x87_home(j, &j.x87)
        turned_off(&j.x87)
        j.in_host = 0
        rcx_lost(j)


# ========================================================================================================= looking ahead

cdef struct Sim:
    u32 top
    u32 tag
    int net             # registers pushed since the beginning, less those popped
    int deep            # registers of the beginning that are needed
    int high            # the largest net
    u32 popped          # physical registers, by the last op


cdef inline int index_of(Op* op, u32 bit) noexcept nogil:
    """ST(i) behind a bit of X87Row.need."""
    return 0 if bit == 1 else 1 if bit == 4 else <int>(op.imm & 7)


cdef bint possible(Sim* s, Op* op, X87Row x) noexcept nogil:
    """Do the tags allow it? Counts the registers that it needs."""
    cdef u32 bit = 1
    cdef int i, p, deep = s.deep, high = s.high
    if x.push and s.tag >> ((s.top - 1) & 7) & 1:
        return 0
    while bit < 8:
        if (x.need | x.write) & bit:
            i = index_of(op, bit)
            if x.need & bit and not s.tag >> ((s.top + i) & 7) & 1:
                return 0
            p = i - s.net + 1
            if p > deep:
                deep = p
        bit <<= 1
    if s.net + x.push > high:
        high = s.net + x.push
    if deep + high > 8:
        return 0
    s.deep = deep
    s.high = high
    return 1


cdef u32 apply(Sim* s, Op* op, X87Row x) noexcept nogil:
    """TOP and tags behind the op; returns the physical registers that it wrote."""
    cdef u32 bit = 1, wrote = 0
    cdef int _
    while bit < 8:
        if x.write & bit:
            wrote |= <u32>1 << ((s.top + index_of(op, bit)) & 7)
        bit <<= 1
    s.tag |= wrote
    if x.push:
        s.top = (s.top - 1) & 7
        wrote |= <u32>1 << s.top
        s.tag |= <u32>1 << s.top
    s.popped = 0
    for _ in range(x.pop):
        s.popped |= <u32>1 << s.top
        s.tag &= ~(<u32>1 << s.top)
        s.top = (s.top + 1) & 7
    s.net += x.push - <int>x.pop
    return wrote


cdef int plan(J* j) noexcept nogil:
    """From the present op on: how many registers to load; j.x87_end: the first op that is not covered."""
    cdef Sim s
    cdef int i
    cdef EmitRow r
    cdef X87Row x
    cdef Op* op
    s.top = j.x87.top
    s.tag = j.x87.tag
    s.net = s.deep = s.high = 0
    for i in range(j.i, j.n):
        op = j.ops[i]
        r = emit_rows[op.jit >> 48]
        j.x87_end = i
        if r.cls == E_X87:
            x = x87_rows[r.sub]
            if x.kind >= X87_PREDICT or not possible(&s, op, x):
                return s.deep
            apply(&s, op, x)
        elif r.cls == E_NONE:
            return s.deep
    j.x87_end = j.n
    return s.deep


# ===================================================================================================== taking the x87

cdef void x87_begin(J* j) noexcept nogil:
    j.x87.top = j.c.ftop & 7
    j.x87.tag = j.c.ftag
    turned_off(&j.x87)
    j.x87_end = 0
    j.x87.sure = 0
    j.x87.fcw = j.c.fcw
    j.x87.lost = not X87_HOST or j.c.fcw & FLAGS != FLAGS or j.c.fsw & PENDING


cdef bint take(J* j) noexcept nogil:
    """The host's x87 for the guest, from the present op on. False: the handler must do it."""
    cdef int deep, i
    cdef XState* x = &j.x87
    cdef Stub* s
    if x.on:
        if j.i < j.x87_end:
            return 1
        x87_flush(j)
    if j.x87.lost:
        return 0
    deep = plan(j)
    if j.x87_end == j.i:
        return 0
    j.in_host = 0
    rcx_lost(j)
    x.home = <u16>(x.top | <u32>x.tag << 8)
    if not j.x87.sure:
        ld16(j, H_CX, AT_FTOP)
        rr(j, 2, 0x81, 7, H_CX)
        e32(j, x.home)
        new_stub(j, jcc_fwd(j, 5), STUB_REST)
        ld16(j, H_CX, AT_FCW)
        if j.x87.fcw == 0:
            rr(j, 2, 0x83, 4, H_CX)
            e8(j, FLAGS)
            rr(j, 2, 0x83, 7, H_CX)
            e8(j, FLAGS)
        else:
            rr(j, 2, 0x81, 7, H_CX)
            e32(j, j.x87.fcw)
        new_stub(j, jcc_fwd(j, 5), STUB_REST)
    j.x87.sure = 1
    # a flag that the guest has not, or a pending exception, or TOP is not 0
    host_m(j, 0xDD, 7, AT_XTMP)
    ld16(j, H_CX, AT_FSW)
    rr(j, 2, 0x83, 6, H_CX)
    e8(j, FLAGS)
    rr(j, 2, 0x81, 1, H_CX)
    e32(j, TOP)
    ld16(j, H_T, AT_XTMP)
    rr(j, 2, 0x81, 1, H_T)
    e32(j, PENDING)
    alu_rr(j, 2, 4, H_CX, H_T)
    rr(j, 2, 0xF7, 0, H_CX)
    e32(j, PENDING | FLAGS | TOP)
    s = new_stub(j, jcc_fwd(j, 5), STUB_CLEX)
    s.arg = <u64>j.p
    if j.x87.fcw != DEFAULT:
        host_m(j, 0xD9, 5, AT_FCW)                  # fldcw
        x.cw = 1
    for i in range(deep):
        host_m(j, 0xDB, 5, place_of(x.top + deep - 1 - i))      # fld m80
    x.on = 1
    x.depth = <u8>deep
    return 1


cdef void done(J* j, Op* op, X87Row row) noexcept nogil:
    """The op has been written: what is known behind it."""
    cdef Sim s
    cdef XState* x = &j.x87
    cdef u32 wrote
    s.top = x.top
    s.tag = x.tag
    wrote = apply(&s, op, row)
    x.top = <u8>s.top
    x.tag = <u8>s.tag
    x.depth = <u8>(x.depth + row.push - row.pop)
    x.dirty |= <u8>wrote
    x.ghost = <u8>((x.ghost & ~wrote) | (x.dirty & s.popped))
    x.dirty &= <u8>~s.popped
    x.codes |= row.codes
    x.note = op
    if row.size:
        x.seg = DS if op.seg == SEG_FLAT else op.seg


cdef void x87_after(J* j, Op* op, EmitRow r) noexcept nogil:
    """A handler has run the op: what it probably did to TOP and tags, which are compared again where that matters."""
    cdef Sim s
    cdef X87Row row
    if r.cls == E_NONE or j.x87.lost:
        j.x87.sure = 0
        return
    if r.cls != E_X87:
        return
    row = x87_rows[r.sub]
    j.x87.sure = 0
    if row.kind == X87_LOST:
        j.x87.lost = 1
    elif row.kind == X87_CLEAR:
        j.x87.top = j.x87.tag = 0
        j.x87.fcw = DEFAULT
    else:
        if row.kind == X87_FLDCW:
            j.x87.fcw = 0
        s.top = j.x87.top
        s.tag = j.x87.tag
        s.net = 0
        apply(&s, op, row)
        j.x87.top = <u8>s.top
        j.x87.tag = <u8>s.tag
    turned_off(&j.x87)


# ========================================================================================================== emitters

cdef void data_pointer(J* j, Op* op) noexcept nogil:
    """FDP = offset of the op's memory operand, whose host address stays in rcx."""
    cdef int sz = 3 if address_size(op) == 3 else 2
    if op.base < 16 and HR[op.base] >= 0 and op.index >= 16 and op.disp == 0 and sz == 3:
        st_env(j, 3, HR[op.base], AT_FDP)
    elif op.index < 16 and HR[op.index] < 0:
        st_env(j, 3, H_CX, AT_XTMP)
        offset(j, H_CX, sz)
        st_env(j, 3, H_CX, AT_FDP)
        ld_env(j, 3, H_CX, AT_XTMP)
    else:
        offset(j, H_T, sz)
        st_env(j, 3, H_T, AT_FDP)


cdef void same(J* j, Op* op) noexcept nogil:
    """The op's own bytes, or with the memory operand at rcx + j.at."""
    cdef u32 opc = 0xD8 + (op.imm >> 8 & 7)
    cdef u32 modrm = op.imm & 0xFF
    if modrm >= 0xC0:
        e8(j, opc)
        e8(j, modrm)
    else:
        rm(j, 2, opc, modrm >> 3 & 7, H_CX, j.at)


cdef void e_status(J* j) noexcept nogil:
    """rcx = the status word as the guest sees it."""
    if j.x87.on:
        host_status(j, code_bits(j.x87.codes))
        if j.x87.top:
            rr(j, 2, 0x81, 1, H_CX)
            e32(j, <u32>j.x87.top << 11)
    else:
        ld16(j, H_CX, AT_FSW)
        rr(j, 2, 0x81, 4, H_CX)
        e32(j, 0xC7FF)
        rm(j, 2, 0x0FB6, H_T, H_ENV, AT_FTOP)
        rr(j, 2, 0xC1, 4, H_T)
        e8(j, 11)
        alu_rr(j, 2, 1, H_CX, H_T)
    j.in_host = 0


cdef void pending(J* j) noexcept nogil:
    """A waiting instruction while the host's x87 is not taken."""
    if j.x87.on:
        return
    rm(j, 0, 0xF6, 0, H_ENV, AT_FSW)                # test byte
    e8(j, PENDING)
    new_stub(j, jcc_fwd(j, 5), STUB_SLOW)
    j.in_host = 0


cdef bint e_control(J* j, Op* op, u32 kind) noexcept nogil:
    """FLDCW FNSTCW FNSTSW FNCLEX FWAIT."""
    if kind == X87_FWAIT:
        pending(j)
    elif kind == X87_FNSTSWAX:
        will_write(j, RAX, 0)
        e_status(j)
        rr(j, 1, 0x89, H_CX, H_AX)
    elif kind == X87_FNSTSW:
        e_status(j)
        st_env(j, 3, H_CX, AT_XTMP + 8)
        mem(j, 2, 1)
        ld_env(j, 2, H_T, AT_XTMP + 8)
        rm(j, 1, 0x89, H_T, H_CX, 0)
    elif kind == X87_FNSTCW:
        mem(j, 2, 1)
        ld16(j, H_T, AT_FCW)
        rm(j, 1, 0x89, H_T, H_CX, 0)
    elif kind == X87_FNCLEX:
        if j.x87.on:
            e8(j, 0xDB)
            e8(j, 0xE2)
        else:
            pending(j)                              # (FERR#)
        ld16(j, H_CX, AT_FSW)
        rr(j, 2, 0x81, 4, H_CX)
        e32(j, 0x7F00)
        st16(j, H_CX, AT_FSW)
        j.in_host = 0
    else:                                           # FLDCW
        if not take(j):
            return 0
        mem_or(j, 2, 0, STUB_REST)
        rm(j, 2, 0x0FB7, H_CX, H_CX, j.at)
        rr(j, 2, 0x8B, H_T, H_CX)
        rr(j, 2, 0x83, 4, H_T)
        e8(j, FLAGS)
        rr(j, 2, 0x83, 7, H_T)
        e8(j, FLAGS)
        new_stub(j, jcc_fwd(j, 5), STUB_REST)
        rr(j, 2, 0x81, 4, H_CX)
        e32(j, CW_BITS)
        rr(j, 2, 0x83, 1, H_CX)
        e8(j, CW_ONE)
        st16(j, H_CX, AT_FCW)
        host_m(j, 0xD9, 5, AT_FCW)
        j.x87.cw = 1
        j.x87.fcw = 0
        j.in_host = 0
    return 1


cdef bint e_sahf(J* j, Op* op, EmitRow r) noexcept nogil:
    """Flags from AH, as x87 code before FCOMI has them from FNSTSW; OF stays."""
    if not have_lahf:
        return 0
    if not j.live[j.i] & ~<u32>FB_O:
        return 1
    want(j, 0)
    rcx_lost(j)
    rr(j, 0, 0x0F90, 0, H_T)            # seto r15b
    rr(j, 2, 0x0FB6, H_T, H_T)
    rr(j, 2, 0xC1, 4, H_T)
    e8(j, 11)
    e8(j, 0x0F)
    e8(j, 0xB6)
    e8(j, 0xCC)                         # movzx ecx, ah
    rr(j, 2, 0x81, 4, H_CX)
    e32(j, F_ARITH & 0xFF)
    alu_rr(j, 2, 1, H_CX, H_T)
    st_env(j, 3, H_CX, AT_CC_SRC)
    rr(j, 2, 0x81, 0, H_T)              # overflows if OF was set
    e32(j, 0x7FFFF800)
    e8(j, 0x9E)                         # sahf
    j.host_lo = j.op_stub
    set_node(j, N_TRIPLE, K_EFL, 2, loc_none(), loc_env(), CUR_DEAD, 1)
    return 1


cdef bint emit_x87(J* j, Op* op, EmitRow r) noexcept nogil:
    cdef X87Row row = x87_rows[r.sub]
    cdef Stub* s
    if r.form == FORM_M and not plain(j) or row.kind == X87_FLAGS and not have_lahf:
        return 0
    if row.kind >= X87_PREDICT:
        return 0
    if row.kind >= X87_FLDCW:
        return e_control(j, op, row.kind)
    if row.kind >= X87_CMOV2:
        # nothing may be written before it is sure that the handler need not do it
        if not take(j):
            return 0
        want(j, 2 if row.kind == X87_CMOV2 else 4 if row.kind == X87_CMOV4 else 6 if row.kind == X87_CMOV6 else 10)
    elif not take(j):
        return 0
    if row.kind == X87_PREM and not j.x87.codes & 4:
        # C0 and C3 stay if the result is a NaN: the host must have the guest's
        host_m(j, 0xDD, 7, AT_XTMP)
        ld16(j, H_CX, AT_XTMP)
        ld16(j, H_T, AT_FSW)
        alu_rr(j, 2, 6, H_CX, H_T)
        rr(j, 2, 0xF7, 0, H_CX)
        e32(j, 0x4100)
        s = new_stub(j, jcc_fwd(j, 5), STUB_CODES)
        s.arg = <u64>j.p
        j.in_host = 0
    if row.size:
        operand(j, row.size, row.store)
        data_pointer(j, op)
    same(j, op)
    if row.size:
        rcx_stays(j)
    if row.kind == X87_PART:
        host_m(j, 0xDD, 7, AT_XTMP)
        rm(j, 0, 0xF6, 0, H_ENV, AT_XTMP + 1)       # C2: nothing has happened
        e8(j, 4)
        new_stub(j, jcc_fwd(j, 5), STUB_REST)
        j.in_host = 0
    done(j, op, row)
    if row.kind == X87_FLAGS:
        set_host_all(j)
    return 1


# ============================================================================================================ loops

cdef void x87_second(J* j) noexcept nogil:
    """The head of a loop's second round: registers that any later round writes count as out of date."""
    cdef Sim s
    cdef int i
    cdef XState* x = &j.x87
    cdef EmitRow r
    cdef u32 wrote = 0, held = 0
    if x.on:
        s.top = x.top
        s.tag = x.tag
        s.net = 0
        for i in range(j.n1, j.n):
            r = emit_rows[j.ops[i].jit >> 48]
            if r.cls == E_X87:
                wrote |= apply(&s, j.ops[i], x87_rows[r.sub])
        for i in range(x.depth):
            held |= <u32>1 << ((x.top + i) & 7)
        x.dirty = <u8>(x.dirty | wrote & held)
    j.second_x87 = j.x87


cdef bint x87_close(J* j) noexcept nogil:
    """The end of a loop's last round. True: what is known is not what the second one begins with; it must be the first."""
    cdef XState* a = &j.x87
    cdef XState* b = &j.second_x87
    if a.on and not (b.on and a.top == b.top and a.tag == b.tag and a.depth == b.depth and not a.dirty & ~b.dirty and a.ghost == b.ghost
                     and a.codes == b.codes and a.cw <= b.cw and a.note == b.note and a.seg == b.seg and a.home == b.home
                     and (a.fcw == b.fcw or not b.fcw)):
        x87_flush(j)
    if a.on:
        return 0
    return b.on or a.lost > b.lost or not b.lost and (a.home != b.home or b.sure > a.sure or a.fcw != b.fcw and b.fcw)


emitters[E_X87] = emit_x87
emitters[E_SAHF] = e_sahf
