"""CPU features: the names users write after ``-cpu``, and where CPUID shows them.

Each word is one CPUID output register; its names are listed from bit 0 upwards, ``-`` for a bit that has no name here. A
feature's number is ``32 * word + bit``: the index into the core's bit array, and what ``feat=`` in the instruction table
resolves to. The last word holds what CPUID has no bit for. Sources: SDM vol. 2 (CPUID), AMD APM vol. 3 appendix E.
"""
from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """One register of one CPUID leaf. ``leaf`` None: not visible through CPUID."""
    leaf: int | None
    subleaf: int | None
    reg: str
    names: tuple[str, ...]


def name_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _word(leaf: int | None, subleaf: int | None, reg: str, names: str) -> Word:
    bits = names.split()
    return Word(leaf, subleaf, reg, tuple(bits))


WORDS: tuple[Word, ...] = (
    _word(1, None, "edx", """
        fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov
        pat pse36 pn clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"""),
    _word(1, None, "ecx", """
        pni pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm
        - pcid dca sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave - avx f16c rdrand hypervisor"""),
    _word(7, 0, "ebx", """
        fsgsbase tsc-adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx -
        avx512f avx512dq rdseed adx smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni
        avx512bw avx512vl"""),
    _word(7, 0, "ecx", """
        - avx512vbmi umip pku - waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni avx512bitalg - avx512-vpopcntdq -
        la57 - - - - - rdpid - bus-lock-detect cldemote - movdiri movdir64b - sgxlc pks"""),
    _word(7, 0, "edx", """
        - - avx512-4vnniw avx512-4fmaps fsrm - - - avx512-vp2intersect - md-clear - - - serialize -
        tsx-ldtrk - - arch-lbr - - amx-bf16 avx512-fp16 amx-tile amx-int8 spec-ctrl stibp - arch-capabilities
        core-capability ssbd"""),
    _word(7, 1, "eax", "- - - - avx-vnni avx512-bf16"),
    _word(0x80000001, None, "edx", """
        - - - - - - - - - - - syscall - - - -
        - - - - nx - mmxext - - fxsr-opt pdpe1gb rdtscp - lm 3dnowext 3dnow"""),
    _word(0x80000001, None, "ecx", """
        lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp
        fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb"""),
    _word(0x80000007, None, "edx", "- - - - - - - - invtsc"),
    _word(0x80000008, None, "ebx", """
        clzero - xsaveerptr - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp
        - - - - - - - - amd-ssbd virt-ssbd amd-no-ssb"""),
    _word(0xD, 1, "eax", "xsaveopt xsavec xgetbv1 xsaves xfd"),
    _word(6, None, "eax", "- - arat"),
    _word(0x80000021, None, "eax", "- - lfence-always-serializing - - - null-sel-clr-base"),
    _word(None, None, "arch-capabilities", """
        rdctl-no ibrs-all rsba skip-l1dfl-vmentry ssb-no mds-no pschange-mc-no tsx-ctrl taa-no - - - - sbdr-ssdp-no
        fbsdp-no psdp-no - fb-clear - - bhi-no - - - pbrsb-no - gds-no rfds-no"""),
    _word(None, None, "spare", ""),
    # Not CPUID bits: instruction sets of a generation, and LAHF/SAHF, which LAHF_LM only governs in 64-bit mode.
    _word(None, None, "generation", "i186 i286 i386 i486 i586 i686 sahf64 nopl intel amd"),
)
W_ARCH_CAPABILITIES = 13
W_GENERATION = 15

# Other spellings QEMU takes; '_' instead of '-' is taken everywhere.
ALIASES: dict[str, str] = {
    "sse3": "pni", "sse4-1": "sse4.1", "sse4-2": "sse4.2", "pclmuldq": "pclmulqdq", "xd": "nx", "i64": "lm", "ffxsr": "fxsr-opt",
    "lzcnt": "abm", "osxsave": "xsave", "sha": "sha-ni", "svm-lock": "svm",
}

