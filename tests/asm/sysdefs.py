"""What the families of system instructions share: segments as a mode finds them, instructions that do not exist in a mode."""
from __future__ import annotations

from collections.abc import Iterable, Iterator

from .case import ALL, Case, Fault
from .layout import DESCRIPTORS, MODES
from .machine import baseline

LONG = ("long64",)
NOT_LONG = tuple(m for m in ALL if m != "long64")
USER = ("pm16", "pm32", "compat", "long64")                 # modes in which a case may ask for CPL 3
UNREAL = ("pm16", "pm32", "pm32s", "compat", "long64")      # selectors are descriptors' names


def cpl_of(mode: str, cpl: int | None = None) -> int:
    return MODES[mode].cpl if cpl is None else cpl


def found(mode: str, cpl: int | None = None) -> dict[str, int]:
    """Segment registers as a case of this mode and level finds them."""
    return baseline([], {}, MODES[mode], cpl_of(mode, cpl))


def loaded(seg: str, name: str) -> dict[str, int]:
    """A segment register and its cache after a load of this GDT entry."""
    sel, base, limit, access, flags = DESCRIPTORS[name]
    return {seg: sel | access >> 5 & 3, seg + "_base": base, seg + "_limit": limit << 12 | 0xFFF if flags & 8 else limit,
            seg + "_flags": access << 8 | flags << 20}


def real(seg: str, selector: int, mode: str) -> dict[str, int]:
    """The same in real and virtual-8086 mode."""
    return {seg: selector, seg + "_base": selector << 4}


def null(seg: str, selector: int = 0) -> dict[str, int]:
    return {seg: selector, seg + "_base": 0, seg + "_limit": 0, seg + "_flags": 0}


def absent(code: str, modes: Iterable[str], size: int = 0) -> Iterator[Case]:
    """#UD: the instruction does not exist in these modes."""
    yield Case(f"{code}: not here", code, tuple(modes), size, fault=Fault(6), twin="mode", twins=False)


def privileged(code: str, regs: dict[str, int | str] | None = None, size: int = 0,
               modes: Iterable[str] = ("vm86", "pm16", "pm32", "compat", "long64")) -> Iterator[Case]:
    """#GP(0) above CPL 0, virtual-8086 mode among it."""
    for m in modes:
        yield Case(f"{code}: privileged", code, (m,), size, regs=dict(regs or {}), fault=Fault(13), twin="priv", twins=False,
                   cpl=None if m == "vm86" else 3)
