# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Far jumps, calls and returns, IRET and the fast system calls in every mode (SDM vol. 3, 5.8; vol. 2 for each instruction)."""
from pcemu._core.access cimport *
from pcemu._core.segments cimport *
from pcemu._core.task cimport TASK_CALL, TASK_JMP, find_tss, task_return, task_switch
from pcemu._core cimport modes

cdef enum:
    # flags that POPF and IRET may load at all, by operand size
    POP_FLAGS16 = 0x7FD5
    POP_FLAGS32 = 0x257FD5      # ... RF is treated apart
    SYSRET_FLAGS = 0x3C7FD7


cdef void change_eflags(Cpu* c, u32 v, u32 mask) noexcept nogil:
    cdef u32 cur
    if (mask & F_ARITH) == F_ARITH:
        set_arith(c, v)
        cur = c.eflags
    else:
        cur = get_eflags(c)
        set_arith(c, (cur & ~mask) | (v & mask))
    c.eflags = ((((cur & ~mask) | (v & mask)) & ~<u32>(F_ARITH | F_RF)) | 2)
    if v & mask & F_RF:
        c.rf_icount = c.icount_end - <u64>c.budget


cdef inline u64 trim(u64 off, u32 osz) noexcept nogil:
    return off & 0xFFFF if osz == 2 else <u32>off if osz == 4 else off


cdef inline bint code_offset_ok(Cpu* c, Desc* cs, u64 off) noexcept nogil:
    """A target inside its segment, or canonical in 64-bit code; else #GP(0)."""
    if c.efer & EFER_LMA and cs.hi & DESC_L:
        if canonical(off):
            return 1
    elif off <= d_limit(cs):
        return 1
    return exc_err(c, EXC_GP, 0)


cdef bint code_desc(Cpu* c, u32 sel, Desc* d) noexcept nogil:
    """Fetch the descriptor a far transfer names: #GP when null or beyond its table."""
    cdef int r
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_GP, 0)
    r = fetch_desc(c, sel, d)
    if r == FETCH_LIMIT:
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    return r > 0


cdef inline bint bad_code_bits(Cpu* c, Desc* d) noexcept nogil:
    """Long mode: L and D together are reserved."""
    return (c.efer & EFER_LMA) != 0 and (d.hi & (DESC_L | DESC_B)) == (DESC_L | DESC_B)


cdef bint direct_code(Cpu* c, u32 sel, Desc* d) noexcept nogil:
    """Checks of a code segment reached without a gate at the current level."""
    if d_conforming(d):
        if d_dpl(d) > c.cpl:
            return exc_err(c, EXC_GP, sel & 0xFFFC)
    elif (sel & 3) > c.cpl or d_dpl(d) != c.cpl:
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    if bad_code_bits(c, d):
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    if not d_present(d):
        return exc_err(c, EXC_NP, sel & 0xFFFC)
    return 1


cdef bint gate_target(Cpu* c, u32 sel, Desc* gate, u32* cs_sel, Desc* cs, u64* off) noexcept nogil:
    """A call gate's own checks, its code segment and offset."""
    cdef u64 upper = 0
    cdef u32 err = sel & 0xFFFC
    cdef int r
    if d_dpl(gate) < c.cpl or d_dpl(gate) < (sel & 3):
        return exc_err(c, EXC_GP, err)
    if c.efer & EFER_LMA:
        r = fetch_upper(c, sel, gate, &upper)
        if r < 0:
            return 0
        if r == FETCH_LIMIT:
            return exc_err(c, EXC_GP, err)
    if not d_present(gate):
        return exc_err(c, EXC_NP, err)
    cs_sel[0] = gate.lo >> 16
    off[0] = gate.lo & 0xFFFF
    if d_type(gate) & 8:
        off[0] |= (gate.hi & 0xFFFF0000U) | upper
    if not code_desc(c, cs_sel[0], cs):
        return 0
    err = cs_sel[0] & 0xFFFC
    if not d_code(cs) or d_dpl(cs) > c.cpl:
        return exc_err(c, EXC_GP, err)
    if c.efer & EFER_LMA and (cs.hi & (DESC_L | DESC_B)) != DESC_L:
        return exc_err(c, EXC_GP, err)
    if not d_present(cs):
        return exc_err(c, EXC_NP, err)
    return 1


