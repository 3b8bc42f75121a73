# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""System registers, descriptor tables and selectors, TLB and caches (SDM vol. 2; vol. 3, chapter 2)."""
from pcemu._core.access cimport *
from pcemu._core.hooks cimport cr8_access
from pcemu._core.pcid cimport PCID_MASK, forget_pcid, forget_pcids, switch_pcid
from pcemu._core.segments cimport *
from pcemu._core.sysop cimport *
from pcemu._core cimport modes, paging, tlb

include "gen/features.pxi"

cdef enum:
    # CR0 bits that exist; NE is settable everywhere, ET reads as 1
    CR0_LOW = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD
    DR6_BITS = 0xE00F
    DR7_GD = 1 << 13

# ------------------------------------------------------------------------------------------- control registers


cdef bint set_cr0(Cpu* c, u64 v) noexcept nogil:
    """MOV CR0 and LMSW (SDM vol. 3, 2.5). False: #GP(0) is pending."""
    cdef u64 old = c.cr0
    cdef u64 changed
    cdef u64 efer = c.efer
    cdef u32 tr_type
    if v >> 32 or (v & CR0_PG and not v & CR0_PE) or (v & CR0_NW and not v & CR0_CD):
        return exc_err(c, EXC_GP, 0)
    v = (v & (CR0_LOW | CR0_PG)) | CR0_ET
    changed = v ^ old
    if changed & CR0_PG:
        if v & CR0_PG:
            if efer & EFER_LME:
                tr_type = (c.seg[TR].flags >> 8) & 15
                if not c.cr4 & CR4_PAE or c.seg[CS].flags & DESC_L or tr_type == T_TSS16 or tr_type == T_TSS16_BUSY:
                    return exc_err(c, EXC_GP, 0)
                efer |= EFER_LMA
        else:
            if c.cr4 & CR4_PCIDE or c.mode & M_CODE64:
                return exc_err(c, EXC_GP, 0)
            efer &= ~<u64>EFER_LMA
    if changed & (CR0_PG | CR0_CD | CR0_NW) and v & CR0_PG and c.cr4 & CR4_PAE and not efer & EFER_LMA:
        if not paging.load_pdptes(c, c.cr3):
            return 0
    c.cr0 = v
    c.efer = efer
    if changed & (CR0_PG | CR0_PE | CR0_WP):
        tlb.flush_tlb(c, 1)
    modes.update_mode(c)
    return 1


cdef bint set_cr3(Cpu* c, u64 v) noexcept nogil:
    """With PCIDs, bit 63 flushes nothing; without it the new PCID's entries go (SDM vol. 3, 4.10.4.1)."""
    cdef bint keep = 0
    cdef u64 old = c.cr3 & PCID_MASK
    if c.efer & EFER_LMA:
        if c.cr4 & CR4_PCIDE:
            keep = v >> 63
            v &= ~(<u64>1 << 63)
        if v & ~c.phys_mask:
            return exc_err(c, EXC_GP, 0)
    else:
        v = <u32>v
        if c.cr0 & CR0_PG and c.cr4 & CR4_PAE and not paging.load_pdptes(c, v):
            return 0
    c.cr3 = v
    if c.cr4 & CR4_PCIDE:
        switch_pcid(c, old, v & PCID_MASK, keep)
    else:
        tlb.flush_tlb(c, 0)
    return 1


cdef u64 cr4_allowed(Cpu* c) noexcept nogil:
    """CR4 bits by the features that bring them (SDM vol. 3, 2.5); the others are reserved."""
    cdef u64 m = CR4_PCE
    if has_feat(c, FEAT_VME):
        m |= CR4_VME | CR4_PVI
    if has_feat(c, FEAT_TSC):
        m |= CR4_TSD
    if has_feat(c, FEAT_DE):
        m |= CR4_DE
    if has_feat(c, FEAT_PSE):
        m |= CR4_PSE
    if has_feat(c, FEAT_PAE):
        m |= CR4_PAE
    if has_feat(c, FEAT_MCE):
        m |= CR4_MCE
    if has_feat(c, FEAT_PGE):
        m |= CR4_PGE
    if has_feat(c, FEAT_FXSR):
        m |= CR4_OSFXSR
    if has_feat(c, FEAT_SSE):
        m |= CR4_OSXMMEXCPT
    if has_feat(c, FEAT_UMIP):
        m |= CR4_UMIP
    if has_feat(c, FEAT_FSGSBASE):
        m |= CR4_FSGSBASE
    if has_feat(c, FEAT_PCID):
        m |= CR4_PCIDE
    if has_feat(c, FEAT_XSAVE):
        m |= CR4_OSXSAVE
    if has_feat(c, FEAT_SMEP):
        m |= CR4_SMEP
    if has_feat(c, FEAT_SMAP):
        m |= CR4_SMAP
    return m


