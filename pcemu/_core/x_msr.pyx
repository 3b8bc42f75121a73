# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""RDMSR and WRMSR: one table of model-specific registers (SDM vol. 4; AMD APM vol. 2, appendix A).

A row says where the register lives in the Cpu, which bits can be set (others raise #GP) and how it behaves. A number that is
not in the table goes to the machine's msr_hook; what that does not know raises #GP and is counted in Cpu.n_bad_msr.
"""
from libc.stddef cimport size_t

from pcemu._core.access cimport *
from pcemu._core.hooks cimport apic_base_written, other_msr, tsc_deadline_access
from pcemu._core.segments cimport canonical
from pcemu._core.sysop cimport *
from pcemu._core cimport modes, tlb, vtime

include "gen/features.pxi"

cdef enum:
    B_FIELD = 0         # read and written; bits outside mask must be 0
    B_ADDR = 1          # ... and the value canonical
    B_CONST = 2         # reads mask, writes raise #GP
    B_IGNORE = 3        # reads mask, writes are dropped
    B_WRITE = 4         # write-only, without effect
    B_TSC = 5
    B_TSC_ADJUST = 6
    B_TSC_DEADLINE = 7
    B_APIC_BASE = 8
    B_EFER = 9
    B_PAT = 10
    B_MTRR_VAR = 11
    B_MCG_CTL = 12
    B_MC = 13           # machine-check bank registers: CTL, STATUS, ADDR, MISC
    B_RO_FIELD = 14
    B_UCODE = 15
    B_NONE = 0xFFFF     # no feature needed

cdef struct Msr:
    u32 number
    u32 kind
    size_t off          # of the field in the Cpu
    u64 mask
    u32 feat
    u32 feat2           # ... or this one

cdef enum:
    N_MSRS = 256
    HASH = 512
    MC_BANKS = 10

cdef Msr msrs[N_MSRS]
cdef u16 msr_hash[HASH]         # index + 1
cdef u32 n_msrs


cdef inline u32 hash_of(u32 n) noexcept nogil:
    return ((n * 0x9E3779B1U) >> 23) & (HASH - 1)


def _add(u32 number, u32 kind, size_t off, u64 mask, u32 feat=B_NONE, u32 feat2=B_NONE):
    global n_msrs
    cdef u32 h = hash_of(number)
    assert n_msrs < N_MSRS
    msrs[n_msrs] = Msr(number, kind, off, mask, feat, feat2)
    n_msrs += 1
    while msr_hash[h]:
        assert msrs[msr_hash[h] - 1].number != number
        h = (h + 1) & (HASH - 1)
    msr_hash[h] = <u16>n_msrs


def _fill():
    cdef Cpu* z = NULL
    cdef u64 every = ~<u64>0
    cdef u64 low = 0xFFFFFFFFU
    cdef u32 i
    for row in (
        # number, behaviour, field, settable bits (or constant), feature
        (0x000, B_IGNORE, 0, 0, FEAT_MCE),                                  # P5_MC_ADDR
        (0x001, B_IGNORE, 0, 0, FEAT_MCE),                                  # P5_MC_TYPE
        (0x010, B_TSC, 0, every, FEAT_TSC),
        (0x017, B_CONST, 0, 0, FEAT_INTEL),                                 # PLATFORM_ID
        (0x01B, B_APIC_BASE, <size_t>&z.apic_base, 0, FEAT_APIC),
        (0x02A, B_IGNORE, 0, 0, FEAT_INTEL),                                # EBL_CR_POWERON
        (0x034, B_CONST, 0, 0, FEAT_INTEL),                                 # SMI_COUNT
        (0x03A, B_CONST, 0, 1, FEAT_INTEL),                                 # FEATURE_CONTROL: locked, nothing enabled
        (0x03B, B_TSC_ADJUST, <size_t>&z.tsc_adjust, every, FEAT_TSC_ADJUST),
        (0x048, B_FIELD, <size_t>&z.spec_ctrl, 7, FEAT_SPEC_CTRL, FEAT_IBRS),
        (0x049, B_WRITE, 0, 1, FEAT_SPEC_CTRL, FEAT_IBPB),                  # PRED_CMD
        (0x079, B_WRITE, 0, every, FEAT_INTEL),                             # BIOS_UPDT_TRIG
        (0x08B, B_UCODE, 0, 0, FEAT_INTEL, FEAT_AMD),                       # BIOS_SIGN_ID, PATCH_LEVEL: microcode revision
        (0x0FE, B_CONST, 0, 0x508, FEAT_MTRR),                              # MTRRCAP: 8 variable, fixed, WC
        (0x10A, B_RO_FIELD, <size_t>&z.arch_caps, 0, FEAT_ARCH_CAPABILITIES),
        (0x174, B_FIELD, <size_t>&z.sysenter_cs, low, FEAT_SEP),
        (0x175, B_ADDR, <size_t>&z.sysenter_esp, every, FEAT_SEP),
        (0x176, B_ADDR, <size_t>&z.sysenter_eip, every, FEAT_SEP),
        (0x179, B_CONST, 0, 0x100 | MC_BANKS, FEAT_MCA),                    # MCG_CAP: MCG_CTL is there
        (0x17A, B_FIELD, <size_t>&z.mcg_status, 7, FEAT_MCA),
        (0x17B, B_MCG_CTL, <size_t>&z.msr_scratch[0], 0, FEAT_MCA),
        (0x1A0, B_FIELD, <size_t>&z.misc_enable, every, B_NONE),
        (0x1D9, B_FIELD, <size_t>&z.debugctl, 0xDFC3, FEAT_I686),
        (0x1DB, B_CONST, 0, 0, FEAT_I686),                                  # last branch and exception records: none taken
        (0x1DC, B_CONST, 0, 0, FEAT_I686),
        (0x1DD, B_CONST, 0, 0, FEAT_I686),
        (0x1DE, B_CONST, 0, 0, FEAT_I686),
        (0x277, B_PAT, <size_t>&z.pat, every, FEAT_PAT),
        (0x2FF, B_FIELD, <size_t>&z.mtrr_def, 0xCFF, FEAT_MTRR),
        (0x6E0, B_TSC_DEADLINE, 0, every, FEAT_TSC_DEADLINE),
        (0xDA0, B_FIELD, <size_t>&z.xss, 0, FEAT_XSAVES),
        (0xC0000080U, B_EFER, <size_t>&z.efer, 0, FEAT_SYSCALL, FEAT_NX),
        (0xC0000081U, B_FIELD, <size_t>&z.star, every, FEAT_SYSCALL),
        (0xC0000082U, B_ADDR, <size_t>&z.lstar, every, FEAT_LM),
        (0xC0000083U, B_ADDR, <size_t>&z.cstar, every, FEAT_LM),
        (0xC0000084U, B_FIELD, <size_t>&z.sfmask, low, FEAT_LM),
        (0xC0000100U, B_ADDR, <size_t>&z.seg[FS].base, every, FEAT_LM),
        (0xC0000101U, B_ADDR, <size_t>&z.seg[GS].base, every, FEAT_LM),
        (0xC0000102U, B_ADDR, <size_t>&z.kernel_gs_base, every, FEAT_LM),
        (0xC0000103U, B_FIELD, <size_t>&z.tsc_aux, low, FEAT_RDTSCP, FEAT_RDPID),
        # AMD K8 and later
        (0xC0010010U, B_FIELD, <size_t>&z.syscfg, every, FEAT_AMD),         # SYSCFG
        (0xC0010015U, B_FIELD, <size_t>&z.hwcr, every, FEAT_AMD),           # HWCR
        (0xC0010016U, B_IGNORE, 0, 0, FEAT_AMD),                            # IORR bases and masks
        (0xC0010017U, B_IGNORE, 0, 0, FEAT_AMD),
        (0xC0010018U, B_IGNORE, 0, 0, FEAT_AMD),
        (0xC0010019U, B_IGNORE, 0, 0, FEAT_AMD),
        (0xC001001AU, B_IGNORE, 0, 0, FEAT_AMD),                            # TOP_MEM
        (0xC001001DU, B_IGNORE, 0, 0, FEAT_AMD),                            # TOP_MEM2
        (0xC001001FU, B_FIELD, <size_t>&z.msr_scratch[1], every, FEAT_AMD),  # NB_CFG
        (0xC0010020U, B_WRITE, 0, every, FEAT_AMD),                         # microcode patch loader
        (0xC0010055U, B_IGNORE, 0, 0, FEAT_AMD),                            # INT_PENDING_MSG: C1E off
        (0xC0011029U, B_FIELD, <size_t>&z.de_cfg, every, FEAT_AMD),         # DE_CFG: LFENCE serialises anyway
        (0xC001102AU, B_FIELD, <size_t>&z.msr_scratch[2], every, FEAT_AMD),  # BU_CFG2
    ):
        _add(*row)
    for i in range(8):                      # performance counters that read 0, by which a guest knows they do not count
        _add(0xC0010000U + i, B_IGNORE, 0, 0, FEAT_AMD)
    for i in range(8):
        _add(0x200 + 2 * i, B_MTRR_VAR, <size_t>&z.mtrr_var[2 * i], 0xFF, FEAT_MTRR)
        _add(0x201 + 2 * i, B_MTRR_VAR, <size_t>&z.mtrr_var[2 * i + 1], 0x800, FEAT_MTRR)
    for i, number in enumerate((0x250, 0x258, 0x259, *range(0x268, 0x270))):
        _add(number, B_FIELD, <size_t>&z.mtrr_fix[i], every, FEAT_MTRR)
    for i in range(4 * MC_BANKS):
        _add(0x400 + i, B_MC, <size_t>&z.mc_regs[i], i & 3, FEAT_MCA)


_fill()


def msr_numbers():
    """Every MSR of the table (tests)."""
    return [msrs[i].number for i in range(n_msrs)]


cdef Msr* find(Cpu* c, u32 number) noexcept nogil:
    cdef u32 h = hash_of(number)
    cdef Msr* m
    while msr_hash[h]:
        m = &msrs[msr_hash[h] - 1]
        if m.number == number:
            if m.feat == B_NONE or has_feat(c, m.feat) or (m.feat2 != B_NONE and has_feat(c, m.feat2)):
                return m
            return NULL
        h = (h + 1) & (HASH - 1)
    return NULL


cdef bint bad(Cpu* c, u32 number, bint write) noexcept nogil:
    c.n_bad_msr += 1
    c.bad_msr = number
    c.bad_msr_write = write
    set_exc_err(c, EXC_GP, 0)
    return 0


cdef inline bint gp(Cpu* c) noexcept nogil:
    set_exc_err(c, EXC_GP, 0)
    return 0


cdef bint read_msr(Cpu* c, u32 number, u64* v) noexcept nogil:
    cdef Msr* m = find(c, number)
    cdef bint known = 0
    if m is NULL:
        if not other_msr(c, number, 0, v, &known):
            return 0
        return known or bad(c, number, 0)
    if m.kind == B_CONST or m.kind == B_IGNORE:
        v[0] = m.mask
    elif m.kind == B_TSC:
        v[0] = vtime.read_tsc(c)
    elif m.kind == B_TSC_DEADLINE:
        return tsc_deadline_access(c, 0, v)
    elif m.kind == B_WRITE:
        return gp(c)
    elif m.kind == B_UCODE:
        v[0] = 0x01000065 if has_feat(c, FEAT_AMD) else <u64>1 << 32
    else:
        v[0] = (<u64*>(<u8*>c + m.off))[0]
    return 1


cdef bint write_efer(Cpu* c, u64 v) noexcept nogil:
    """EFER: LMA is read-only, LME cannot change while paging is on (SDM vol. 3, 2.2.1)."""
    cdef u64 allowed = EFER_LMA
    cdef u64 changed
    if has_feat(c, FEAT_SYSCALL):
        allowed |= EFER_SCE
    if has_feat(c, FEAT_LM):
        allowed |= EFER_LME
    if has_feat(c, FEAT_NX):
        allowed |= EFER_NXE
    changed = (v ^ c.efer) & ~<u64>EFER_LMA
    if v & ~allowed or (changed & EFER_LME and c.cr0 & CR0_PG):
        return gp(c)
    c.efer = (v & ~<u64>EFER_LMA) | (c.efer & EFER_LMA)
    if changed & EFER_NXE:
        tlb.flush_tlb(c, 1)
    modes.update_mode(c)
    return 1


cdef bint valid_types(u64 v) noexcept nogil:
    """PAT: eight memory types out of UC WC WT WP WB UC- (SDM vol. 3, 11.12.2)."""
    cdef int _i
    for _i in range(8):
        if v & 0xFF > 7 or v & 0xFF == 2 or v & 0xFF == 3:
            return 0
        v >>= 8
    return 1


cdef bint write_msr(Cpu* c, u32 number, u64 v) noexcept nogil:
    cdef Msr* m = find(c, number)
    cdef bint known = 0
    cdef u64* p
    cdef u64 d
    if m is NULL:
        if not other_msr(c, number, 1, &v, &known):
            return 0
        return known or bad(c, number, 1)
    p = <u64*>(<u8*>c + m.off)
    if m.kind == B_FIELD:
        if v & ~m.mask:
            return gp(c)
        p[0] = v
    elif m.kind == B_ADDR:
        if not canonical(v):
            return gp(c)
        p[0] = v
    elif m.kind == B_IGNORE or m.kind == B_UCODE:
        return 1
    elif m.kind == B_WRITE:
        return gp(c) if v & ~m.mask else 1
    elif m.kind == B_TSC:
        d = v - vtime.read_tsc(c)
        c.tsc_offset += d
        c.tsc_adjust += d
    elif m.kind == B_TSC_ADJUST:
        c.tsc_offset += v - c.tsc_adjust
        c.tsc_adjust = v
    elif m.kind == B_TSC_DEADLINE:
        return tsc_deadline_access(c, 1, &v)
    elif m.kind == B_APIC_BASE:
        # the boot-processor bit stays; out of x2APIC mode it goes only through "off", into it not from there (SDM vol. 3, 11.12.5)
        if v & ~((c.phys_mask & ~<u64>0xFFF) | (0xD00 if has_feat(c, FEAT_X2APIC) else 0x900)):
            return gp(c)
        if v & 0xC00 == 0x400 or p[0] & 0xC00 == 0xC00 and v & 0xC00 == 0x800 or not p[0] & 0x800 and v & 0x400:
            return gp(c)
        p[0] = (v & ~<u64>0x100) | (p[0] & 0x100)
        return apic_base_written(c)
    elif m.kind == B_EFER:
        return write_efer(c, v)
    elif m.kind == B_PAT:
        if not valid_types(v):
            return gp(c)
        p[0] = v
    elif m.kind == B_MTRR_VAR:
        if v & ~((c.phys_mask & ~<u64>0xFFF) | m.mask):
            return gp(c)
        p[0] = v
    elif m.kind == B_MCG_CTL:
        if v != 0 and v != ~<u64>0:
            return gp(c)
        p[0] = v
    elif m.kind == B_MC:
        # a status can only be cleared; CTL takes all ones or zeros, but for bits 0 and 10 (Linux clears one on a K8)
        if (m.mask == 0 and v and (v | 0x401) != ~<u64>0) or (m.mask == 1 and v):
            return gp(c)
        p[0] = v
    else:
        return gp(c)
    return 1


cdef Op* op_rdmsr(Cpu* c, Op* op) noexcept nogil:
    cdef u64 v = 0
    if not read_msr(c, <u32>c.r[RCX], &v):
        return fault(c, op)
    c.r[RAX] = <u32>v
    c.r[RDX] = v >> 32
    return done(c, op, c.mode)


cdef Op* op_wrmsr(Cpu* c, Op* op) noexcept nogil:
    cdef u32 mode = c.mode
    cdef u64 key = c.jckey
    if not write_msr(c, <u32>c.r[RCX], <u32>c.r[RAX] | (c.r[RDX] << 32)):
        return fault(c, op)
    if c.jckey != key:                  # translations changed: no chain
        return leave(c, next_pc(c, op))
    return done(c, op, mode)


include "gen/x_msr_reg.pxi"