cdef bint to_task(Cpu* c, u32 sel, Desc* d, u32 kind, u64 next) noexcept nogil:
    """Far jump or call to a task gate or a TSS."""
    cdef Desc tss
    if d_dpl(d) < c.cpl or d_dpl(d) < (sel & 3):
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    if d_type(d) == T_TASK:
        if not d_present(d):
            return exc_err(c, EXC_NP, sel & 0xFFFC)
        sel = d.lo >> 16
    return find_tss(c, sel, EXC_GP, 0, 0, &tss) and task_switch(c, sel, &tss, kind, next, 0)


cdef bint far_jump(Cpu* c, u32 sel, u64 off, u32 osz, u64 next) noexcept nogil:
    cdef Desc d, cs
    cdef u32 cs_sel, t
    c.switched = 0
    off = trim(off, osz)
    if in_real(c):
        if off > (0xFFFF if c.eflags & F_VM else c.seg[CS].limit):
            return exc_err(c, EXC_GP, 0)
        load_seg_real(c, CS, sel)
        c.pc = off
        modes.update_mode(c)
        return 1
    if not code_desc(c, sel, &d):
        return 0
    if d.hi & DESC_S:
        if not d_code(&d):
            return exc_err(c, EXC_GP, sel & 0xFFFC)
        if not direct_code(c, sel, &d) or not code_offset_ok(c, &d, off) or not set_accessed(c, &d):
            return 0
        put_seg(c, CS, (sel & 0xFFFC) | c.cpl, &d)
        c.pc = off
        modes.update_mode(c)
        return 1
    t = d_type(&d)
    if t == T_CALL32 or (t == T_CALL16 and not c.efer & EFER_LMA):
        if not gate_target(c, sel, &d, &cs_sel, &cs, &off):
            return 0
        if not d_conforming(&cs) and d_dpl(&cs) != c.cpl:
            return exc_err(c, EXC_GP, cs_sel & 0xFFFC)
        if not code_offset_ok(c, &cs, off) or not set_accessed(c, &cs):
            return 0
        put_seg(c, CS, (cs_sel & 0xFFFC) | c.cpl, &cs)
        c.pc = off
        modes.update_mode(c)
        return 1
    if not c.efer & EFER_LMA and (t == T_TASK or t == T_TSS16 or t == T_TSS32):
        return to_task(c, sel, &d, TASK_JMP, next)
    return exc_err(c, EXC_GP, sel & 0xFFFC)


