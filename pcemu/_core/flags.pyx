"""Flags that are computed only where somebody asks: what is known of them, as nodes, and how the host's, or Cpu.cc_*, follow.

An emitter that changes flags says what they are now (set_node() and its kin); one that reads them asks for a condition (want()).
jit.pyx explains the whole.
"""
from pcemu._core.emit cimport *


cdef inline Loc loc(u32 t, int g, s64 imm) noexcept nogil:
    cdef Loc l
    l.t = t
    l.g = g
    l.imm = imm
    return l


cdef Loc loc_g(int g) noexcept nogil:
    return loc(L_REG, g, 0)


cdef Loc loc_imm(s64 v) noexcept nogil:
    return loc(L_IMM, 0, v)


cdef Loc loc_env() noexcept nogil:
    return loc(L_ENV, 0, 0)


cdef Loc loc_none() noexcept nogil:
    """K_LOGIC has no second operand."""
    return loc(L_NONE, 0, 0)


cdef Loc loc_saved() noexcept nogil:
    return loc(L_SAVED, 0, 0)


cdef Loc loc_shift(int sz, u32 sub, u32 count) noexcept nogil:
    cdef Loc l
    l.t = L_SHIFT
    l.g = sub | <u32>sz << 4
    l.imm = count
    return l


cdef Loc loc_overflow() noexcept nogil:
    cdef Loc x = loc_env()
    x.t = L_FLOW
    return x


cdef inline int saved_at(int at) noexcept nogil:
    """The slot that goes with cc_res or cc_src."""
    return AT_SAVED if at == AT_CC_RES else AT_SAVED + 8


cdef void set_node(J* j, u32 type_, u32 kind, int sz, Loc res, Loc src, int prior, int host) noexcept nogil:
    """The op just written defines the flags like this. host: HOST_*."""
    cdef Node* n
    if j.n_nodes >= MAX_NODES:
        j.failed = 1
        return
    n = &j.nodes[j.n_nodes]
    n.type = type_
    n.kind = kind
    n.size = sz
    n.prior = prior
    n.res = res
    n.src = src
    j.cur = j.n_nodes
    j.n_nodes += 1
    j.synced = 0
    j.in_host = host


cdef void set_dead(J* j) noexcept nogil:
    j.cur = CUR_DEAD
    j.synced = 0
    j.in_host = 0


cdef void set_env(J* j, int host) noexcept nogil:
    """Cpu.cc_* has been written."""
    j.cur = CUR_ENV
    j.synced = 1
    j.in_host = host


cdef void set_host_all(J* j) noexcept nogil:
    """The guest's flags, all six, are what a comparison of x87 or vector registers has left in the host's. OF is 0."""
    if not j.live[j.i]:
        set_dead(j)
        return
    mov(j, H_T, H_AX)
    e8(j, 0x9F)                         # lahf: SF ZF 0 AF 0 PF 1 CF
    e8(j, 0x0F)
    e8(j, 0xB6)
    e8(j, 0xCC)                         # movzx ecx, ah
    mov(j, H_AX, H_T)
    rm(j, 2, 0x8D, H_CX, H_CX, -2)
    st_env(j, 3, H_CX, AT_CC_SRC)
    j.host_lo = j.op_stub
    set_node(j, N_TRIPLE, K_EFL, 2, loc_none(), loc_env(), CUR_DEAD, 1)


cdef bint loc_is(Loc* l, u32 sz, int g) noexcept nogil:
    return l.t == L_REG and (l.g >> 3 if sz == 0 else l.g) == <u32>g


cdef bint refers(J* j, int node, int g) noexcept nogil:
    cdef Node* n
    while node >= 0:
        n = &j.nodes[node]
        if loc_is(&n.res, n.size, g) or loc_is(&n.src, n.size, g):
            return 1
        if n.type != N_INC and n.type != N_ROT:
            return 0
        node = n.prior
    return 0


cdef bint same_loc(Loc* a, Loc* b) noexcept nogil:
    return a.t == b.t and a.g == b.g and a.imm == b.imm


cdef bint same_flags(J* j, int a, int b) noexcept nogil:
    """Do two nodes say the same?"""
    cdef Node* x
    cdef Node* y
    while a != b:
        if a < 0 or b < 0:
            return 0
        x = &j.nodes[a]
        y = &j.nodes[b]
        if (x.type != y.type or x.kind != y.kind or x.size != y.size or not same_loc(&x.res, &y.res)
                or not same_loc(&x.src, &y.src)):
            return 0
        if x.type != N_INC and x.type != N_ROT:
            return 1
        a = x.prior
        b = y.prior
    return 1


