# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Ports, waiting, counters, random numbers, CPUID, segment bases and SMAP windows (SDM vol. 2)."""
from pcemu._core.access cimport *
from pcemu._core.interrupts cimport breakpoint_hits
from pcemu._core.segments cimport canonical
from pcemu._core.sysop cimport *
from pcemu._core cimport modes, ports, vtime

include "gen/features.pxi"

# ------------------------------------------------------------------------------------------------ halt and wait


cdef Op* halt(Cpu* c, Op* op) noexcept nogil:
    c.pc = next_pc(c, op)
    c.link = NULL
    c.exit = EXIT_HALT
    return NULL


cdef Op* op_hlt(Cpu* c, Op* op) noexcept nogil:
    return halt(c, op)


cdef Op* op_monitor(Cpu* c, Op* op) noexcept nogil:
    """Remember what the line at seg:rAX holds (SDM vol. 2, MONITOR)."""
    cdef u32 asz = (op.scale >> 2) & 3
    cdef u64 off = c.r[RAX]
    cdef u8* p
    if c.cpl != 0:
        return raise_exc(c, op, EXC_UD)
    if <u32>c.r[RCX]:
        return raise_err(c, op, EXC_GP, 0)
    if asz < 3:
        off = <u32>off if asz == 2 else <u16>off
    if not segcheck.seg_lin(c, DS if op.seg == SEG_FLAT else op.seg, off, 1, ACC_READ):
        return fault(c, op)
    c.monitor_va = c.ea & ~<u64>7
    p = ldv(c, op, c.monitor_va, 8)
    if p is NULL:
        return fault(c, op)
    c.monitor_value = (<u64*>p)[0]
    c.monitor_armed = 1
    return nxt(c, op)


cdef Op* op_mwait(Cpu* c, Op* op) noexcept nogil:
    """Wait as HLT does, unless the monitored line changed or an interrupt came since MONITOR; waking early is always allowed."""
    cdef u8* p
    if c.cpl != 0:
        return raise_exc(c, op, EXC_UD)
    if c.r[RCX] & ~<u64>1:
        return raise_err(c, op, EXC_GP, 0)
    if c.monitor_armed and c.eflags & F_IF:
        c.monitor_armed = 0
        p = ldv(c, op, c.monitor_va, 8)
        if p is not NULL and (<u64*>p)[0] == c.monitor_value:
            return halt(c, op)
    return leave(c, next_pc(c, op))

# -------------------------------------------------------------------------------------------------------- ports


cdef inline bint port_allowed(Cpu* c, u32 port, int size) noexcept nogil:
    if LIKELY(c.cpl <= ((c.eflags >> 12) & 3)) and not (c.mode & M_VM):
        return 1
    return ports.io_allowed(c, port, size)


cdef void port_breakpoint(Cpu* c, u32 port, int size) noexcept nogil:
    """I/O breakpoints, with CR4.DE: traps (SDM vol. 3, 17.2.4)."""
    cdef u32 hits = breakpoint_hits(c, port, size, 2)
    if hits:
        c.dr6_pending |= hits
        c.pending |= PEND_DEBUG


cdef Op* port_read(Cpu* c, Op* op, u32 port, u32 size) noexcept nogil:
    cdef u64 v = 0
    if not port_allowed(c, port, size) or not ports.port_in(c, port, size, &v):
        return fault(c, op)
    if size == 1:
        (<u8*>&c.r[RAX])[0] = <u8>v
    else:
        put_gpr(c, RAX, v, size)
    if UNLIKELY(c.dr[7] & 0xFF and c.cr4 & CR4_DE):
        port_breakpoint(c, port, size)
    return done(c, op, c.mode)


cdef Op* port_write(Cpu* c, Op* op, u32 port, u32 size) noexcept nogil:
    cdef u64 v = c.r[RAX] & (((<u64>1 << (8 * size - 1)) << 1) - 1)
    if not port_allowed(c, port, size) or not ports.port_out(c, port, size, v):
        return fault(c, op)
    if UNLIKELY(c.dr[7] & 0xFF and c.cr4 & CR4_DE):
        port_breakpoint(c, port, size)
    return done(c, op, c.mode)


