"""CPU models: the -cpu argument, and what CPUID answers for it."""
from __future__ import annotations

import pytest

from pcemu._core.cpumodel import (
    NO_SUBLEAF,
    CpuModel,
    definitions,
    help_text,
    list_flags,
    list_models,
    parse_cpu,
)
from pcemu._core.isa import features


def vendor_of(model: CpuModel) -> bytes:
    _, b, c, d = model.cpuid(0)
    return b"".join(x.to_bytes(4, "little") for x in (b, d, c))


def bit(model: CpuModel, name: str) -> int:
    """The feature's bit as CPUID shows it."""
    n = features.FLAG_NUMBER[name]
    word = features.WORDS[n >> 5]
    assert word.leaf is not None
    regs = model.cpuid(word.leaf, word.subleaf or 0)
    return regs[("eax", "ebx", "ecx", "edx").index(word.reg)] >> (n & 31) & 1


@pytest.mark.parametrize("name", ["486", "pentium", "pentium2", "pentium3", "athlon", "core2duo", "Conroe", "Penryn", "Nehalem",
                                  "Westmere", "SandyBridge", "IvyBridge", "Haswell", "qemu32", "qemu64", "kvm32", "kvm64",
                                  "max", "base", "n270", "coreduo", "phenom", "EPYC", "Opteron_G5", "Haswell-noTSX"])
def test_model_exists_and_answers_every_leaf(name: str) -> None:
    m = parse_cpu(name)
    assert m.cpuid(0)[0] == m.level
    for row in m.cpuid_table():
        assert all(0 <= x <= 0xFFFFFFFF for x in row)


def test_every_listed_model_parses() -> None:
    for name, _ in list_models():
        assert parse_cpu(name).name == name


def test_default_is_amd_with_everything_we_have() -> None:
    m = parse_cpu("max")
    assert vendor_of(m) == b"AuthenticAMD"
    assert m.cpuid(1)[0] == 0x00060FB1              # family 15, model 107, stepping 1
    assert bit(m, "sse4.2") and bit(m, "lm") and bit(m, "smap") and bit(m, "pcid") and bit(m, "invtsc")
    assert not bit(m, "avx512f") and not bit(m, "vmx") and not bit(m, "svm")
    # x86-64-v3, as the psABI has it
    for name in ("cx16", "lahf-lm", "popcnt", "sse4.2", "ssse3", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe",
                 "xsave"):
        assert bit(m, name)
    assert m.missing == ()


def test_mitigations_linux_need_not_run() -> None:
    """Architectural capabilities say so; IBRS always on replaces retpolines."""
    m = parse_cpu("max")
    assert bit(m, "arch-capabilities") and bit(m, "ibrs") and bit(m, "amd-no-ssb")
    assert m.arch_capabilities & 0x133 == 0x133     # RDCL_NO, IBRS_ALL, SSB_NO, MDS_NO, TAA_NO


def test_signature_with_extended_family() -> None:
    assert parse_cpu("Haswell").cpuid(1)[0] == 0x000306C4
    assert parse_cpu("phenom").cpuid(1)[0] == 0x00100F23
    assert parse_cpu("486").cpuid(1)[0] == 0x00000480


def test_plus_minus_and_on_off() -> None:
    assert bit(parse_cpu("qemu64,+popcnt"), "popcnt")
    assert not bit(parse_cpu("max,-popcnt"), "popcnt")
    assert not bit(parse_cpu("max,popcnt=off"), "popcnt")
    assert bit(parse_cpu("qemu64,sse4_1=on"), "sse4.1")
    assert bit(parse_cpu("qemu64,lzcnt"), "abm")
    assert not bit(parse_cpu("max,+popcnt,-popcnt"), "popcnt")


def test_taking_a_feature_away_takes_what_it_carries() -> None:
    m = parse_cpu("max,-xsave")
    assert not m.has("xsaveopt") and m.xcr0_mask == 0
    assert m.cpuid(0xD, 0) == (0, 0, 0, 0)
    assert m.missing == ()
    m = parse_cpu("max,-sse")
    assert not m.has("sse2")


def test_a_feature_we_lack_warns_by_name_and_goes_on() -> None:
    said: list[str] = []
    m = parse_cpu("qemu64,+avx512f", said.append)
    assert len(said) == 1 and "avx512f" in said[0]
    assert not bit(m, "avx512f")


def test_a_models_own_lacks_are_silent_unless_checked() -> None:
    said: list[str] = []
    m = parse_cpu("Haswell", said.append)
    assert not said and {"hle", "rtm"} <= set(m.missing)
    parse_cpu("Haswell,check", said.append)
    assert any("rtm" in s for s in said)


def test_enforce_makes_it_an_error() -> None:
    with pytest.raises(ValueError, match=r"hle.*rtm"):
        parse_cpu("Haswell,enforce")
    assert parse_cpu("Haswell,-hle,-rtm,-x2apic,enforce").missing == ()


def test_avx_goes_with_xsave_and_takes_its_extensions_along() -> None:
    for spec in ("max,-avx", "max,-xsave"):
        m = parse_cpu(spec)
        assert not any(m.has(f) for f in ("avx", "avx2", "fma", "f16c"))
    assert parse_cpu("max,-avx").cpuid(0xD, 0) == (3, 576, 576, 0)
    assert bit(parse_cpu("SandyBridge"), "avx") and not bit(parse_cpu("SandyBridge"), "avx2")
    assert not bit(parse_cpu("Nehalem"), "avx")