cdef void ld_loc(J* j, int sz, int dst, Loc* l, int at) noexcept nogil:
    """dst = the value (at: its place in the Cpu, if it is there). 8 and 16 bits: the upper part is anything."""
    if l.t == L_REG:
        ld_g(j, sz, dst, l.g)
    elif l.t == L_IMM:
        mov_imm(j, dst, <u64>l.imm if sz == 3 else <u32>l.imm)
    elif l.t == L_SAVED:
        ld_env(j, 3 if sz == 3 else 2, dst, saved_at(at))
    elif l.t == L_SHIFT:
        ld_shifted(j, dst, l.g >> 4, l.g & 7, <u32>l.imm)
    elif l.t == L_FLOW:
        rm(j, 2, 0x0FB6, dst, H_ENV, AT_SAVED + 8)
        rr(j, 2, 0xF7, 3, dst)                      # neg
        rr(j, 2, 0x81, 4, dst)
        e32(j, F_CF | F_OF)
    else:
        ld_env(j, 3 if sz == 3 else 2, dst, at)


cdef void ld_shifted(J* j, int dst, int sz, u32 sub, u32 count) noexcept nogil:
    """dst = the value of the second slot, extended as the shift wants it, and shifted."""
    if sz >= 2:
        ld_env(j, sz, dst, AT_SAVED + 8)
    else:
        rm(j, 2, (0x0FB6 if sub != 7 else 0x0FBE) | <u32>sz, dst, H_ENV, AT_SAVED + 8)
    if count:
        rr(j, 3 if sz == 3 else 2, 0xC1, <int>sub, dst)
        e8(j, count)


cdef void alu_loc(J* j, int sz, u32 sub, int dst, Loc* l, int at) noexcept nogil:
    """dst op= the value."""
    if l.t == L_REG:
        if is_high(sz, l.g):
            # dst is r15: rcx is free
            rcx_lost(j)
            ld_g(j, 0, H_CX, l.g)
            alu_rr(j, 0, sub, dst, H_CX)
        else:
            g_rm(j, sz, sub * 8 + (2 if sz == 0 else 3), dst, l.g)
    elif l.t == L_IMM:
        alu_ri(j, sz, sub, dst, l.imm)
    elif l.t == L_ENV or l.t == L_SAVED:
        rm(j, sz, sub * 8 + (2 if sz == 0 else 3), dst, H_ENV, at if l.t == L_ENV else saved_at(at))
    else:
        j.failed = 1                    # (no comparison or sum has such an operand)


cdef void st_sx(J* j, int sz, int reg) noexcept nogil:
    """cc_res = reg, sign-extended; in place (scratch registers only)."""
    if sz == 2:
        rr(j, 3, 0x63, reg, reg)
    elif sz == 1:
        rr(j, 3, 0x0FBF, reg, reg)
    elif sz == 0:
        rr(j, 3, 0x0FBE, reg, reg)
    st_env(j, 3, reg, AT_CC_RES)


cdef void st_res(J* j, int sz, Loc* l) noexcept nogil:
    if l.t == L_REG:
        if sz == 3 and HR[l.g] >= 0:
            st_env(j, 3, HR[l.g], AT_CC_RES)
        elif sz == 2:
            g_rm(j, 3, 0x63, H_T, l.g)
            st_env(j, 3, H_T, AT_CC_RES)
        else:
            ld_g(j, sz, H_T, l.g)
            st_sx(j, sz, H_T)
    elif l.t == L_IMM:
        rm(j, 3, 0xC7, 0, H_ENV, AT_CC_RES)
        e32(j, <u32>l.imm)
    elif l.t == L_SAVED:
        ld_env(j, 3 if sz == 3 else 2, H_T, AT_SAVED)
        st_sx(j, sz, H_T)


