"""Every piece of architectural CPU state: name (gdb's and QMP's), C field of struct Cpu, width, power-on value.

Power-on values: SDM vol. 3, table 9-1.

state_regs.pyx generates reset, reading and writing by name from it; snapshots and gdb use the same list.
"""
GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]
SEGS = ["es", "cs", "ss", "ds", "fs", "gs", None, "ldt", "tr"]

# (name, field, bits, reset)
STATE: list[tuple[str, str, int, int]] = [(n, f"r[{i}]", 64, 0) for i, n in enumerate(GPR)]
STATE += [("rip", "pc", 64, 0xFFF0)]
for _i, _n in enumerate(SEGS):
    if _n is None:
        continue
    _sys = {"ldt": 0x8200, "tr": 0x8B00}.get(_n, 0x9300)
    STATE += [
        (_n, f"seg[{_i}].sel", 16, 0xF000 if _n == "cs" else 0),
        (f"{_n}_base", f"seg[{_i}].base", 64, 0xFFFF0000 if _n == "cs" else 0),
        (f"{_n}_limit", f"seg[{_i}].limit", 32, 0xFFFF),
        (f"{_n}_flags", f"seg[{_i}].flags", 32, 0x9B00 if _n == "cs" else _sys),
    ]
STATE += [
    ("gdt_base", "gdt_base", 64, 0), ("gdt_limit", "gdt_limit", 32, 0xFFFF),
    ("idt_base", "idt_base", 64, 0), ("idt_limit", "idt_limit", 32, 0xFFFF),
    ("cpl", "cpl", 32, 0),
    ("cr0", "cr0", 64, 0x60000010), ("cr2", "cr2", 64, 0), ("cr3", "cr3", 64, 0), ("cr4", "cr4", 64, 0),
    ("cr8", "cr8", 64, 0), ("efer", "efer", 64, 0), ("xcr0", "xcr0", 64, 1),
    ("dr0", "dr[0]", 64, 0), ("dr1", "dr[1]", 64, 0), ("dr2", "dr[2]", 64, 0), ("dr3", "dr[3]", 64, 0),
    ("dr6", "dr[6]", 64, 0xFFFF0FF0), ("dr7", "dr[7]", 64, 0x400),
    ("pdpte0", "pdpte[0]", 64, 0), ("pdpte1", "pdpte[1]", 64, 0), ("pdpte2", "pdpte[2]", 64, 0), ("pdpte3", "pdpte[3]", 64, 0),
    ("star", "star", 64, 0), ("lstar", "lstar", 64, 0), ("cstar", "cstar", 64, 0), ("sfmask", "sfmask", 64, 0),
    ("kernel_gs_base", "kernel_gs_base", 64, 0),
    ("sysenter_cs", "sysenter_cs", 64, 0), ("sysenter_esp", "sysenter_esp", 64, 0), ("sysenter_eip", "sysenter_eip", 64, 0),
    ("tsc_aux", "tsc_aux", 64, 0), ("tsc_offset", "tsc_offset", 64, 0), ("tsc_adjust", "tsc_adjust", 64, 0),
    ("apic_base", "apic_base", 64, 0xFEE00900),
    ("pat", "pat", 64, 0x0007040600070406), ("misc_enable", "misc_enable", 64, 1), ("mtrr_def", "mtrr_def", 64, 0),
    ("spec_ctrl", "spec_ctrl", 64, 0), ("xss", "xss", 64, 0), ("feature_control", "feature_control", 64, 1),
    ("debugctl", "debugctl", 64, 0), ("mcg_status", "mcg_status", 64, 0), ("vm_hsave", "vm_hsave", 64, 0),
    ("hwcr", "hwcr", 64, 0), ("syscfg", "syscfg", 64, 0), ("de_cfg", "de_cfg", 64, 0),
    ("fcw", "fcw", 16, 0x40), ("fsw_raw", "fsw", 16, 0), ("ftop", "ftop", 8, 0), ("ftag", "ftag", 8, 0xFF),
    ("fop", "fop", 16, 0), ("fip", "fip", 64, 0), ("fdp", "fdp", 64, 0), ("fcs", "fcs", 16, 0), ("fds", "fds", 16, 0),
    ("mxcsr", "mxcsr", 32, 0x1F80),
    ("a20_mask", "a20_mask", 64, 0xFFFFFFFFFFFFFFFF),
    ("interrupt_shadow", "shadow", 32, 0), ("nmi_blocked", "nmi_blocked", 32, 0), ("dr6_pending", "dr6_pending", 64, 0),
    ("rf_icount", "rf_icount", 64, 0xFFFFFFFFFFFFFFFF),
    ("is_halted", "halted", 32, 0),
]
for _i in range(11):
    STATE.append((f"mtrr_fix{_i}", f"mtrr_fix[{_i}]", 64, 0))
for _i in range(16):
    STATE.append((f"mtrr_var{_i}", f"mtrr_var[{_i}]", 64, 0))


def generate() -> str:
    """Cython for state_regs.pyx: NAMES, reset, get and set by index."""
    out = ["NAMES = {", *(f'    "{n}": {i},' for i, (n, *_r) in enumerate(STATE)), "}", ""]
    out += ["cdef void table_reset(Cpu* c) noexcept nogil:"]
    out += [f"    c.{f} = <u{max(8, b)}>{v:#x}" for _n, f, b, v in STATE]
    out += ["", "", "cdef object state_fields(Cpu* c):", '    """(name, offset in the Cpu, bytes) of each."""', "    return ["]
    out += [f'        ("{n}", <size_t>&c.{f} - <size_t>c, {max(8, b) // 8}),' for n, f, b, _v in STATE]
    out += ["    ]", "", "", "cdef u64 table_get(Cpu* c, int i) noexcept nogil:"]
    out += [f"    {'el' if i else ''}if i == {i}:\n        return c.{f}" for i, (_n, f, _b, _v) in enumerate(STATE)]
    out += ["    return 0", "", "", "cdef void table_set(Cpu* c, int i, u64 v) noexcept nogil:"]
    out += [f"    {'el' if i else ''}if i == {i}:\n        c.{f} = <u{b}>v" for i, (_n, f, b, _v) in enumerate(STATE)]
    return "\n".join(out) + "\n"