@pytest.mark.parametrize(("spec", "message"), [
    ("bogus", "unable to find CPU model 'bogus'"),
    ("Haswel", "did you mean 'Haswell'"),
    ("max,+popcntt", "did you mean 'popcnt'"),
    ("max,familly=6", "did you mean 'family'"),
    ("max,hv-relaxed", "hv-relaxed"),
    ("max,vendor=short", "vendor=short"),
    ("max,phys-bits=12", "phys-bits=12"),
    ("max,level=x", "level=x: not a number"),
    ("max,sse=maybe", "sse=maybe"),
    ("max,tsc-frequency=3G", "tsc-frequency"),
    ("host", "KVM"),
    ("max,model-id=" + "x" * 49, "48 bytes"),
])
def test_errors_name_the_option(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_cpu(spec)


def test_overrides() -> None:
    m = parse_cpu("max,vendor=GenuineIntel,family=6,model=60,stepping=3,level=7,model-id=A brand,phys-bits=44,tsc-frequency=1G")
    assert vendor_of(m) == b"GenuineIntel"
    assert m.cpuid(1)[0] == 0x000306C3 and m.cpuid(0)[0] == 7
    brand = b"".join(x.to_bytes(4, "little") for i in (2, 3, 4) for x in m.cpuid(0x80000000 + i))
    assert brand.rstrip(b"\0") == b"A brand"
    assert m.cpuid(0x80000008)[0] == 0x0000302C
    assert m.has("intel") and not m.has("amd")


def test_the_highest_leaf_rises_with_the_features() -> None:
    assert parse_cpu("pentium3").level == 3
    assert parse_cpu("pentium3,+bmi1").level == 7
    assert parse_cpu("qemu32,+invtsc").xlevel == 0x80000007


def test_out_of_range_leaves() -> None:
    intel, amd = parse_cpu("Nehalem"), parse_cpu("qemu64")
    assert intel.cpuid(0x20) == intel.cpuid(intel.level)
    assert intel.cpuid(0x80000020) == intel.cpuid(intel.level)
    assert amd.cpuid(0x20) == (0, 0, 0, 0)


def test_hypervisor_leaves() -> None:
    m = parse_cpu("max")
    top, b, c, d = m.cpuid(0x40000000)
    assert top == 0x40000010
    assert b"".join(x.to_bytes(4, "little") for x in (b, c, d)).rstrip(b"\0") == b"PCEMUPCEMU"
    assert m.cpuid(0x40000010)[:2] == (1_000_000, 1_000_000)
    assert bit(m, "hypervisor") and not bit(parse_cpu("max,-hypervisor"), "hypervisor")
    assert parse_cpu("max,-hypervisor").cpuid(0x40000000) == (0, 0, 0, 0)


def test_topology_and_xsave_leaves() -> None:
    m = parse_cpu("max")
    assert m.cpuid(0xB, 0) == (0, 1, 0x100, 0) and m.cpuid(0xB, 1) == (0, 1, 0x201, 0)
    assert m.cpuid(0xB, 5) == (0, 0, 5, 0)
    assert m.cpuid(0xD, 0) == (7, 576, 832, 0)      # XCR0 is 1 at power-on
    assert m.cpuid(0xD, 1)[0] & 7 == 7
    assert m.cpuid(0xD, 2) == (256, 576, 0, 0)
    assert parse_cpu("Haswell").cpuid(4, 0)[1] == 0x01C0003F
    assert m.cpuid(4, 0) == (0, 0, 0, 0)            # AMD answers cache questions in 0x80000005


def test_amd_repeats_leaf_1() -> None:
    m = parse_cpu("max")
    assert m.cpuid(0x80000001)[3] & 0x0183F3FF == m.cpuid(1)[3] & 0x0183F3FF
    assert parse_cpu("Haswell").cpuid(0x80000001)[3] & 0x0183F3FF == 0


def test_feature_words_are_the_numbers_of_the_instruction_table() -> None:
    m = parse_cpu("max")
    words = m.feature_words()
    assert len(words) == 8
    for name, n in features.FEATURE_NUMBER.items():
        flag = features.FLAG_NAME[n]
        assert (words[n >> 6] >> (n & 63) & 1) == (flag in m.features), name


def test_generations() -> None:
    m = parse_cpu("pentium3")
    assert m.has("i686") and m.has("sahf64") and not m.has("amd")
    assert not parse_cpu("486").has("i586")
    assert not parse_cpu("Opteron_G1").has("sahf64")    # long mode without LAHF there


def test_versions_and_aliases_share_features() -> None:
    assert parse_cpu("Haswell").features == parse_cpu("Haswell-v1").features
    assert parse_cpu("Haswell-noTSX").features == parse_cpu("Haswell-v2").features
    assert {d.vendor for d in definitions().values()} <= {"GenuineIntel", "AuthenticAMD", "HygonGenuine"}


def test_help_lists_models_and_flags() -> None:
    text = help_text()
    assert text.startswith("Available CPUs:\nx86 486                   (alias configured by machine type)\n")
    assert "\nx86 max                   " in text
    assert "Recognized CPUID flags:\n  3dnow 3dnowext" in text
    assert "avx512-vpopcntdq" in list_flags() and "i186" not in list_flags()
    assert all(len(line) <= 80 for line in text.split("flags:")[1].splitlines())


def test_table_has_no_duplicate_rows() -> None:
    rows = [(r[0], r[1]) for r in parse_cpu("Icelake-Server").cpuid_table()]
    assert len(rows) == len(set(rows)) and (7, 0) in rows and (1, NO_SUBLEAF) in rows