cdef void st_src(J* j, int sz, Loc* l) noexcept nogil:
    if l.t == L_REG:
        if not is_high(sz, l.g) and HR[gnum(sz, l.g)] >= 0:
            st_env(j, 3, HR[gnum(sz, l.g)], AT_CC_SRC)
        else:
            ld_g(j, sz, H_T, l.g)
            st_env(j, 3, H_T, AT_CC_SRC)
    elif l.t == L_IMM:
        rm(j, 3, 0xC7, 0, H_ENV, AT_CC_SRC)
        e32(j, <u32>l.imm)
    elif l.t != L_ENV and l.t != L_NONE:
        ld_loc(j, sz, H_T, l, AT_CC_SRC)
        st_env(j, 3, H_T, AT_CC_SRC)


cdef void st_kind(J* j, u32 kind) noexcept nogil:
    rm(j, 2, 0xC7, 0, H_ENV, AT_CC_KIND)
    e32(j, kind)


cdef void node_cf(J* j, int node) noexcept nogil:
    """r15 = the carry that the node describes."""
    cdef Node* n
    cdef u32 sz
    cdef u8* skip
    rcx_lost(j)
    while node >= 0 and j.nodes[node].type == N_INC:
        node = j.nodes[node].prior
    if node == CUR_DEAD:
        mov_imm(j, H_T, 0)
        return
    if node < 0:
        # INC and DEC have it in cc_src already
        ld_env(j, 3, H_T, AT_CC_SRC)
        ld_env(j, 2, H_CX, AT_CC_KIND)
        alu_ri(j, 2, 5, H_CX, K_INC)
        alu_ri(j, 2, 7, H_CX, 8)
        skip = jcc_fwd(j, 2)
        call_c(j, T_CF)
        patch_rw(skip, j.p)             # (far: vector registers may be saved there)
        return
    n = &j.nodes[node]
    sz = n.size
    if n.type == N_ROT:
        ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
        rr(j, 3, 0x0FBA, 4, H_T)                    # bt
        e8(j, (8 << sz) - 1 if n.kind else 0)
        rr(j, 0, 0x0F92, 0, H_T)
        rr(j, 2, 0x0FB6, H_T, H_T)
        return
    if n.type == N_TEST or n.kind == K_LOGIC:
        mov_imm(j, H_T, 0)
        return
    if n.type == N_CMP:
        ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
        alu_loc(j, sz, 7, H_T, &n.src, AT_CC_SRC)
    elif n.kind < K_SUB:
        ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
        alu_loc(j, sz, 7, H_T, &n.src, AT_CC_SRC)
    elif n.kind < K_ADC:
        ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
        alu_loc(j, sz, 0, H_T, &n.src, AT_CC_SRC)
        alu_loc(j, sz, 7, H_T, &n.src, AT_CC_SRC)
    else:
        ld_loc(j, 3, H_T, &n.src, AT_CC_SRC)
        rr(j, 3, 0x0FBA, 4, H_T)                    # bt
        e8(j, (8 << sz) - 1 if K_SHL <= n.kind < K_SHR else 0)
    rr(j, 0, 0x0F92, 0, H_T)                        # setc r15b
    rr(j, 2, 0x0FB6, H_T, H_T)


cdef void write_flags(J* j, int node) noexcept nogil:
    """Cpu.cc_* from the node. Scratch registers only; the host's flags survive for N_TRIPLE (but for operands
    that are computed) and become right for the others but N_INC."""
    cdef Node* n
    if node < 0:
        return
    n = &j.nodes[node]
    if n.type == N_ROT:
        write_flags(j, n.prior)
        rm(j, 3, 0xC7, 0, H_ENV, AT_JTMP)
        e32(j, n.size * 2 + n.kind)
        ld_loc(j, n.size, H_T, &n.res, AT_CC_RES)
        call_c(j, T_ROT)
        return
    if n.type == N_TRIPLE:
        st_src(j, n.size, &n.src)
        st_res(j, n.size, &n.res)
    elif n.type == N_INC:
        node_cf(j, n.prior)
        st_env(j, 3, H_T, AT_CC_SRC)
        st_res(j, n.size, &n.res)
    else:
        ld_loc(j, n.size, H_T, &n.res, AT_CC_RES)
        if n.type == N_CMP:
            alu_loc(j, n.size, 5, H_T, &n.src, AT_CC_SRC)
        else:
            alu_loc(j, n.size, 4, H_T, &n.src, AT_CC_SRC)
        st_sx(j, n.size, H_T)
        if n.type == N_CMP:
            st_src(j, n.size, &n.src)
    st_kind(j, n.kind)


