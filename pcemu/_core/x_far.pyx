# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Segment loads, far transfers, interrupts and flag images (SDM vol. 2); the work is done in segments, far and interrupts."""
from pcemu._core.access cimport *
from pcemu._core.far cimport *
from pcemu._core.interrupts cimport INT_ICEBP, INT_SOFT, INT_SOFTX, deliver, deliver_exception
from pcemu._core.sysop cimport *
from pcemu._core cimport modes

include "gen/features.pxi"

# ------------------------------------------------------------------------------------------------- completion


cdef Op* far_fault(Cpu* c, Op* op) noexcept nogil:
    """A far transfer failed: a fault of this instruction, or, after a task switch, of the new task's first one."""
    if LIKELY(not c.switched) or c.exit != EXIT_FAULT:
        return fault(c, op)
    c.switched = 0
    if not deliver_exception(c, c.pc):
        return NULL                     # EXIT_SHUTDOWN
    return leave(c, c.pc)


cdef inline Op* far_done(Cpu* c, Op* op, u32 mode) noexcept nogil:
    """A far transfer succeeded, from a block of `mode`, to Cpu.pc."""
    if UNLIKELY((mode | c.mode) & M_TF or c.leave_req):
        return leave(c, c.pc)
    return resume(c, c.pc)

# ------------------------------------------------------------------------------------------- segment registers


cdef inline Op* seg_loaded(Cpu* c, Op* op, u32 seg) noexcept nogil:
    """Straight on; after SS, one more instruction runs before anything interrupts (SDM vol. 3, 6.8.3)."""
    cdef u32 mode = c.mode
    if not (mode & M_CODE64) or seg == SS:
        modes.update_mode(c)
    if seg == SS:
        hold(c, SHADOW_SS if has_feat(c, FEAT_AMD) else SHADOW_SS | SHADOW_CODE)
    return done(c, op, mode)


cdef Op* op_mov_rs(Cpu* c, Op* op) noexcept nogil:
    if op.rm > GS:
        return raise_exc(c, op, EXC_UD)
    if (op.osz & 3) == 1:
        (<u16*>&c.r[op.reg])[0] = c.seg[op.rm].sel
    else:
        c.r[op.reg] = c.seg[op.rm].sel
    return nxt(c, op)


cdef Op* op_mov_ms(Cpu* c, Op* op) noexcept nogil:
    if op.reg > GS:
        return raise_exc(c, op, EXC_UD)
    if not st16(c, op, c.seg[op.reg].sel):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_mov_sr(Cpu* c, Op* op) noexcept nogil:
    if op.reg > GS or op.reg == CS:
        return raise_exc(c, op, EXC_UD)
    if not load_seg(c, op.reg, <u16>c.r[op.rm]):
        return fault(c, op)
    return seg_loaded(c, op, op.reg)


cdef Op* op_mov_sm(Cpu* c, Op* op) noexcept nogil:
    cdef u8* p
    if op.reg > GS or op.reg == CS:
        return raise_exc(c, op, EXC_UD)
    p = ld(c, op, 2)
    if p is NULL or not load_seg(c, op.reg, (<u16*>p)[0]):
        return fault(c, op)
    return seg_loaded(c, op, op.reg)


cdef Op* push_seg(Cpu* c, Op* op, u32 seg) noexcept nogil:
    """A 32-bit push is a 16-bit store in a 32-bit slot on Intel's (SDM vol. 2, PUSH), zero-extended on AMD's."""
    cdef u64 mask = sp_mask(c)
    cdef u64 sp
    if (op.osz & 3) == 2 and not has_feat(c, FEAT_AMD):
        sp = (c.r[RSP] - 4) & mask
        if not segcheck.seg_lin(c, SS, sp, 2, ACC_WRITE) or not stv16(c, op, c.ea, c.seg[seg].sel):
            return fault(c, op)
        set_sp(c, mask, sp)
        return nxt(c, op)
    if not push_val(c, op, c.seg[seg].sel, 1 << (op.osz & 3)):
        return fault(c, op)
    return nxt(c, op)


