"""CPU models: from ``-cpu model,+flag,option=value`` to what CPUID answers (SDM vol. 2, CPUID; AMD APM vol. 3, appendix E).

The same text gives the same processor on every host. A feature of a model that the core does not execute is left out of
CPUID; asking for it by name warns, and ``enforce`` makes it an error.
"""
from __future__ import annotations

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from pcemu._core.isa import features as feat
from pcemu._core.isa import models

TSC_HZ = 1_000_000_000
NO_SUBLEAF = 0xFFFFFFFF
MAX_MODEL_ID = 48

# Leaf 1 EDX bits that AMD repeats in leaf 0x80000001 EDX (APM vol. 3, E.4.1)
AMD_ALIAS_MASK = 0x0183F3FF
# The XSAVE area: x87 and SSE state and its header, then the upper halves of the YMM registers (SDM vol. 1, 13.4)
XCR0_LEGACY, XCR0_AVX = 0x3, 0x4
XSAVE_LEGACY_SIZE, XSAVE_AVX_SIZE = 576, 256

MAX_LACKS = feat.name_set("spec-ctrl stibp ssbd ibpb amd-stibp amd-ssbd skip-l1dfl-vmentry")

Regs = tuple[int, int, int, int]
REGS = ("eax", "ebx", "ecx", "edx")


class CpuModelError(ValueError):
    """The ``-cpu`` argument cannot be used; the text is the whole message."""


@dataclass(frozen=True)
class ModelDef:
    """One line of the model table."""
    name: str
    vendor: str
    family: int
    model: int
    stepping: int
    level: int
    xlevel: int
    model_id: str
    features: frozenset[str]