cdef void sync(J* j) noexcept nogil:
    """Cpu.cc_* holds the flags from here on."""
    cdef Node* n
    if j.synced or j.cur < 0:
        return
    write_flags(j, j.cur)
    n = &j.nodes[j.cur]
    if n.type == N_ROT:
        set_env(j, 0)
        return
    if n.type == N_INC:                 # the carry is in cc_src now, where that of the node before may have hung on it
        set_node(j, N_TRIPLE, n.kind, n.size, n.res, loc_env(), CUR_DEAD, 0)
    elif n.src.t == L_SHIFT or n.src.t == L_FLOW:
        j.in_host = 0
    elif n.type != N_TRIPLE:
        j.in_host = 1
        j.host_lo = j.op_stub
    j.synced = 1


cdef void home(J* j) noexcept nogil:
    """Cpu.cc_* holds the flags, and they no longer depend on anything else."""
    cdef Node n
    cdef int host
    if j.cur < 0:
        return
    sync(j)
    if j.cur < 0:
        return
    n = j.nodes[j.cur]
    host = j.in_host
    set_node(j, N_TRIPLE, n.kind, n.size, loc_env(), loc_env(), CUR_DEAD, host)
    j.synced = 1


cdef void keep(J* j, int sz, Loc* l, int at) noexcept nogil:
    """A register's value goes into a slot; the host's flags stay."""
    if l.t != L_REG:
        return
    if not is_high(sz, l.g) and HR[gnum(sz, l.g)] >= 0:
        st_env(j, 3, HR[gnum(sz, l.g)], saved_at(at))
    else:
        ld_g(j, sz, H_T, l.g)
        st_env(j, 3, H_T, saved_at(at))
    l[0] = loc_saved()


cdef void detach(J* j) noexcept nogil:
    """The flags no longer depend on guest registers: what they depend on is kept, and computed with only where it must be."""
    cdef Node n
    if j.cur < 0:
        return
    n = j.nodes[j.cur]
    if n.type == N_INC or n.type == N_ROT or j.synced:
        home(j)
        return
    keep(j, n.size, &n.res, AT_CC_RES)
    keep(j, n.size, &n.src, AT_CC_SRC)
    set_node(j, n.type, n.kind, n.size, n.res, n.src, CUR_DEAD, j.in_host)


cdef void spare(J* j) noexcept nogil:
    """Before an op whose code out of line may write Cpu.cc_* and come back: what the flags before an INC, DEC or rotation hang on
    is not to be there alone. (For all others that code writes what is there, or what is not looked at.)"""
    cdef Node n, p
    cdef int host = j.in_host, lo = j.host_lo
    if j.cur < 0 or j.synced:
        return
    n = j.nodes[j.cur]
    if n.type != N_INC and n.type != N_ROT or n.prior < 0:
        return
    p = j.nodes[n.prior]
    if p.type == N_INC or p.type == N_ROT or p.src.t == L_SHIFT or p.src.t == L_FLOW:
        home(j)
        return
    if p.src.t != L_ENV and p.res.t != L_ENV:
        return
    if p.src.t == L_ENV:
        ld_env(j, 3, H_T, AT_CC_SRC)
        st_env(j, 3, H_T, saved_at(AT_CC_SRC))
        p.src = loc_saved()
    if p.res.t == L_ENV:
        ld_env(j, 3, H_T, AT_CC_RES)
        st_env(j, 3, H_T, saved_at(AT_CC_RES))
        p.res = loc_saved()
    set_node(j, p.type, p.kind, p.size, p.res, p.src, CUR_DEAD, host)
    set_node(j, n.type, n.kind, n.size, n.res, n.src, j.cur, host)
    j.host_lo = lo


cdef void will_write(J* j, int g, u32 defs) noexcept nogil:
    """The op is about to change guest register g, and flags `defs`."""
    if j.cur >= 0 and j.live[j.i] & ~defs and refers(j, j.cur, g):
        detach(j)


cdef void use_host(J* j) noexcept nogil:
    """The host's flags are read: out-of-line code behind the op that set them must set them too."""
    cdef int i
    for i in range(j.host_lo, j.n_stubs):
        j.stubs[i].want_flags = 1


cdef bint cc_of(u32 cc) noexcept nogil:
    """Does the condition read OF?"""
    cc >>= 1
    return cc == 0 or cc >= 6


