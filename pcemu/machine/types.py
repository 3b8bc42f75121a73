"""Machine types by name: which board a name stands for. Nothing is imported to list them."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

from pcemu.qom.errors import PcemuError, suggestion

if TYPE_CHECKING:
    from .board import Board

PC_DESC = "Standard PC (i440FX + PIIX, 1996)"
LATEST = "pc-i440fx-7.2"

# All versions are one board: what QEMU changes between them is about migration and paravirtual devices.
_VERSIONS = """7.2 7.1 7.0 6.2 6.1 6.0 5.2 5.1 5.0 4.2 4.1 4.0 3.1 3.0 2.12 2.11 2.10 2.9 2.8 2.7 2.6 2.5 2.4 2.3 2.2 2.1
    2.0 1.7 1.6 1.5 1.4"""
PC_VERSIONS = _VERSIONS.split()
# Distributions' own versions, and those of the years after.
_PC_PATTERN = re.compile(
    r"pc-i440fx-(\d+\.\d+(\.\d+)?|rhel\d+\.\d+\.\d+|(trusty|utopic|vivid|wily|xenial|yakkety|zesty|artful|bionic|cosmic"
    r"|disco|eoan|focal|groovy|hirsute|impish|jammy|kinetic|lunar|mantic|noble|oracular|plucky)(-hpb|-v1)?)"
)

BOARDS = {"pc": ("pcemu.machine.pc_i440fx", "PcI440fx"), "isapc": ("pcemu.machine.isapc", "IsaPc"),
          "none": ("pcemu.machine.none", "NoBoard")}  # fmt: skip
LATER = re.compile(r"(pc-)?q35(-[\w.]+)?|microvm|x-remote|xenfv(-[\w.]+)?|xenpv|pc-[01]\.\d+")


def listing() -> list[tuple[str, str]]:
    """(name, description) as `-machine help` shows them."""
    rows = [("pc", f"{PC_DESC} (alias of {LATEST})"), (LATEST, f"{PC_DESC} (default)")]
    rows += [(f"pc-i440fx-{version}", PC_DESC) for version in PC_VERSIONS[1:]]
    rows += [("isapc", "ISA-only PC"), ("none", "empty machine")]
    return rows


def board_key(name: str) -> str:
    """Which of BOARDS a machine name is."""
    if name in BOARDS:
        return name
    if _PC_PATTERN.fullmatch(name):
        return "pc"
    if LATER.fullmatch(name):
        raise PcemuError(f"-machine {name}: not implemented yet")
    hint = suggestion(name, [row[0] for row in listing()])
    raise PcemuError(f"-machine {name}: unsupported machine type{hint}; use -machine help to list supported machines")


def full_name(name: str) -> str:
    """The name without aliases: what `pc` stands for."""
    return LATEST if name == "pc" else name


def load_board(name: str) -> type[Board]:
    module, cls = BOARDS[board_key(name)]
    board: type[Board] = getattr(importlib.import_module(module), cls)
    return board


def options_help(name: str) -> str:
    """What `-machine T,help` prints."""
    board = load_board(name)
    lines = [f"{full_name(name)}-machine options:"]
    for decl in board.options.values():
        head = f"  {decl.name}=<{decl.type_label()}>"
        lines.append(f"{head:<24} - {decl.help}" if decl.help else head)
    return "\n".join(lines)