cdef bint set_cr4(Cpu* c, u64 v) noexcept nogil:
    cdef u64 changed = v ^ c.cr4
    cdef u64 old = c.cr4
    if v & ~cr4_allowed(c):
        return exc_err(c, EXC_GP, 0)
    if c.efer & EFER_LMA:
        if not v & CR4_PAE:
            return exc_err(c, EXC_GP, 0)
    elif v & CR4_PCIDE:
        return exc_err(c, EXC_GP, 0)
    if changed & v & CR4_PCIDE and c.cr3 & PCID_MASK:
        return exc_err(c, EXC_GP, 0)
    if changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP) and v & CR4_PAE and c.cr0 & CR0_PG and not c.efer & EFER_LMA:
        c.cr4 = v
        if not paging.load_pdptes(c, c.cr3):
            c.cr4 = old
            return 0
    c.cr4 = v
    if changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PCIDE):
        tlb.flush_tlb(c, 1)
    modes.update_mode(c)
    return 1


cdef Op* op_mov_rx(Cpu* c, Op* op) noexcept nogil:
    cdef u64 v
    if op.rm == 0:
        v = c.cr0
    elif op.rm == 2:
        v = c.cr2
    elif op.rm == 3:
        v = c.cr3
    elif op.rm == 4:
        v = c.cr4
    elif op.rm == 8:
        if not cr8_access(c, 0, &v):
            return fault(c, op)
    else:
        return raise_exc(c, op, EXC_UD)
    c.r[op.reg] = v if c.mode & M_CODE64 else <u32>v
    return done(c, op, c.mode)


