"""`info tlb` and `info mem`: the guest's page tables, entry by entry and as ranges."""

from __future__ import annotations

from . import pagetables as pt
from .table import Context, command

# Letters of `info tlb` and their bits, as they are shown.
FLAGS = (("X", pt.NX), ("G", pt.G), ("P", pt.PS), ("D", pt.D), ("A", pt.A), ("C", pt.PCD), ("T", pt.PWT),
         ("U", pt.US), ("W", pt.RW))  # fmt: skip


@command("info tlb", help="show virtual to physical memory mappings")
def info_tlb(ctx: Context) -> str:
    cpu = ctx.cpu
    if not pt.paging_on(cpu):
        return "PG disabled\n"
    lines = []
    for mapping in pt.walk(cpu, ctx.machine.memory):
        entry = mapping.entry if mapping.size > 4096 else mapping.entry & ~pt.PS     # there the bit is PAT
        letters = "".join(letter if entry & bit else "-" for letter, bit in FLAGS)
        lines.append(f"{pt.canonical(cpu, mapping.virtual):016x}: {mapping.physical:016x} {letters}\n")
    return "".join(lines)


@command("info mem", help="show the active virtual memory mappings")
def info_mem(ctx: Context) -> str:
    cpu = ctx.cpu
    if not pt.paging_on(cpu):
        return "PG disabled\n"
    lines: list[str] = []
    start = end = rights = 0

    def finish() -> None:
        if rights:
            letters = ("u" if rights & pt.US else "-") + "r" + ("w" if rights & pt.RW else "-")
            first, last = pt.canonical(cpu, start), pt.canonical(cpu, end)
            lines.append(f"{first:016x}-{last:016x} {end - start:016x} {letters}\n")

    for mapping in pt.walk(cpu, ctx.machine.memory):
        if mapping.virtual != end or mapping.rights != rights:
            finish()
            start, rights = mapping.virtual, mapping.rights
        end = mapping.virtual + mapping.size
    finish()
    return "".join(lines)