cdef bint call_gate(Cpu* c, u32 sel, Desc* gate, u64 next) noexcept nogil:
    cdef Desc cs, ss
    cdef Stack old, new
    cdef u64 v[40]
    cdef u64 params[32]
    cdef u64 off, sp
    cdef u32 cs_sel, ss_sel, cpl, i, n = 0, count = 0, size
    cdef bint lm = (c.efer & EFER_LMA) != 0
    if not gate_target(c, sel, gate, &cs_sel, &cs, &off):
        return 0
    size = 8 if lm else 4 if d_type(gate) & 8 else 2
    stack_now(c, &old)
    cpl = c.cpl if d_conforming(&cs) else d_dpl(&cs)
    if cpl == c.cpl:
        v[0] = c.seg[CS].sel
        v[1] = next
        if not code_offset_ok(c, &cs, off) or not set_accessed(c, &cs) or not push_frame(c, &old, v, 2, size):
            return 0
        set_sp(c, old.mask, old.sp)
    else:
        if not tss_stack(c, cpl, 0, &ss_sel, &sp):
            return 0
        if lm:
            new.sp = sp
            new.mask = <u64>-1
            new.base = 0
            new.limit = new.flags = 0
            new.cpl = cpl
            new.err = ss_sel & 0xFFFC
            new.wide = 1
        else:
            if not check_stack_seg(c, ss_sel, cpl, EXC_TS, 0, &ss):
                return 0
            stack_new(c, &new, ss_sel, &ss, sp, cpl)
            count = gate.hi & 31
        v[0] = c.seg[SS].sel
        v[1] = c.r[RSP]
        n = 2
        if count:
            if not peek(c, &old, params, count, size, 0):
                return 0
            for i in range(count):
                v[n + i] = params[count - 1 - i]
            n += count
        v[n] = c.seg[CS].sel
        v[n + 1] = next
        if not code_offset_ok(c, &cs, off) or not set_accessed(c, &cs) or not push_frame(c, &new, v, n + 2, size):
            return 0
        c.cpl = cpl
        if lm:
            put_null(c, SS, cpl)
        else:
            put_seg(c, SS, ss_sel, &ss)
        c.r[RSP] = new.sp
    put_seg(c, CS, (cs_sel & 0xFFFC) | cpl, &cs)
    c.pc = off
    modes.update_mode(c)
    return 1


cdef bint far_call(Cpu* c, u32 sel, u64 off, u32 osz, u64 next) noexcept nogil:
    cdef Desc d
    cdef Stack s
    cdef u64 v[2]
    cdef u32 t
    cdef bint real = in_real(c)
    c.switched = 0
    off = trim(off, osz)
    v[0] = c.seg[CS].sel
    v[1] = next
    stack_now(c, &s)
    if real:
        if off > (0xFFFF if c.eflags & F_VM else c.seg[CS].limit):
            return exc_err(c, EXC_GP, 0)
        if not push_frame(c, &s, v, 2, osz):
            return 0
        load_seg_real(c, CS, sel)
    else:
        if not code_desc(c, sel, &d):
            return 0
        if not (d.hi & DESC_S):
            t = d_type(&d)
            if t == T_CALL32 or (t == T_CALL16 and not c.efer & EFER_LMA):
                return call_gate(c, sel, &d, next)
            if not c.efer & EFER_LMA and (t == T_TASK or t == T_TSS16 or t == T_TSS32):
                return to_task(c, sel, &d, TASK_CALL, next)
            return exc_err(c, EXC_GP, sel & 0xFFFC)
        if not d_code(&d):
            return exc_err(c, EXC_GP, sel & 0xFFFC)
        if not direct_code(c, sel, &d) or not code_offset_ok(c, &d, off) or not set_accessed(c, &d) \
                or not push_frame(c, &s, v, 2, osz):
            return 0
        put_seg(c, CS, (sel & 0xFFFC) | c.cpl, &d)
    set_sp(c, s.mask, s.sp)
    c.pc = off
    modes.update_mode(c)
    return 1


cdef bint return_code(Cpu* c, u32 sel, Desc* d) noexcept nogil:
    """The code segment of a far return or IRET: its RPL is the level returned to."""
    cdef u32 rpl = sel & 3
    if not (sel & 0xFFFC):
        return exc_err(c, EXC_GP, 0)
    if not code_desc(c, sel, d):
        return 0
    if not d_code(d) or rpl < c.cpl or (d_dpl(d) > rpl if d_conforming(d) else d_dpl(d) != rpl) or bad_code_bits(c, d):
        return exc_err(c, EXC_GP, sel & 0xFFFC)
    if not d_present(d):
        return exc_err(c, EXC_NP, sel & 0xFFFC)
    return 1