cdef inline u32 port_size(Op* op) noexcept nogil:
    return 2 if (op.osz & 3) == 1 else 4


cdef Op* op_in_ri_8(Cpu* c, Op* op) noexcept nogil:
    return port_read(c, op, <u8>op.imm, 1)


cdef Op* op_in_ri(Cpu* c, Op* op) noexcept nogil:
    return port_read(c, op, <u8>op.imm, port_size(op))


cdef Op* op_in_rd_8(Cpu* c, Op* op) noexcept nogil:
    return port_read(c, op, <u16>c.r[RDX], 1)


cdef Op* op_in_rd(Cpu* c, Op* op) noexcept nogil:
    return port_read(c, op, <u16>c.r[RDX], port_size(op))


cdef Op* op_out_ir_8(Cpu* c, Op* op) noexcept nogil:
    return port_write(c, op, <u8>op.imm, 1)


cdef Op* op_out_ir(Cpu* c, Op* op) noexcept nogil:
    return port_write(c, op, <u8>op.imm, port_size(op))


cdef Op* op_out_dr_8(Cpu* c, Op* op) noexcept nogil:
    return port_write(c, op, <u16>c.r[RDX], 1)


cdef Op* op_out_dr(Cpu* c, Op* op) noexcept nogil:
    return port_write(c, op, <u16>c.r[RDX], port_size(op))

# ---------------------------------------------------------------------------------- counters, randomness, CPUID


cdef inline bint tsc_allowed(Cpu* c) noexcept nogil:
    return c.cpl == 0 or not c.cr4 & CR4_TSD


cdef inline void put_edx_eax(Cpu* c, u64 v) noexcept nogil:
    c.r[RAX] = <u32>v
    c.r[RDX] = v >> 32


cdef Op* op_rdtsc(Cpu* c, Op* op) noexcept nogil:
    if not tsc_allowed(c):
        return raise_err(c, op, EXC_GP, 0)
    put_edx_eax(c, vtime.read_tsc(c))
    return done(c, op, c.mode)


cdef Op* op_rdtscp(Cpu* c, Op* op) noexcept nogil:
    if not tsc_allowed(c):
        return raise_err(c, op, EXC_GP, 0)
    put_edx_eax(c, vtime.read_tsc(c))
    c.r[RCX] = <u32>c.tsc_aux
    return done(c, op, c.mode)


cdef Op* op_rdpid(Cpu* c, Op* op) noexcept nogil:
    c.r[op.reg] = <u32>c.tsc_aux
    return nxt(c, op)


cdef Op* op_rdpmc(Cpu* c, Op* op) noexcept nogil:
    """There are no performance counters."""
    return raise_err(c, op, EXC_GP, 0)


cdef u64 next_random(Cpu* c) noexcept nogil:
    """splitmix64 from the machine's seed."""
    cdef u64 z
    c.rng += <u64>0x9E3779B97F4A7C15
    z = c.rng
    z = (z ^ (z >> 30)) * <u64>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <u64>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef Op* op_rdrand_r(Cpu* c, Op* op) noexcept nogil:
    put_gpr(c, op.reg, next_random(c), 1 << (op.osz & 3))
    set_arith(c, F_CF)
    return nxt(c, op)


cdef Op* op_rdseed_r(Cpu* c, Op* op) noexcept nogil:
    return op_rdrand_r(c, op)


cdef enum:
    XCR0_AVX = 4
    XSAVE_AVX_SIZE = 256


cdef u32* cpuid_row(Cpu* c, u32 leaf, u32 sub) noexcept nogil:
    cdef u32* row = c.cpuid_tab
    cdef u32 _i
    for _i in range(c.n_cpuid):
        if row[0] == leaf and (row[1] == sub or row[1] == 0xFFFFFFFFU):
            return row
        row += 6
    return NULL