cdef Op* op_mov_xr(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    cdef u64 v = c.r[op.rm] if mode & M_CODE64 else <u32>c.r[op.rm]
    cdef bint ok = 1
    if op.reg == 0:
        ok = set_cr0(c, v)
    elif op.reg == 2:
        c.cr2 = v
    elif op.reg == 3:
        ok = set_cr3(c, v)
        if LIKELY(ok):
            # the block's chain is to a page of the old address space
            return leave(c, next_pc(c, op)) if c.pending or c.leave_req or mode & M_TF else goto_pc(c, next_pc(c, op))
    elif op.reg == 4:
        ok = set_cr4(c, v)
    elif op.reg == 8:
        if v > 15:
            return raise_err(c, op, EXC_GP, 0)
        ok = cr8_access(c, 1, &v)
    else:
        return raise_exc(c, op, EXC_UD)
    if not ok:
        return fault(c, op)
    return leave(c, next_pc(c, op))


cdef Op* op_clts(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    c.cr0 &= ~<u64>CR0_TS
    modes.update_mode(c)
    return done(c, op, mode)


cdef Op* op_lmsw_r(Cpu* c, Op* op) noexcept nogil:
    return lmsw(c, op, <u16>c.r[op.reg])


cdef Op* op_lmsw_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    if p is NULL:
        return fault(c, op)
    return lmsw(c, op, (<u16*>p)[0])


cdef Op* lmsw(Cpu* c, Op* op, u32 v) noexcept nogil:
    """PE MP EM TS; PE can be set but not cleared."""
    if not set_cr0(c, (c.cr0 & ~<u64>14) | (v & 15)):
        return fault(c, op)
    return leave(c, next_pc(c, op))


cdef inline bint umip(Cpu* c) noexcept nogil:
    return c.cpl != 0 and (c.cr4 & CR4_UMIP) != 0


cdef inline Op* store_reg(Cpu* c, Op* op, u64 v) noexcept nogil:
    """SMSW, SLDT, STR to a register: as much as the operand size; #GP(0) under UMIP."""
    if umip(c):
        return raise_err(c, op, EXC_GP, 0)
    put_gpr(c, op.reg, v, 1 << (op.osz & 3))
    return nxt(c, op)


cdef inline Op* store_mem(Cpu* c, Op* op, u64 v) noexcept nogil:
    if umip(c):
        return raise_err(c, op, EXC_GP, 0)
    if not st16(c, op, v):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_smsw_r(Cpu* c, Op* op) noexcept nogil:
    return store_reg(c, op, c.cr0)


cdef Op* op_smsw_m(Cpu* c, Op* op) noexcept nogil:
    return store_mem(c, op, c.cr0)


cdef Op* op_sldt_r(Cpu* c, Op* op) noexcept nogil:
    return store_reg(c, op, c.seg[LDTR].sel)


cdef Op* op_sldt_m(Cpu* c, Op* op) noexcept nogil:
    return store_mem(c, op, c.seg[LDTR].sel)


cdef Op* op_str_r(Cpu* c, Op* op) noexcept nogil:
    return store_reg(c, op, c.seg[TR].sel)


cdef Op* op_str_m(Cpu* c, Op* op) noexcept nogil:
    return store_mem(c, op, c.seg[TR].sel)

# --------------------------------------------------------------------------------------------- debug registers


cdef bint debug_access(Cpu* c, u32 n) noexcept nogil:
    """DR4 and DR5 are aliases unless CR4.DE; with DR7.GD every access traps (SDM vol. 3, 17.2)."""
    if n > 7 or ((n == 4 or n == 5) and c.cr4 & CR4_DE):
        set_exc(c, EXC_UD)
        return 0
    if c.dr[7] & DR7_GD:
        c.dr[7] &= ~<u64>DR7_GD
        c.dr[6] |= 1 << 13
        set_exc(c, EXC_DB)
        return 0
    return 1


cdef Op* op_mov_rd(Cpu* c, Op* op) noexcept nogil:
    cdef u32 n = op.rm
    cdef u64 v
    if not debug_access(c, n):
        return fault(c, op)
    if n == 4 or n == 5:
        n |= 2
    v = c.dr[n & 7]
    if n == 6:
        v = (v & DR6_BITS) | <u64>0xFFFF0FF0U
    elif n == 7:
        v |= 0x400
    c.r[op.reg] = v if c.mode & M_CODE64 else <u32>v
    return nxt(c, op)


cdef Op* op_mov_dr(Cpu* c, Op* op) noexcept nogil:
    cdef u32 n = op.reg
    cdef u64 v = c.r[op.rm] if c.mode & M_CODE64 else <u32>c.r[op.rm]
    if not debug_access(c, n):
        return fault(c, op)
    if n == 4 or n == 5:
        n |= 2
    if n >= 6 and v >> 32:
        return raise_err(c, op, EXC_GP, 0)
    if n == 6:
        v = (v & DR6_BITS) | <u64>0xFFFF0FF0U
    elif n == 7:
        v = (v & <u64>0xFFFF23FFU) | 0x400
    if c.dr[n & 7] != v:
        c.dr[n & 7] = v
        if n != 6:
            tlb.flush_tlb(c, 1)         # watched pages leave the TLB, others may come back
            modes.update_mode(c)
    return leave(c, next_pc(c, op))

# ------------------------------------------------------------------------------------------- descriptor tables


cdef Op* load_table(Cpu* c, Op* op, u64* base, u32* limit) noexcept nogil:
    cdef u64 b
    cdef bint wide = (c.mode & M_CODE64) != 0
    cdef u8* p = ld(c, op, 10 if wide else 6)
    if p is NULL:
        return fault(c, op)
    b = (<u64*>(p + 2))[0] if wide else (<u32*>(p + 2))[0]
    if not canonical(b):
        return raise_err(c, op, EXC_GP, 0)
    if not wide and (op.osz & 3) == 1:
        b &= 0xFFFFFF
    base[0] = b
    limit[0] = (<u16*>p)[0]
    return nxt(c, op)


cdef Op* store_table(Cpu* c, Op* op, u64 base, u32 limit) noexcept nogil:
    """All of the base is stored, whatever the operand size (as every processor since the 80386 does)."""
    cdef u8 buf[10]
    if umip(c):
        return raise_err(c, op, EXC_GP, 0)
    (<u16*>buf)[0] = <u16>limit
    (<u64*>(buf + 2))[0] = base
    if not st_bytes(c, op, buf, 10 if c.mode & M_CODE64 else 6):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_lgdt(Cpu* c, Op* op) noexcept nogil:
    return load_table(c, op, &c.gdt_base, &c.gdt_limit)


cdef Op* op_lidt(Cpu* c, Op* op) noexcept nogil:
    return load_table(c, op, &c.idt_base, &c.idt_limit)


cdef Op* op_sgdt(Cpu* c, Op* op) noexcept nogil:
    return store_table(c, op, c.gdt_base, c.gdt_limit)


cdef Op* op_sidt(Cpu* c, Op* op) noexcept nogil:
    return store_table(c, op, c.idt_base, c.idt_limit)


cdef Op* op_lldt_r(Cpu* c, Op* op) noexcept nogil:
    if not load_ldt(c, <u16>c.r[op.reg], EXC_GP):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_lldt_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    if p is NULL or not load_ldt(c, (<u16*>p)[0], EXC_GP):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_ltr_r(Cpu* c, Op* op) noexcept nogil:
    if not load_tr(c, <u16>c.r[op.reg]):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_ltr_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    if p is NULL or not load_tr(c, (<u16*>p)[0]):
        return fault(c, op)
    return nxt(c, op)

# ----------------------------------------------------------------------------------------- selector inspection


cdef inline void set_zf(Cpu* c, bint z) noexcept nogil:
    set_arith(c, (get_arith(c) & ~<u32>F_ZF) | (F_ZF if z else 0))


cdef int visible(Cpu* c, u32 sel, Desc* d, u32 system_types) noexcept nogil:
    """May this level name the segment? 1 yes, 0 no, -1 fault. system_types: bit mask of the system types that count."""
    cdef int r
    if not (sel & 0xFFFC):
        return 0
    r = fetch_desc(c, sel, d)
    if r <= 0:
        return r
    if not (d.hi & DESC_S):
        if not (system_types >> d_type(d)) & 1:
            return 0
    elif (d.hi & (DESC_CODE | DESC_CE)) == (DESC_CODE | DESC_CE):
        return 1
    return d_dpl(d) >= c.cpl and d_dpl(d) >= (sel & 3)


cdef enum:
    # system descriptor types LAR and LSL accept (SDM vol. 2, tables 3-52 and 3-56)
    LAR_TYPES = 0x1A3E          # 1 2 3 4 5 9 B C
    LAR_TYPES64 = 0x1A04        # 2 9 B C
    LSL_TYPES = 0x0A0E          # 1 2 3 9 B
    LSL_TYPES64 = 0x0A04        # 2 9 B


cdef Op* lar(Cpu* c, Op* op, u32 sel, u32 dst) noexcept nogil:
    cdef Desc d
    cdef int r = visible(c, sel, &d, LAR_TYPES64 if c.efer & EFER_LMA else LAR_TYPES)
    if r < 0:
        return fault(c, op)
    if r:
        put_gpr(c, dst, d.hi & 0x00F0FF00, 1 << (op.osz & 3))
    set_zf(c, r)
    return nxt(c, op)


cdef Op* lsl(Cpu* c, Op* op, u32 sel, u32 dst) noexcept nogil:
    cdef Desc d
    cdef int r = visible(c, sel, &d, LSL_TYPES64 if c.efer & EFER_LMA else LSL_TYPES)
    if r < 0:
        return fault(c, op)
    if r:
        put_gpr(c, dst, d_limit(&d), 1 << (op.osz & 3))
    set_zf(c, r)
    return nxt(c, op)


cdef Op* verify(Cpu* c, Op* op, u32 sel, bint write) noexcept nogil:
    cdef Desc d
    cdef int r = visible(c, sel, &d, 0)
    if r < 0:
        return fault(c, op)
    if r:
        if write:
            r = (d.hi & (DESC_CODE | DESC_RW)) == DESC_RW
        else:
            r = (d.hi & (DESC_CODE | DESC_RW)) != DESC_CODE
    set_zf(c, r)
    return nxt(c, op)


cdef Op* op_lar_rr(Cpu* c, Op* op) noexcept nogil:
    return lar(c, op, <u16>c.r[op.rm], op.reg)


cdef Op* op_lar_rm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    return fault(c, op) if p is NULL else lar(c, op, (<u16*>p)[0], op.reg)


cdef Op* op_lsl_rr(Cpu* c, Op* op) noexcept nogil:
    return lsl(c, op, <u16>c.r[op.rm], op.reg)


cdef Op* op_lsl_rm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    return fault(c, op) if p is NULL else lsl(c, op, (<u16*>p)[0], op.reg)


cdef Op* op_verr_r(Cpu* c, Op* op) noexcept nogil:
    return verify(c, op, <u16>c.r[op.reg], 0)


cdef Op* op_verr_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    return fault(c, op) if p is NULL else verify(c, op, (<u16*>p)[0], 0)


cdef Op* op_verw_r(Cpu* c, Op* op) noexcept nogil:
    return verify(c, op, <u16>c.r[op.reg], 1)


cdef Op* op_verw_m(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p = ld(c, op, 2)
    return fault(c, op) if p is NULL else verify(c, op, (<u16*>p)[0], 1)


cdef Op* op_arpl_rr(Cpu* c, Op* op) noexcept nogil:
    cdef u16 v = <u16>c.r[op.reg]
    cdef u16 rpl = <u16>c.r[op.rm] & 3
    if (v & 3) < rpl:
        (<u16*>&c.r[op.reg])[0] = (v & 0xFFFC) | rpl
        set_zf(c, 1)
    else:
        set_zf(c, 0)
    return nxt(c, op)


cdef Op* op_arpl_mr(Cpu* c, Op* op) noexcept nogil:
    """A selector that stays as it is is not written, nor need its segment be writable (as on an 80386)."""
    cdef u16 v
    cdef u16 rpl = <u16>c.r[op.reg] & 3
    cdef u8* p = ld(c, op, 2)
    if p is NULL:
        return fault(c, op)
    v = (<u16*>p)[0]
    if (v & 3) >= rpl:
        set_zf(c, 0)
        return nxt(c, op)
    if not st16(c, op, (v & 0xFFFC) | rpl):
        return fault(c, op)
    set_zf(c, 1)
    return nxt(c, op)

# ---------------------------------------------------------------------------------------------- TLB and caches


cdef Op* op_invlpg(Cpu* c, Op* op) noexcept nogil:
    """The address is formed like any other, but nothing about it is checked."""
    cdef u64 va = segcheck.ea_offset(c, op) + c.seg[op.seg].base
    if c.mode & M_CODE64:
        if not canonical(va):
            return done(c, op, c.mode)
    else:
        va = <u32>va
    tlb.invlpg(c, va)
    if c.pending or c.leave_req or c.mode & M_TF:
        return leave(c, next_pc(c, op))
    return goto_pc(c, next_pc(c, op))


cdef Op* op_invpcid_rm(Cpu* c, Op* op) noexcept nogil:
    """A page or all of a PCID, everything, everything but global pages. Of a PCID that does not run, all goes for a page."""
    cdef u64 kind = c.r[op.reg] if c.mode & M_CODE64 else <u32>c.r[op.reg]
    cdef u64 pcid, va
    cdef u8* p = ld(c, op, 16)
    if p is NULL:
        return fault(c, op)
    pcid = (<u64*>p)[0]
    va = (<u64*>p)[1]
    if kind > 3 or (kind < 2 and (pcid & ~<u64>PCID_MASK or (pcid and not c.cr4 & CR4_PCIDE))) or (kind == 0 and not canonical(va)):
        return raise_err(c, op, EXC_GP, 0)
    if kind == 0:
        if not c.cr4 & CR4_PCIDE or pcid == (c.cr3 & PCID_MASK):
            tlb.invlpg(c, va)
        else:
            forget_pcid(c, pcid)
    elif kind == 1:
        if not c.cr4 & CR4_PCIDE or pcid == (c.cr3 & PCID_MASK):
            tlb.flush_tlb(c, 0)
        else:
            forget_pcid(c, pcid)
    else:
        forget_pcids(c)
        tlb.flush_tlb(c, kind == 2)
    return leave(c, next_pc(c, op))


cdef Op* op_invd(Cpu* c, Op* op) noexcept nogil:
    """There are no caches to be seen; one CPU runs in program order, so that fences have nothing to do either."""
    return nxt(c, op)


cdef Op* op_wbinvd(Cpu* c, Op* op) noexcept nogil:
    return nxt(c, op)


cdef Op* op_fence(Cpu* c, Op* op) noexcept nogil:
    return nxt(c, op)


cdef Op* op_pause(Cpu* c, Op* op) noexcept nogil:
    return nxt(c, op)


cdef Op* op_clflush(Cpu* c, Op* op) noexcept nogil:
    """CLFLUSH, CLFLUSHOPT, CLWB: checked as a load of a byte (SDM vol. 2)."""
    if not ea(c, op, 1, ACC_READ) or not mmu.probe_read(c, op, c.ea, 1):
        return fault(c, op)
    return nxt(c, op)


include "gen/x_sys_reg.pxi"