cdef bint return_stack(Cpu* c, u32 sel, Desc* cs, u32 rpl, Desc* ss, bint* null) noexcept nogil:
    """The stack segment to return to; null is allowed to 64-bit code below level 3."""
    null[0] = 0
    if not (sel & 0xFFFC):
        if not (c.efer & EFER_LMA and cs.hi & DESC_L) or rpl == 3 or (sel & 3) != rpl:
            return exc_err(c, EXC_GP, 0)
        null[0] = 1
        return 1
    return check_stack_seg(c, sel, rpl, EXC_GP, 0, ss)


cdef inline u64 stack_mask_of(Cpu* c, Desc* cs, Desc* ss, bint null) noexcept nogil:
    """How wide the stack pointer is once CS and SS are loaded."""
    if c.efer & EFER_LMA and cs.hi & DESC_L:
        return <u64>-1
    return 0xFFFFFFFFU if not null and ss.hi & DESC_B else 0xFFFF


cdef bint far_return(Cpu* c, u32 osz, u32 drop) noexcept nogil:
    cdef Stack s
    cdef Desc cs, ss
    cdef u64 v[2]
    cdef u64 w[2]
    cdef u64 mask
    cdef u32 sel, rpl
    cdef bint null = 0
    c.switched = 0
    stack_now(c, &s)
    if not peek(c, &s, v, 2, osz, 0):
        return 0
    sel = <u32>v[1] & 0xFFFF
    if in_real(c):
        if v[0] > (0xFFFF if c.eflags & F_VM else c.seg[CS].limit):
            return exc_err(c, EXC_GP, 0)
        load_seg_real(c, CS, sel)
        set_sp(c, s.mask, s.sp + 2 * osz + drop)
        c.pc = v[0]
        modes.update_mode(c)
        return 1
    if not return_code(c, sel, &cs):
        return 0
    rpl = sel & 3
    if rpl == c.cpl:
        if not code_offset_ok(c, &cs, v[0]) or not set_accessed(c, &cs):
            return 0
        put_seg(c, CS, sel, &cs)
        set_sp(c, s.mask, s.sp + 2 * osz + drop)
        c.pc = v[0]
        modes.update_mode(c)
        return 1
    if not peek(c, &s, w, 2, osz, 2 * osz + drop) or not return_stack(c, <u32>w[1] & 0xFFFF, &cs, rpl, &ss, &null):
        return 0
    if not code_offset_ok(c, &cs, v[0]) or not set_accessed(c, &cs):
        return 0
    mask = stack_mask_of(c, &cs, &ss, null)
    if null:
        put_null(c, SS, <u32>w[1] & 0xFFFF)
    else:
        put_seg(c, SS, <u32>w[1] & 0xFFFF, &ss)
    put_seg(c, CS, sel, &cs)
    c.cpl = rpl
    set_sp(c, mask, w[0] + drop)
    c.pc = v[0]
    drop_inaccessible(c)
    modes.update_mode(c)
    return 1

# -------------------------------------------------------------------------------------------------------- IRET


cdef bint iret_real(Cpu* c, u32 osz) noexcept nogil:
    """Real mode, and virtual-8086 mode with IOPL 3 or, by CR4.VME, on the virtual interrupt flag."""
    cdef Stack s
    cdef u64 v[3]
    cdef u32 mask
    cdef u32 image
    cdef bint vm = (c.eflags & F_VM) != 0
    stack_now(c, &s)
    if vm and (c.eflags & F_IOPL) != F_IOPL and not (c.cr4 & CR4_VME and osz == 2):
        return exc_err(c, EXC_GP, 0)
    if not peek(c, &s, v, 3, osz, 0):
        return 0
    image = <u32>v[2]
    mask = POP_FLAGS16 if osz == 2 else POP_FLAGS32
    if vm:
        mask &= ~<u32>F_IOPL
        if (c.eflags & F_IOPL) != F_IOPL:
            if image & F_TF or (image & F_IF and c.eflags & F_VIP):
                return exc_err(c, EXC_GP, 0)
            mask = (mask & ~<u32>F_IF) | F_VIF
            if image & F_IF:
                image |= F_VIF
    if v[0] > (0xFFFF if vm else c.seg[CS].limit):
        return exc_err(c, EXC_GP, 0)
    load_seg_real(c, CS, <u32>v[1] & 0xFFFF)
    set_sp(c, s.mask, s.sp + 3 * osz)
    change_eflags(c, image, mask)
    c.pc = v[0]
    modes.update_mode(c)
    return 1