cdef void cpuid(Cpu* c, u32 leaf, u32 sub, u32* out) noexcept nogil:
    """The model's table, and the bits that follow the running state (SDM vol. 2, CPUID)."""
    cdef u32* row = cpuid_row(c, leaf, sub)
    cdef u32* top
    cdef u32 i
    if row is NULL:
        # beyond the highest leaf Intel repeats the highest basic one; AMD answers zeros
        top = cpuid_row(c, leaf & 0x80000000U, 0)
        if not has_feat(c, FEAT_AMD) and (top is NULL or leaf > top[2]) and (leaf >> 28) != 4:
            top = cpuid_row(c, 0, 0)
            if top is not NULL:
                leaf = top[2]
                row = cpuid_row(c, leaf, sub)
    for i in range(4):
        out[i] = row[2 + i] if row is not NULL else 0
    if leaf == 1:
        if c.cr4 & CR4_OSXSAVE:
            out[2] |= 1 << 27
        if not c.apic_base & (1 << 11):
            out[3] &= ~<u32>(1 << 9)
    elif leaf == 0xB:
        if row is NULL:
            out[2] = sub & 0xFF
    elif leaf == 0xD:
        if sub < 2 and c.xcr0 & XCR0_AVX:   # bytes of what XCR0 admits
            out[1] += XSAVE_AVX_SIZE
    elif leaf == 0x80000001U:
        if has_feat(c, FEAT_AMD):
            if not c.apic_base & (1 << 11):
                out[3] &= ~<u32>(1 << 9)
        elif not c.mode & M_CODE64:
            out[3] &= ~<u32>(1 << 11)       # Intel shows SYSCALL in 64-bit mode only


cdef Op* op_cpuid(Cpu* c, Op* op) noexcept nogil:
    cdef u32 out[4]
    cpuid(c, <u32>c.r[RAX], <u32>c.r[RCX], out)
    c.r[RAX] = out[0]
    c.r[RBX] = out[1]
    c.r[RCX] = out[2]
    c.r[RDX] = out[3]
    return nxt(c, op)

# ------------------------------------------------------------------------------------------- bases, SMAP windows


cdef Op* op_swapgs(Cpu* c, Op* op) noexcept nogil:
    cdef u64 v = c.seg[GS].base
    c.seg[GS].base = c.kernel_gs_base
    c.kernel_gs_base = v
    return nxt(c, op)


cdef Op* read_base(Cpu* c, Op* op, u32 seg) noexcept nogil:
    if not c.cr4 & CR4_FSGSBASE:
        return raise_exc(c, op, EXC_UD)
    put_gpr(c, op.reg, c.seg[seg].base, 1 << (op.osz & 3))
    return nxt(c, op)


cdef Op* write_base(Cpu* c, Op* op, u32 seg) noexcept nogil:
    cdef u64 v = c.r[op.reg]
    if not c.cr4 & CR4_FSGSBASE:
        return raise_exc(c, op, EXC_UD)
    if (op.osz & 3) == 2:
        v = <u32>v
    elif not canonical(v):
        return raise_err(c, op, EXC_GP, 0)
    c.seg[seg].base = v
    return nxt(c, op)


cdef Op* op_rdfsbase(Cpu* c, Op* op) noexcept nogil:
    return read_base(c, op, FS)


cdef Op* op_rdgsbase(Cpu* c, Op* op) noexcept nogil:
    return read_base(c, op, GS)


cdef Op* op_wrfsbase(Cpu* c, Op* op) noexcept nogil:
    return write_base(c, op, FS)


cdef Op* op_wrgsbase(Cpu* c, Op* op) noexcept nogil:
    return write_base(c, op, GS)


cdef Op* op_stac(Cpu* c, Op* op) noexcept nogil:
    """AC changes which TLB arrays data accesses use; compiled code knows them by the mode."""
    cdef u32 mode = c.mode
    if c.cpl != 0:
        return raise_exc(c, op, EXC_UD)
    c.eflags |= F_AC
    modes.update_mode(c)
    return done(c, op, mode)


cdef Op* op_clac(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    if c.cpl != 0:
        return raise_exc(c, op, EXC_UD)
    c.eflags &= ~<u32>F_AC
    modes.update_mode(c)
    return done(c, op, mode)


include "gen/x_io_reg.pxi"
