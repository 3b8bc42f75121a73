"""Registers by name, and power-on reset: from the table in isa/state_table.py, plus what is not one C field."""
from libc.string cimport memset

from pcemu._core.access cimport *
from pcemu._core cimport modes, paging, tlb

include "gen/state_regs.pxi"

# aliases: 32-bit names, gdb's names
ALIASES = {"eax": "rax", "ecx": "rcx", "edx": "rdx", "ebx": "rbx", "esp": "rsp", "ebp": "rbp", "esi": "rsi", "edi": "rdi",
           "eip": "rip", "fs_base_msr": "fs_base", "gs_base_msr": "gs_base"}
SEG_INDEX = {"es": ES, "cs": CS, "ss": SS, "ds": DS, "fs": FS, "gs": GS, "ldt": LDTR, "tr": TR}


cdef void reset_cpu(Cpu* c, model):
    """The table's values; EDX holds the processor signature."""
    cdef int i
    table_reset(c)
    c.eflags = 2
    set_arith(c, 0)
    c.r[RDX] = model.signature
    c.arch_caps = model.arch_capabilities
    memset(&c.seg[SEG_FLAT], 0, sizeof(Seg))
    c.seg[SEG_FLAT].limit = 0xffffffff
    c.seg[SEG_FLAT].flags = DESC_P | DESC_S | DESC_RW | DESC_A
    c.r[R_ZERO] = 0
    for i in range(16):
        c.fpr[i] = 0
    memset(c.vec, 0, sizeof(c.vec))
    for i in range(40):
        c.mc_regs[i] = 0


cdef object get_reg(Cpu* c, str name):
    cdef int i
    cdef u32 f, lim
    name = ALIASES.get(name, name)
    if name in NAMES:
        return table_get(c, NAMES[name])
    if name in ("eflags", "rflags"):
        return get_eflags(c) | (F_RF if c.rf_icount == c.icount_end - <u64>c.budget else 0)
    if name.endswith("_attr"):          # the high dword of a descriptor: flags and the limit's upper four bits
        i = SEG_INDEX[name.removesuffix("_attr")]
        f = c.seg[i].flags & 0x00f0ff00
        lim = c.seg[i].limit
        return f | (((lim >> 28 if f & DESC_G else lim >> 16) & 15) << 16)
    if name.startswith("xmm"):
        i = int(name[3:])
        return int.from_bytes((<const unsigned char*>c.vec[i])[:16], "little")
    if name.startswith("ymm") and name.endswith("h"):       # the upper half, as gdb has it
        i = int(name[3:len(name) - 1])
        return int.from_bytes((<const unsigned char*>c.vec[i])[16:32], "little")
    if name.startswith("ymm"):
        i = int(name[3:])
        return int.from_bytes((<const unsigned char*>c.vec[i])[:32], "little")
    if name.startswith("fpr"):          # physical register: 80 bits
        i = int(name[3:])
        return <object>(c.fpr[2 * i + 1] & 0xffff) << 64 | c.fpr[2 * i]
    if name.startswith("st"):
        i = (c.ftop + int(name[2:])) & 7
        return <object>(c.fpr[2 * i + 1] & 0xffff) << 64 | c.fpr[2 * i]
    if name == "fsw":
        return (c.fsw & 0xc7ff) | (c.ftop & 7) << 11
    if name == "ftw":
        return c.ftag
    raise KeyError(name)


cdef void set_reg(Cpu* c, str name, value) except *:
    cdef int i
    cdef u64 v
    cdef bytes raw
    name = ALIASES.get(name, name)
    if name.startswith("ymm") and name.endswith("h"):
        raw = int(value).to_bytes(16, "little")
        for k in range(16):
            c.vec[int(name[3:len(name) - 1]) & 15][16 + k] = raw[k]
        return
    if name.startswith(("xmm", "ymm")):
        i = int(name[3:])
        raw = int(value).to_bytes(32, "little")
        for k in range(16 if name[0] == "x" else 32):
            c.vec[i & 15][k] = raw[k]
        return
    if name.startswith(("fpr", "st")) and name[len(name) - 1].isdigit():
        i = int(name[len(name) - 1]) if name.startswith("fpr") else (c.ftop + int(name[2:])) & 7
        c.fpr[2 * i] = <u64>(value & 0xffffffffffffffff)
        c.fpr[2 * i + 1] = <u64>(value >> 64 & 0xffff)
        return
    v = <u64>(int(value) & 0xffffffffffffffff)
    if name in NAMES:
        table_set(c, NAMES[name], v)
    elif name in ("eflags", "rflags"):
        c.eflags = (<u32>v & 0x3f7700 & ~<u32>F_RF) | 2
        set_arith(c, <u32>v)
        c.rf_icount = c.icount_end - <u64>c.budget if v & F_RF else ~<u64>0
    elif name == "fsw":
        c.fsw = <u16>(v & 0xc7ff)
        c.ftop = <u8>(v >> 11 & 7)
    elif name == "ftw":
        c.ftag = <u8>v
    elif name.endswith("_attr"):
        i = SEG_INDEX[name.removesuffix("_attr")]
        c.seg[i].flags = <u32>v & 0x00f0ff00
    else:
        raise KeyError(name)
    modes.update_mode(c)
    if name in ("cr0", "cr3", "cr4", "efer", "a20_mask", "dr0", "dr1", "dr2", "dr3", "dr7"):
        if c.cr4 & CR4_PAE and c.cr0 & CR0_PG and not c.efer & EFER_LMA:
            paging.load_pdptes(c, c.cr3)
        tlb.flush_tlb(c, True)
    else:
        tlb.bump_jc(c)