@dataclass(frozen=True)
class CpuModel(ModelDef):
    """A processor as a guest sees it."""
    phys_bits: int
    missing: tuple[str, ...] = ()
    virt_bits: int = 48
    tsc_hz: int = TSC_HZ

    def has(self, name: str) -> bool:
        return feat.canonical(name) in self.features

    @property
    def signature(self) -> int:
        """Leaf 1 EAX: family, model, stepping."""
        fam, ext = (self.family, 0) if self.family < 15 else (15, self.family - 15)
        return ext << 20 | (self.model >> 4) << 16 | fam << 8 | (self.model & 15) << 4 | self.stepping

    @property
    def xcr0_mask(self) -> int:
        """XCR0 bits that can be set."""
        if "xsave" not in self.features:
            return 0
        return XCR0_LEGACY | (XCR0_AVX if "avx" in self.features else 0)

    @property
    def arch_capabilities(self) -> int:
        """MSR 0x10a."""
        return self._word(feat.W_ARCH_CAPABILITIES)

    def feature_words(self) -> list[int]:
        """The core's bit array: feature number n is bit n % 64 of word n // 64."""
        words = [0] * 8
        for name in self.features:
            n = feat.FLAG_NUMBER[name]
            words[n >> 6] |= 1 << (n & 63)
        return words

    def _word(self, index: int) -> int:
        return sum(1 << bit for bit, name in enumerate(feat.WORDS[index].names) if name != "-" and name in self.features)

    def _vendor_regs(self) -> tuple[int, int, int]:
        b = self.vendor.encode().ljust(12, b"\0")
        ebx, edx, ecx = (int.from_bytes(b[i:i + 4], "little") for i in (0, 4, 8))
        return ebx, ecx, edx

    def cpuid_table(self, apic_id: int = 0) -> list[tuple[int, int, int, int, int, int]]:
        """Every leaf as (leaf, subleaf or NO_SUBLEAF, eax, ebx, ecx, edx). The core fills in what varies as the guest runs:
        OSXSAVE, the APIC bit and the size of the enabled XSAVE state."""
        t: dict[tuple[int, int], list[int]] = {}

        def put(leaf: int, regs: Regs, sub: int = NO_SUBLEAF) -> None:
            t[leaf, sub] = list(regs)

        amd = "amd" in self.features
        vb, vc, vd = self._vendor_regs()
        put(0, (self.level, vb, vc, vd))
        put(1, (self.signature, apic_id << 24 | (8 << 8 if "clflush" in self.features else 0), 0, 0))
        if not amd:
            # 32 KiB 8-way L1 caches, 2 MiB 8-way L2 (SDM table 3-12), and the same in leaf 4 with a 4 MiB 16-way L2
            put(2, (0x00000001, 0, 0, 0x002C307D))
            put(4, (0x00000121, 0x01C0003F, 0x0000003F, 1), 0)
            put(4, (0x00000122, 0x01C0003F, 0x0000003F, 1), 1)
            put(4, (0x00000143, 0x03C0003F, 0x00000FFF, 1), 2)
        put(5, (0, 0, 3 if "monitor" in self.features else 0, 0))
        put(6, (0, 0, 0, 0))
        put(7, (1 if self._word(5) else 0, 0, 0, 0), 0)
        put(7, (0, 0, 0, 0), 1)
        put(0xB, (0, 1, 0x100, apic_id), 0)
        put(0xB, (0, 1, 0x201, apic_id), 1)
        if "xsave" in self.features:
            avx = "avx" in self.features
            # what XCR0 admits at power-on needs the legacy region and the header
            put(0xD, (self.xcr0_mask, XSAVE_LEGACY_SIZE, XSAVE_LEGACY_SIZE + avx * XSAVE_AVX_SIZE, 0), 0)
            put(0xD, (0, XSAVE_LEGACY_SIZE, 0, 0), 1)
            if avx:
                put(0xD, (XSAVE_AVX_SIZE, XSAVE_LEGACY_SIZE, 0, 0), 2)
        if self.level >= 0x15:
            put(0x15, (1, 1, self.tsc_hz, 0))
        if self.level >= 0x16:
            put(0x16, (self.tsc_hz // 1_000_000, self.tsc_hz // 1_000_000, 100, 0))
        if "hypervisor" in self.features:
            sig = [int.from_bytes(b"PCEMUPCEMU\0\0"[i:i + 4], "little") for i in (0, 4, 8)]
            put(0x40000000, (0x40000010, sig[0], sig[1], sig[2]))
            # frequencies of the TSC and of the local APIC's timer, in kHz
            put(0x40000010, (self.tsc_hz // 1000, 1_000_000, 0, 0))
        if self.xlevel:
            put(0x80000000, (self.xlevel, *((vb, vc, vd) if amd else (0, 0, 0))))
            put(0x80000001, (self.signature if amd else 0, 0, 0, 0))
            brand = self.model_id.encode().ljust(MAX_MODEL_ID, b"\0")
            w = [int.from_bytes(brand[i:i + 4], "little") for i in range(0, MAX_MODEL_ID, 4)]
            for i in range(3):
                put(0x80000002 + i, (w[4 * i], w[4 * i + 1], w[4 * i + 2], w[4 * i + 3]))
            if amd:
                # 64 KiB 2-way L1 caches, 512 KiB 16-way L2, fully associative 256-entry TLBs (APM vol. 3, E.4.4)
                put(0x80000005, (0x01FF01FF, 0x01FF01FF, 0x40020140, 0x40020140))
                put(0x80000006, (0, 0x42004200, 0x02008140, 0))
            else:
                put(0x80000006, (0, 0, 0x10008040, 0))
            put(0x80000007, (0, 0, 0, 0))
            lin = self.virt_bits if "lm" in self.features else 32
            put(0x80000008, (self.phys_bits | lin << 8, 0, 0, 0))
            put(0x80000021, (0, 0, 0, 0))
        for i, word in enumerate(feat.WORDS):
            if word.leaf is None:
                continue
            key = (word.leaf, NO_SUBLEAF if word.subleaf is None else word.subleaf)
            if key in t:
                t[key][REGS.index(word.reg)] |= self._word(i)
        if amd and self.xlevel:
            t[0x80000001, NO_SUBLEAF][3] |= t[1, NO_SUBLEAF][3] & AMD_ALIAS_MASK
        return [(leaf, sub, regs[0], regs[1], regs[2], regs[3]) for (leaf, sub), regs in sorted(t.items())
                if leaf <= (self.level if leaf < 0x40000000 else self.xlevel if leaf >= 0x80000000 else leaf)]

    def cpuid(self, leaf: int, subleaf: int = 0) -> Regs:
        """What CPUID answers before the guest has touched CR4, XCR0 or the APIC base."""
        table = {(r[0], r[1]): r[2:] for r in self.cpuid_table()}
        if leaf < 0x40000000:
            known = leaf <= self.level
        elif leaf < 0x50000000:
            known = "hypervisor" in self.features
        else:
            known = 0x80000000 <= leaf <= self.xlevel
        if not known:
            if "amd" in self.features:
                return (0, 0, 0, 0)
            leaf = self.level           # SDM: out of range answers as the highest basic leaf
        for key in ((leaf, NO_SUBLEAF), (leaf, subleaf)):
            if key in table:
                return table[key]
        if leaf == 0xB:                 # the level number is echoed, the APIC id always there
            return (0, 0, subleaf & 0xFF, 0)
        return (0, 0, 0, 0)


# ------------------------------------------------------------------------------------------------ the table

@lru_cache(maxsize=1)
def definitions() -> dict[str, ModelDef]:
    """Versioned model name -> definition, in the table's order."""
    defs: dict[str, ModelDef] = {}
    lines: list[str] = []
    for line in models.MODELS.strip().splitlines():
        if line.startswith(" "):
            lines[-1] += line
        else:
            lines.append(line)
    for line in lines:
        name, base, ident, model_id, changes = (c.strip() for c in line.split("|"))
        vendor, fms, level, xlevel = ident.split()
        family, model, stepping = map(int, fms.split("."))
        fs = set(defs[base].features) if base != "-" else set()
        for ch in changes.split():
            (fs.add if ch[0] == "+" else fs.discard)(ch[1:])
        defs[name] = ModelDef(name, models.VENDORS[vendor], family, model, stepping, int(level, 16), int(xlevel, 16),
                              model_id, frozenset(fs))
    implemented = {f for f in feat.IMPLEMENTED - MAX_LACKS if feat.is_cpuid_name(f)}
    # Family 15, model 107, as QEMU's: Linux runs none of the Meltdown, MDS or SSB mitigations on it, and the
    # architectural capabilities (with IBRS always on) keep it from compiling its indirect calls into retpolines.
    defs["max"] = ModelDef("max", "AuthenticAMD", 15, 107, 1, 0xD, 0x80000008, "pcemu virtual CPU", frozenset(implemented))
    defs["base"] = ModelDef("base", "GenuineIntel", 6, 0, 0, 1, 0, "", frozenset())
    return defs


def _resolve(name: str) -> str | None:
    defs = definitions()
    name = models.ALIASES.get(name, name)
    return name if name in defs else f"{name}-v1" if f"{name}-v1" in defs else None


def list_models() -> list[tuple[str, str]]:
    """(name, description) of everything ``-cpu`` takes, in the order ``-cpu help`` prints it."""
    defs = definitions()
    out = [(n, d.model_id) for n, d in defs.items() if n not in ("max", "base")]
    out += [(n[:-3], "(alias configured by machine type)") for n in defs if n.endswith("-v1")]
    out += [(a, f"(alias of {n})") for a, n in models.ALIASES.items()]
    out.sort()
    return out + [("base", "base CPU model type with no features enabled"),
                  ("max", "Enables all features this emulator implements")]


def list_flags() -> list[str]:
    """Every feature flag known by name, implemented or not."""
    return sorted(n for n in set(feat.FLAG_NUMBER) | feat.NEVER if feat.is_cpuid_name(n))


def help_text() -> str:
    """What ``-cpu help`` prints."""
    lines = ["Available CPUs:"] + [f"x86 {name:<20}  {desc}".rstrip() for name, desc in list_models()]
    flags = textwrap.wrap(" ".join(list_flags()), 72, break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines + ["", "Recognized CPUID flags:"] + ["  " + line for line in flags]) + "\n"


# ------------------------------------------------------------------------------------------------ parsing

# Options QEMU has that change nothing here, because what they govern does not exist: a warning, unless what they say is so
# anyway (behind the '=').
_INERT = """
    migratable pmu=off host-cache-info=off kvm=off tcg-cpuid l3-cache legacy-cache full-cpuid-auto-level fill-mtrr-mask
    vmware-cpuid-freq=off cpuid-0xb x-intel-pt-auto-level x-migrate-smi-count x-vendor-cpuid-only x-force-features
    x-consistent-cache kvm-no-smi-migration host-phys-bits=off core-id=0 socket-id=0 die-id=0 thread-id=0 node-id=0 apic-id=0
    ucode-rev start-powered-off=off
"""
INERT: dict[str, str] = {name: so for name, _, so in (word.partition("=") for word in _INERT.split())}
NUMBERS = ("family", "model", "stepping", "level", "xlevel", "min-level", "min-xlevel", "xlevel2", "min-xlevel2", "level-func7",
           "phys-bits", "tsc-frequency", "host-phys-bits-limit")
OPTIONS = (*NUMBERS, "vendor", "model-id", "check", "enforce")

_ON = {"on": True, "true": True, "yes": True, "y": True, "off": False, "false": False, "no": False, "n": False}


def _close(name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(repr(c) for c in close)}?)" if close else ""


def _bool(name: str, value: str) -> bool:
    if value not in _ON:
        raise CpuModelError(f"-cpu: {name}={value}: expected 'on' or 'off'")
    return _ON[value]


def _number(name: str, value: str) -> int:
    mult = 1
    text = value
    if name == "tsc-frequency" and value[-1:].upper() in "KMG" and value:
        mult = {"K": 1000, "M": 1000_000, "G": 1000_000_000}[value[-1].upper()]
        text = value[:-1]
    try:
        n = int(text, 0) * mult if mult == 1 else round(float(text) * mult)
    except ValueError:
        raise CpuModelError(f"-cpu: {name}={value}: not a number") from None
    if n < 0:
        raise CpuModelError(f"-cpu: {name}={value}: must not be negative")
    return n


def _unknown(name: str) -> CpuModelError:
    if name.startswith("hv-"):
        return CpuModelError(f"-cpu: {name}: Hyper-V enlightenments are not implemented")
    return CpuModelError(f"-cpu: no feature or option '{name}'{_close(name, list_flags() + list(OPTIONS))}")


def _describe(name: str) -> str:
    """``CPUID[7].EBX.avx2 [bit 5]``, as warnings name a feature."""
    n = feat.FLAG_NUMBER.get(name)
    if n is None or feat.WORDS[n >> 5].leaf is None:
        return name
    word = feat.WORDS[n >> 5]
    return f"CPUID.{word.leaf:02X}H:{word.reg.upper()}.{name} [bit {n & 31}]"


@dataclass
class _Request:
    """The options of one ``-cpu`` argument."""
    set: dict[str, bool]
    plus: dict[str, bool]
    minus: dict[str, bool]
    numbers: dict[str, int]
    vendor: str | None = None
    model_id: str | None = None
    check: bool = False
    enforce: bool = False
    inert: tuple[str, ...] = ()


def _parse_options(items: list[str]) -> _Request:
    req = _Request({}, {}, {}, {})
    for item in items:
        if not item:
            continue
        if item[0] in "+-":
            name = feat.canonical(item[1:])
            if not feat.is_cpuid_name(name) and not name.startswith("vmx-"):
                raise _unknown(item[1:])
            (req.plus if item[0] == "+" else req.minus)[name] = True
            continue
        key, eq, value = item.partition("=")
        name = feat.canonical(key)
        if name in NUMBERS:
            if not eq:
                raise CpuModelError(f"-cpu: {name} needs a value")
            req.numbers[name] = _number(name, value)
        elif name == "vendor":
            if len(value) != 12:
                raise CpuModelError(f"-cpu: vendor={value}: must be exactly 12 characters")
            req.vendor = value
        elif name == "model-id":
            if len(value.encode()) > MAX_MODEL_ID:
                raise CpuModelError(f"-cpu: model-id: at most {MAX_MODEL_ID} bytes")
            req.model_id = value
        elif name in ("check", "enforce"):
            setattr(req, name, _bool(name, value if eq else "on"))
        elif feat.is_cpuid_name(name) or name.startswith("vmx-"):
            req.set[name] = _bool(name, value if eq else "on")
        elif name not in INERT:
            raise _unknown(key)
        elif (value or "on") != INERT[name]:
            req.inert += (item,)
    return req


def _generation(features: set[str], family: int, vendor: str) -> set[str]:
    """Instruction sets that go with a processor generation rather than a CPUID bit."""
    out = {"i186", "i286", "i386", "amd" if vendor in ("AuthenticAMD", "HygonGenuine") else "intel"}
    out |= {g for g, f in (("i486", 4), ("i586", 5), ("i686", 6), ("nopl", 6)) if family >= f}
    if "lm" not in features or "lahf-lm" in features:
        out.add("sahf64")
    return out


def _phys_bits(features: set[str], asked: int) -> int:
    if not asked:
        return 40 if "lm" in features else 36 if features & {"pae", "pse36"} else 32
    lo, hi = (36, 52) if "lm" in features else (32, 36)
    if not lo <= asked <= hi:
        raise CpuModelError(f"-cpu: phys-bits={asked}: must be between {lo} and {hi}")
    return asked


def parse_cpu(spec: str, warn: Callable[[str], None] | None = None) -> CpuModel:
    """The CPU of a ``-cpu`` argument. Raises CpuModelError (a ValueError) naming what cannot be had."""
    name, *items = spec.split(",")
    if name == "host":
        raise CpuModelError("-cpu host needs KVM, which pcemu has not; 'max' has every feature it implements")
    key = _resolve(name)
    if key is None:
        raise CpuModelError(f"unable to find CPU model '{name}'{_close(name, [n for n, _ in list_models()])}")
    d = definitions()[key]
    req = _parse_options(items)
    asked = {f for f, on in req.set.items() if on} | set(req.plus)
    off = {f for f, on in req.set.items() if not on and f not in req.plus} | set(req.minus)
    wanted = (set(d.features) | {"hypervisor"} | asked) - off
    have = {f for f in wanted if f in feat.IMPLEMENTED}
    while lost := {f for f in have if feat.REQUIRES.get(f, f) not in have}:
        have -= lost
    gone = set(off)                         # what the user took away, and what is built on it
    while more := {f for f in wanted if feat.REQUIRES.get(f) in gone} - gone:
        gone |= more
    missing = sorted(wanted - have - gone)
    named = missing if req.check or req.enforce else [f for f in missing if f in asked]
    if named and req.enforce:
        raise CpuModelError(f"-cpu {name}: not implemented: {', '.join(_describe(f) for f in named)}")
    if warn is not None:
        for item in req.inert:
            warn(f"-cpu {name}: {item} has no effect")
    for f in named:
        if warn is not None:
            warn(f"-cpu {name}: feature not implemented, left out: {_describe(f)}")
    num = req.numbers
    if num.get("tsc-frequency", TSC_HZ) not in (0, TSC_HZ):
        raise CpuModelError(f"-cpu: tsc-frequency={num['tsc-frequency']}: the time-stamp counter runs at {TSC_HZ} Hz")
    vendor = req.vendor or d.vendor
    family = num.get("family", d.family)
    if family > 255 + 15 or num.get("model", 0) > 255 or num.get("stepping", 0) > 15:
        raise CpuModelError("-cpu: family is at most 270, model 255, stepping 15")
    have |= _generation(have, family, vendor)
    level, xlevel = d.level, d.xlevel
    for w in feat.WORDS:                    # the highest leaf rises with the features shown in it
        if w.leaf is not None and have & set(w.names):
            if w.leaf < 0x40000000:
                level = max(level, w.leaf)
            else:
                xlevel = max(xlevel, w.leaf)
    level, xlevel = max(level, num.get("min-level", 0)), max(xlevel, num.get("min-xlevel", 0))
    return CpuModel(name, vendor, family, num.get("model", d.model), num.get("stepping", d.stepping), num.get("level", level),
                    num.get("xlevel", xlevel), d.model_id if req.model_id is None else req.model_id, frozenset(have),
                    _phys_bits(have, num.get("phys-bits", 0)), tuple(missing))