# Names QEMU knows whose CPUID words exist only with hardware virtualisation under or inside the guest, or on VIA processors.
NEVER: frozenset[str] = name_set("""
    ace2 ace2-en phe phe-en pmm pmm-en xcrypt xcrypt-en xstore xstore-en
    kvmclock kvm-asyncpf kvm-asyncpf-int kvm-hint-dedicated kvm-mmu kvm-msi-ext-dest-id kvm-nopiodelay kvm-poll-control
    kvm-pv-eoi kvm-pv-ipi kvm-pv-sched-yield kvm-pv-tlb-flush kvm-pv-unhalt kvm-steal-time kvmclock-stable-bit
    avic decodeassists flushbyasid lbrv npt nrip-save pause-filter pfthreshold svme-addr-chk tsc-scale v-vmsave-vmload vgif
    vmcb-clean full-width-write sgx1 sgx2 sgx-debug sgx-exinfo sgx-kss sgx-mode64 sgx-provisionkey sgx-tokenkey
    split-lock-detect intel-pt-lip
""")

# name -> number, with QEMU's spelling
FLAG_NUMBER: dict[str, int] = {
    name: 32 * w + bit
    for w, word in enumerate(WORDS) for bit, name in enumerate(word.names) if name != "-"
}
# the same, as `feat=` of the instruction table and the core's FEAT_ constants spell them
FEATURE_NUMBER: dict[str, int] = {name.replace("-", "_").replace(".", "_"): n for name, n in FLAG_NUMBER.items()}
FLAG_NAME: dict[int, str] = {n: name for name, n in FLAG_NUMBER.items()}

# What this core executes. A model's other features are left out of CPUID, and what they enable raises #UD.
IMPLEMENTED: frozenset[str] = name_set("""
    fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush acpi mmx fxsr sse sse2 ss
    pni pclmulqdq monitor ssse3 cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave rdrand hypervisor
    fsgsbase tsc-adjust bmi1 smep bmi2 erms invpcid rdseed adx smap clflushopt clwb
    umip rdpid fsrm spec-ctrl stibp ssbd arch-capabilities
    syscall nx mmxext pdpe1gb rdtscp lm
    lahf-lm abm misalignsse 3dnowprefetch cr8legacy
    invtsc xsaveerptr wbnoinvd ibpb ibrs amd-stibp amd-ssbd amd-no-ssb
    xsaveopt xsavec xgetbv1 arat avx avx2 fma f16c
    rdctl-no ibrs-all skip-l1dfl-vmentry ssb-no mds-no pschange-mc-no taa-no sbdr-ssdp-no fbsdp-no psdp-no bhi-no pbrsb-no
    gds-no rfds-no
    i186 i286 i386 i486 i586 i686 sahf64 nopl intel amd
""")
assert set(FLAG_NUMBER) >= IMPLEMENTED

# A feature goes with what it is built on: `-xsave` takes xsaveopt along.
REQUIRES: dict[str, str] = {
    "xsaveopt": "xsave", "xsavec": "xsave", "xgetbv1": "xsave", "xsaves": "xsave", "avx": "xsave", "avx2": "avx", "fma": "avx",
    "f16c": "avx", "rdctl-no": "arch-capabilities", "ibrs-all": "arch-capabilities", "ssb-no": "arch-capabilities",
    "mds-no": "arch-capabilities", "taa-no": "arch-capabilities", "pcid": "lm", "pdpe1gb": "lm", "lahf-lm": "lm",
    "fxsr-opt": "fxsr", "sse": "fxsr", "sse2": "sse", "mtrr": "msr", "mca": "mce", "rdtscp": "tsc", "tsc-deadline": "apic",
}



def is_cpuid_name(name: str) -> bool:
    """Is this a flag a user may name (and ``-cpu help`` lists)?"""
    return name in NEVER or (name in FLAG_NUMBER and FLAG_NUMBER[name] < 32 * W_GENERATION)


def canonical(name: str) -> str:
    """The listed spelling of a flag as a user wrote it, known or not."""
    n = name.replace("_", "-")
    return ALIASES.get(n, n)