cdef bint iret_to_vm86(Cpu* c, Stack* s, u64* v) noexcept nogil:
    cdef u64 w[6]
    if not peek(c, s, w, 6, 4, 12):
        return 0
    change_eflags(c, <u32>v[2], 0x3F7FD5)
    c.eflags |= F_VM
    c.cpl = 3
    load_seg_real(c, CS, <u32>v[1] & 0xFFFF)
    load_seg_real(c, SS, <u32>w[1] & 0xFFFF)
    load_seg_real(c, ES, <u32>w[2] & 0xFFFF)
    load_seg_real(c, DS, <u32>w[3] & 0xFFFF)
    load_seg_real(c, FS, <u32>w[4] & 0xFFFF)
    load_seg_real(c, GS, <u32>w[5] & 0xFFFF)
    c.r[RSP] = <u32>w[0]
    c.pc = v[0] & 0xFFFF
    modes.update_mode(c)
    return 1


cdef bint iret(Cpu* c, u32 osz, u64 next) noexcept nogil:
    cdef Stack s
    cdef Desc cs, ss
    cdef u64 v[3]
    cdef u64 w[2]
    cdef u64 sp, smask
    cdef u32 sel, rpl, mask, old_cpl
    cdef bint null = 0, outer
    c.switched = 0
    if in_real(c):
        return iret_real(c, osz)
    if c.eflags & F_NT:
        if c.efer & EFER_LMA:
            return exc_err(c, EXC_GP, 0)
        return task_return(c, next)
    stack_now(c, &s)
    if not peek(c, &s, v, 3, osz, 0):
        return 0
    if osz == 4 and v[2] & F_VM and c.cpl == 0 and not c.efer & EFER_LMA:
        return iret_to_vm86(c, &s, v)
    sel = <u32>v[1] & 0xFFFF
    if not return_code(c, sel, &cs):
        return 0
    rpl = sel & 3
    old_cpl = c.cpl
    outer = rpl != c.cpl or s.wide
    if outer:
        if not peek(c, &s, w, 2, osz, 3 * osz) or not return_stack(c, <u32>w[1] & 0xFFFF, &cs, rpl, &ss, &null):
            return 0
    if not code_offset_ok(c, &cs, v[0]) or not set_accessed(c, &cs):
        return 0
    # ---- nothing fails from here on
    if outer:
        sp = w[0]
        smask = stack_mask_of(c, &cs, &ss, null)
        if null:
            put_null(c, SS, <u32>w[1] & 0xFFFF)
        else:
            put_seg(c, SS, <u32>w[1] & 0xFFFF, &ss)
    else:
        sp = s.sp + 3 * osz
        smask = s.mask
    put_seg(c, CS, sel, &cs)
    set_sp(c, smask, sp)
    mask = POP_FLAGS16 if osz == 2 else POP_FLAGS32
    if old_cpl != 0:
        mask &= ~<u32>F_IOPL
    elif osz != 2:
        mask |= F_VIF | F_VIP
    if old_cpl > ((c.eflags >> 12) & 3):
        mask &= ~<u32>F_IF
    change_eflags(c, <u32>v[2], mask)
    c.pc = v[0]
    if rpl != old_cpl:
        c.cpl = rpl
        drop_inaccessible(c)
    modes.update_mode(c)
    return 1

# ------------------------------------------------------------------------------------------- fast system calls