cdef Op* pop_seg(Cpu* c, Op* op, u32 seg) noexcept nogil:
    """The selector is the low half of the slot; nothing else of it is read into anything."""
    cdef u64 v
    cdef u32 size = 1 << (op.osz & 3)
    cdef u64 mask = sp_mask(c)
    if not top_val(c, op, &v, size) or not load_seg(c, seg, <u16>v):
        return fault(c, op)
    set_sp(c, mask, c.r[RSP] + size)
    return seg_loaded(c, op, seg)


cdef Op* op_push_es(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, ES)


cdef Op* op_push_cs(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, CS)


cdef Op* op_push_ss(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, SS)


cdef Op* op_push_ds(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, DS)


cdef Op* op_push_fs(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, FS)


cdef Op* op_push_gs(Cpu* c, Op* op) noexcept nogil:
    return push_seg(c, op, GS)


cdef Op* op_pop_es(Cpu* c, Op* op) noexcept nogil:
    return pop_seg(c, op, ES)


cdef Op* op_pop_ss(Cpu* c, Op* op) noexcept nogil:
    return pop_seg(c, op, SS)


cdef Op* op_pop_ds(Cpu* c, Op* op) noexcept nogil:
    return pop_seg(c, op, DS)


cdef Op* op_pop_fs(Cpu* c, Op* op) noexcept nogil:
    return pop_seg(c, op, FS)


cdef Op* op_pop_gs(Cpu* c, Op* op) noexcept nogil:
    return pop_seg(c, op, GS)


cdef bint far_pointer(Cpu* c, Op* op, u64* off, u32* sel) noexcept nogil:
    """The m16:16, m16:32 or m16:64 operand."""
    cdef u32 size = 1 << (op.osz & 3)
    cdef u8* p = ld(c, op, size + 2)
    if p is NULL:
        return 0
    off[0] = load_le(p, size)
    sel[0] = (<u16*>(p + size))[0]
    return 1


cdef Op* load_far(Cpu* c, Op* op, u32 seg) noexcept nogil:
    """LDS, LES, LFS, LGS, LSS."""
    cdef u64 off
    cdef u32 sel
    if not far_pointer(c, op, &off, &sel) or not load_seg(c, seg, sel):
        return fault(c, op)
    put_gpr(c, op.reg, off, 1 << (op.osz & 3))
    return seg_loaded(c, op, seg)


cdef Op* op_les(Cpu* c, Op* op) noexcept nogil:
    return load_far(c, op, ES)


cdef Op* op_lds(Cpu* c, Op* op) noexcept nogil:
    return load_far(c, op, DS)


cdef Op* op_lss(Cpu* c, Op* op) noexcept nogil:
    return load_far(c, op, SS)


cdef Op* op_lfs(Cpu* c, Op* op) noexcept nogil:
    return load_far(c, op, FS)


cdef Op* op_lgs(Cpu* c, Op* op) noexcept nogil:
    return load_far(c, op, GS)

# ------------------------------------------------------------------------------------------------ far transfers