cdef bint cc_cf(u32 cc) noexcept nogil:
    cc >>= 1
    return cc == 1 or cc == 3


cdef void want(J* j, u32 cc) noexcept nogil:
    """Make the host's flags right for condition cc. Scratch registers are lost."""
    cdef Node* n
    cdef u32 sz
    if (j.in_host == HOST_ALL or j.in_host == HOST_NO_OF and not cc_of(cc) or j.in_host == HOST_CF and cc >> 1 == 1
            or j.in_host == HOST_NO_CF and not cc_cf(cc)):
        use_host(j)
        return
    if j.cur == CUR_DEAD:
        return
    if j.cur >= 0:
        n = &j.nodes[j.cur]
        sz = n.size
        j.host_lo = j.op_stub
        if n.type == N_CMP or n.type == N_TEST:
            if (n.res.t == L_REG and not is_high(sz, n.res.g) and HR[gnum(sz, n.res.g)] >= 0
                    and not (n.src.t == L_REG and is_high(sz, n.src.g))):
                if n.type == N_CMP:
                    alu_loc(j, sz, 7, HR[gnum(sz, n.res.g)], &n.src, AT_CC_SRC)
                elif n.src.t == L_IMM:
                    if sz == 0:
                        rr(j, 0, 0xF6, 0, HR[n.res.g >> 3])
                    else:
                        rr(j, sz, 0xF7, 0, HR[n.res.g])
                    e_imm(j, sz, <u64>n.src.imm)
                else:
                    g_rm(j, sz, 0x84 if sz == 0 else 0x85, HR[gnum(sz, n.res.g)], n.src.g)
            else:
                ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
                alu_loc(j, sz, 7 if n.type == N_CMP else 4, H_T, &n.src, AT_CC_SRC)
            j.in_host = 1
            return
        if n.type != N_ROT and (n.kind == K_LOGIC or not cc_of(cc) and not cc_cf(cc) and n.kind != K_EFL):
            if n.res.t == L_REG:
                if not is_high(sz, n.res.g) and HR[gnum(sz, n.res.g)] >= 0:
                    rr(j, sz, 0x84 if sz == 0 else 0x85, HR[gnum(sz, n.res.g)], HR[gnum(sz, n.res.g)])
                else:
                    ld_g(j, sz, H_T, n.res.g)
                    rr(j, sz, 0x84 if sz == 0 else 0x85, H_T, H_T)
            elif n.res.t == L_SAVED:
                ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
                rr(j, sz, 0x84 if sz == 0 else 0x85, H_T, H_T)
            elif n.res.t == L_ENV:
                rm(j, 3, 0x83, 7, H_ENV, AT_CC_RES)
                e8(j, 0)
            else:
                mov_imm(j, H_T, <u64>n.res.imm)
                rr(j, 3, 0x85, H_T, H_T)
            j.in_host = 1 if n.kind == K_LOGIC else 0
            return
        if n.type == N_TRIPLE and K_SUB <= n.kind < K_ADC:
            ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
            alu_loc(j, sz, 0, H_T, &n.src, AT_CC_SRC)
            alu_loc(j, sz, 7, H_T, &n.src, AT_CC_SRC)
            j.in_host = 1
            return
        if n.type == N_TRIPLE and n.kind < K_SUB:
            ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
            alu_loc(j, sz, 5, H_T, &n.src, AT_CC_SRC)
            alu_loc(j, sz, 0, H_T, &n.src, AT_CC_SRC)
            j.in_host = 1
            return
        if n.type != N_ROT and n.kind < K_LOGIC and n.kind >= K_INC and not cc_cf(cc):
            ld_loc(j, sz, H_T, &n.res, AT_CC_RES)
            rr(j, sz, 0xFE if sz == 0 else 0xFF, 1 if n.kind < K_DEC else 0, H_T)
            rr(j, sz, 0xFE if sz == 0 else 0xFF, 0 if n.kind < K_DEC else 1, H_T)
            j.in_host = 0
            return
        if cc >> 1 == 1:
            node_cf(j, j.cur)
            rr(j, 2, 0x0FBA, 4, H_T)                # bt r15d, 0
            e8(j, 0)
            j.in_host = 0
            return
        sync(j)
    call_c(j, T_FLAGS)
    j.in_host = 1
    j.host_lo = j.op_stub