cdef inline void flat_pair(Cpu* c, u32 cs, u32 ss, u32 cpl, u32 code) noexcept nogil:
    put_flat(c, CS, cs, code | (cpl << DESC_DPL_SHIFT))
    put_flat(c, SS, ss, FLAT_DATA | (cpl << DESC_DPL_SHIFT))
    c.cpl = cpl


cdef bint syscall(Cpu* c, u64 next) noexcept nogil:
    """EFER.SCE and the vendor's rules are the handler's to check (SDM vol. 2, SYSCALL; APM vol. 3, SYSCALL)."""
    cdef u32 sel = <u32>(c.star >> 32) & 0xFFFC
    cdef u32 flags
    if c.efer & EFER_LMA:
        flags = get_eflags(c)
        c.r[RCX] = next
        c.r[11] = flags
        c.pc = c.lstar if c.mode & M_CODE64 else c.cstar
        flags &= ~<u32>c.sfmask
        set_arith(c, flags)
        c.eflags = (flags & ~<u32>(F_ARITH | F_RF)) | 2
        flat_pair(c, sel, sel + 8, 0, FLAT_CODE64)
    else:
        c.r[RCX] = <u32>next
        c.pc = <u32>c.star
        c.eflags &= ~<u32>(F_IF | F_VM)
        flat_pair(c, sel, sel + 8, 0, FLAT_CODE32)
    modes.update_mode(c)
    return 1


cdef bint sysret(Cpu* c, bint wide) noexcept nogil:
    cdef u32 sel = <u32>(c.star >> 48)
    cdef u32 flags
    if c.efer & EFER_LMA:
        if wide:
            flat_pair(c, (sel + 16) | 3, (sel + 8) | 3, 3, FLAT_CODE64)
            c.pc = c.r[RCX]
        else:
            flat_pair(c, sel | 3, (sel + 8) | 3, 3, FLAT_CODE32)
            c.pc = <u32>c.r[RCX]
        flags = <u32>c.r[11] & SYSRET_FLAGS
        set_arith(c, flags)
        c.eflags = (flags & ~<u32>(F_ARITH | F_RF | F_VM)) | 2
    else:
        flat_pair(c, sel | 3, (sel + 8) | 3, 3, FLAT_CODE32)
        c.pc = <u32>c.r[RCX]
        c.eflags |= F_IF
    modes.update_mode(c)
    return 1


cdef bint sysenter(Cpu* c) noexcept nogil:
    cdef u32 sel = <u32>c.sysenter_cs & 0xFFFC
    if not (c.cr0 & CR0_PE) or not sel:
        return exc_err(c, EXC_GP, 0)
    c.eflags &= ~<u32>(F_VM | F_IF)
    if c.efer & EFER_LMA:
        c.r[RSP] = c.sysenter_esp
        c.pc = c.sysenter_eip
    else:
        c.r[RSP] = <u32>c.sysenter_esp
        c.pc = <u32>c.sysenter_eip
    flat_pair(c, sel, sel + 8, 0, FLAT_CODE64 if c.efer & EFER_LMA else FLAT_CODE32)
    modes.update_mode(c)
    return 1


cdef bint sysexit(Cpu* c, bint wide) noexcept nogil:
    cdef u32 sel = <u32>c.sysenter_cs & 0xFFFC
    if not sel or not (c.cr0 & CR0_PE) or c.cpl != 0:
        return exc_err(c, EXC_GP, 0)
    if wide:
        if not canonical(c.r[RDX]) or not canonical(c.r[RCX]):
            return exc_err(c, EXC_GP, 0)
        c.pc = c.r[RDX]
        c.r[RSP] = c.r[RCX]
        flat_pair(c, (sel + 32) | 3, (sel + 40) | 3, 3, FLAT_CODE64)
    else:
        c.pc = <u32>c.r[RDX]
        c.r[RSP] = <u32>c.r[RCX]
        flat_pair(c, (sel + 16) | 3, (sel + 24) | 3, 3, FLAT_CODE32)
    modes.update_mode(c)
    return 1