cdef Op* op_callf_p(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if not far_call(c, <u32>(op.imm >> 32), <u32>op.imm, 1 << (op.osz & 3), next_pc(c, op)):
        return far_fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_jmpf_p(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if not far_jump(c, <u32>(op.imm >> 32), <u32>op.imm, 1 << (op.osz & 3), next_pc(c, op)):
        return far_fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_callf_m(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    cdef u64 off
    cdef u32 sel
    if not far_pointer(c, op, &off, &sel):
        return fault(c, op)
    if not far_call(c, sel, off, 1 << (op.osz & 3), next_pc(c, op)):
        return far_fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_jmpf_m(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    cdef u64 off
    cdef u32 sel
    if not far_pointer(c, op, &off, &sel):
        return fault(c, op)
    if not far_jump(c, sel, off, 1 << (op.osz & 3), next_pc(c, op)):
        return far_fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_retf(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if not far_return(c, 1 << (op.osz & 3), <u32>op.imm & 0xFFFF):
        return fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_iret(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if not iret(c, 1 << (op.osz & 3), next_pc(c, op)):
        return far_fault(c, op)
    c.nmi_blocked = 0
    return far_done(c, op, mode)

# -------------------------------------------------------------------------------------------- fast system calls


cdef inline Op* sys_done(Cpu* c, Op* op, u32 mode) noexcept nogil:
    """SYSCALL and SYSRET single-step by the TF they leave behind (APM vol. 3, SYSCALL; SDM vol. 3, 17.3.1.4)."""
    if UNLIKELY((mode | c.mode) & M_TF):
        c.step_after = 1
        return leave(c, c.pc)
    return resume(c, c.pc)


cdef Op* op_syscall(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if not (c.efer & EFER_SCE) or not (mode & M_CODE64 or has_feat(c, FEAT_AMD)):
        return raise_exc(c, op, EXC_UD)
    syscall(c, next_pc(c, op))
    return sys_done(c, op, mode)


cdef Op* op_sysret(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    cdef bint wide = (op.osz & 3) == 3
    if not (c.efer & EFER_SCE) or not (mode & M_CODE64 or has_feat(c, FEAT_AMD)):
        return raise_exc(c, op, EXC_UD)
    if not (mode & M_PE) or c.cpl != 0 or (wide and not has_feat(c, FEAT_AMD) and not canonical(c.r[RCX])):
        return raise_err(c, op, EXC_GP, 0)
    sysret(c, wide)
    return sys_done(c, op, mode)


cdef Op* op_sysenter(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if c.efer & EFER_LMA and has_feat(c, FEAT_AMD):
        return raise_exc(c, op, EXC_UD)     # AMD: not in long mode
    if not sysenter(c):
        return fault(c, op)
    return far_done(c, op, mode)


cdef Op* op_sysexit(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if c.efer & EFER_LMA and has_feat(c, FEAT_AMD):
        return raise_exc(c, op, EXC_UD)
    if not sysexit(c, (op.osz & 3) == 3):
        return fault(c, op)
    return far_done(c, op, mode)

# --------------------------------------------------------------------------------------------------- interrupts


cdef Op* soft_int(Cpu* c, Op* op, u32 vector, u32 kind) noexcept nogil:
    cdef u32 mode = c.mode
    if not deliver(c, vector, 0, 0, kind, next_pc(c, op)):
        return far_fault(c, op)
    c.n_exc += 1
    if UNLIKELY((mode | c.mode) & M_TF):
        c.step_after = 1                # good for this instruction only: leave at once
        return leave(c, c.pc)
    if c.leave_req:
        return leave(c, c.pc)
    return resume(c, c.pc)


cdef Op* op_int(Cpu* c, Op* op) noexcept nogil:
    return soft_int(c, op, <u8>op.imm, INT_SOFT)


cdef Op* op_int3(Cpu* c, Op* op) noexcept nogil:
    return soft_int(c, op, EXC_BP, INT_SOFTX)


cdef Op* op_int1(Cpu* c, Op* op) noexcept nogil:
    """A #DB of its own; what a held data breakpoint has to report goes along."""
    if c.pending & PEND_DEBUG:
        c.dr[6] |= c.dr6_pending & 0xE00F
        c.dr6_pending = 0
        c.pending &= ~<u32>PEND_DEBUG
    return soft_int(c, op, EXC_DB, INT_ICEBP)


cdef Op* op_into(Cpu* c, Op* op) noexcept nogil:
    if not get_of(c):
        return done(c, op, c.mode)
    return soft_int(c, op, EXC_OF, INT_SOFTX)


cdef Op* op_bound(Cpu* c, Op* op) noexcept nogil:
    cdef s64 v, lo, hi
    cdef u8* p
    if (op.osz & 3) == 1:
        p = ld(c, op, 4)
        if p is NULL:
            return fault(c, op)
        v = <s16>c.r[op.reg]
        lo = (<s16*>p)[0]
        hi = (<s16*>p)[1]
    else:
        p = ld(c, op, 8)
        if p is NULL:
            return fault(c, op)
        v = <s32>c.r[op.reg]
        lo = (<s32*>p)[0]
        hi = (<s32*>p)[1]
    if v < lo or v > hi:
        return raise_exc(c, op, EXC_BR)
    return nxt(c, op)


cdef Op* op_ud0(Cpu* c, Op* op) noexcept nogil:
    return raise_exc(c, op, EXC_UD)


cdef Op* op_ud1(Cpu* c, Op* op) noexcept nogil:
    return raise_exc(c, op, EXC_UD)


cdef Op* op_ud2(Cpu* c, Op* op) noexcept nogil:
    return raise_exc(c, op, EXC_UD)

# -------------------------------------------------------------------------------------------------------- flags


cdef enum:
    # what PUSHF shows: never VM or RF
    PUSHF_MASK = 0xFCFFFF
    POPF_MASK16 = 0x7FD5
    POPF_MASK32 = 0x247FD5


cdef inline bint virtual_flags(Cpu* c) noexcept nogil:
    """Virtual-8086 mode below IOPL 3."""
    return (c.mode & M_VM) != 0 and (c.eflags & F_IOPL) != F_IOPL


cdef Op* op_pushf(Cpu* c, Op* op) noexcept nogil:
    cdef u32 size = 1 << (op.osz & 3)
    cdef u32 f = get_eflags(c) & PUSHF_MASK
    if UNLIKELY(virtual_flags(c)):
        if not (c.cr4 & CR4_VME) or size != 2:
            return raise_err(c, op, EXC_GP, 0)
        f = (f & ~<u32>F_IF) | F_IOPL | (F_IF if f & F_VIF else 0)
    if not push_val(c, op, f, size):
        return fault(c, op)
    return nxt(c, op)


cdef Op* op_popf(Cpu* c, Op* op) noexcept nogil:
    """SDM vol. 2, POPF: which flags change, by mode, privilege and operand size."""
    cdef u32 size = 1 << (op.osz & 3)
    cdef u32 mode = c.mode
    cdef u32 mask = POPF_MASK16 if size == 2 else POPF_MASK32
    cdef u32 old = c.eflags
    cdef u32 iopl = (old >> 12) & 3
    cdef u64 v
    cdef u32 f
    if UNLIKELY(virtual_flags(c)):
        if not (c.cr4 & CR4_VME) or size != 2:
            return raise_err(c, op, EXC_GP, 0)
        if not top_val(c, op, &v, size):
            return fault(c, op)
        f = <u32>v
        if f & F_TF or (f & F_IF and c.eflags & F_VIP):
            return raise_err(c, op, EXC_GP, 0)
        mask = (mask & ~<u32>(F_IF | F_IOPL)) | F_VIF
        f = (f & ~<u32>F_VIF) | (F_VIF if f & F_IF else 0)
    else:
        if not top_val(c, op, &v, size):
            return fault(c, op)
        f = <u32>v
        if mode & M_VM:
            mask &= ~<u32>F_IOPL
        elif c.cpl != 0:
            mask &= ~<u32>F_IOPL
            if c.cpl > iopl:
                mask &= ~<u32>F_IF
        if size != 2 and not (mode & M_VM) and c.cpl <= iopl:
            mask |= F_VIF | F_VIP           # cleared
            f &= ~<u32>(F_VIF | F_VIP)
    set_sp(c, sp_mask(c), c.r[RSP] + size)
    change_eflags(c, f, mask)
    if UNLIKELY((old ^ c.eflags) & (F_TF | F_AC)):
        modes.update_mode(c)
    return done(c, op, mode)


cdef Op* op_cli(Cpu* c, Op* op) noexcept nogil:
    if LIKELY(c.cpl <= ((c.eflags >> 12) & 3)):
        c.eflags &= ~<u32>F_IF
    elif (c.mode & M_VM and c.cr4 & CR4_VME) or (not (c.mode & M_VM) and c.cpl == 3 and c.cr4 & CR4_PVI):
        c.eflags &= ~<u32>F_VIF
    else:
        return raise_err(c, op, EXC_GP, 0)
    return nxt(c, op)


cdef Op* op_sti(Cpu* c, Op* op) noexcept nogil:
    """Interrupts open after the next instruction; a second STI does not hold them again (SDM vol. 2, STI)."""
    cdef u32 mode = c.mode
    if LIKELY(c.cpl <= ((c.eflags >> 12) & 3)):
        if not (c.eflags & F_IF):
            c.eflags |= F_IF
            hold(c, SHADOW_STI)
    elif (mode & M_VM and c.cr4 & CR4_VME) or (not (mode & M_VM) and c.cpl == 3 and c.cr4 & CR4_PVI):
        if c.eflags & F_VIP:
            return raise_err(c, op, EXC_GP, 0)
        c.eflags |= F_VIF
    else:
        return raise_err(c, op, EXC_GP, 0)
    return done(c, op, mode)


include "gen/x_far_reg.pxi"
