# cython: language_level=3
"""Calls from the core to what the machine has hung on the Python CPU object: local APIC registers seen as CPU registers.

Without a hook the register is plain state (CR8) or has no effect. An exception in a hook ends the machine, as in a device.
"""
from pcemu._core.decode cimport handler_name
from pcemu._core.latch cimport settle_ports
from pcemu._core.physmem cimport Memory, apart


cdef bint failed(Cpu* c, object e):
    (<Memory>c.m.pymem).error = e
    c.exit = EXIT_CALLBACK
    return 0


cdef bint cr8_access(Cpu* c, bint write, u64* v) noexcept with gil:
    """MOV CR8 is the local APIC's task priority (SDM vol. 3, 10.8.6)."""
    if c.lock_pass:
        return apart(c)
    try:
        settle_ports(c)
        hook = (<object>c.pyobj).cr8_hook
        if write:
            c.cr8 = v[0]
            if hook is not None:
                c.in_callback = 1
                hook(v[0])
        else:
            if hook is not None:
                c.in_callback = 1
                c.cr8 = <u64>hook(None) & 15
            v[0] = c.cr8
        return 1
    except BaseException as e:
        return failed(c, e)
    finally:
        c.in_callback = 0


cdef bint apic_base_written(Cpu* c) noexcept with gil:
    if c.lock_pass:
        return apart(c)
    try:
        settle_ports(c)
        hook = (<object>c.pyobj).apicbase_hook
        if hook is not None:
            c.in_callback = 1
            hook(c.apic_base)
        return 1
    except BaseException as e:
        return failed(c, e)
    finally:
        c.in_callback = 0


cdef bint tsc_deadline_access(Cpu* c, bint write, u64* v) noexcept with gil:
    """The hook counts in virtual ns: the guest's TSC without the offset it has written."""
    cdef u64 ns
    if c.lock_pass:
        return apart(c)
    try:
        settle_ports(c)
        hook = (<object>c.pyobj).tsc_deadline_hook
        if hook is None:
            if not write:
                v[0] = 0
            return 1
        c.in_callback = 1
        if write:
            ns = v[0] - c.tsc_offset
            hook(ns if v[0] and <s64>ns > 0 else v[0] and 1)
        else:
            ns = hook(None)
            v[0] = ns + c.tsc_offset if ns else 0
        return 1
    except BaseException as e:
        return failed(c, e)
    finally:
        c.in_callback = 0


cdef bint other_msr(Cpu* c, u32 number, bint write, u64* v, bint* known) noexcept with gil:
    known[0] = 0
    if c.lock_pass:
        return apart(c)
    try:
        settle_ports(c)
        hook = (<object>c.pyobj).msr_hook
        if hook is None:
            return 1
        c.in_callback = 1
        answer = hook(number, v[0] if write else None)
        if answer is not None:
            known[0] = 1
            if not write:
                v[0] = answer
        return 1
    except BaseException as e:
        return failed(c, e)
    finally:
        c.in_callback = 0


cdef void block_made(Cpu* c, Block* b, u64 pc, bint compiled) noexcept with gil:
    """code_hook("out", pc, instructions, host address, host code), or code_hook("op", pc, bits, guest code, [(pc, length, handler)])."""
    cdef Op* op = &b.ops[b.n_ops - b.n]
    cdef u32 i
    hook = (<object>c.pyobj).code_hook
    if hook is None:
        return
    if compiled:
        hook("out", pc, b.unit_n, <size_t>b.entry, (<char*>b.entry)[:b.code_size])
        return
    hook("op", pc, (16, 32, 64, 64)[b.mode & M_CODE_MASK], (<char*>c.m.ram + b.addr)[:b.nbytes - b.cross] + (<char*>b.tail)[:b.cross],
         [(pc + op[i].pcoff, op[i].length, handler_name(<int>(op[i].jit >> 48))) for i in range(b.n)])
