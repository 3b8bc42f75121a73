"""Breakpoints and watches of a debugger in the core: code that is translated and compiled already, inside units, single steps."""

from __future__ import annotations

import random
from typing import Any

import pytest

LOOP = "mov ecx, 1000; xor eax, eax; 1: inc eax; add [ebx], eax; nop; dec ecx; jnz 1b; 2: inc edx; jmp 2b"


@pytest.fixture(params=[0, 2], ids=["interpreted", "compiled"])
def made(request: pytest.FixtureRequest, snippet: Any) -> Any:
    """(memory, cpu, address of each instruction) of LOOP."""

    def make(source: str = LOOP) -> tuple[Any, Any, list[int]]:
        code = snippet.assemble(source)
        memory, cpu = snippet.make(code, "max")
        if request.param and not cpu.enable_jit(size=1 << 20, heat=request.param):
            pytest.skip("no compiled code on this host")
        places, at = [], cpu.get("rip")
        while at < snippet.CODE + len(code):
            places.append(at)
            at += cpu.block_ops(at)[0][1]
        return memory, cpu, places

    return make


def test_breakpoint_in_running_code(made: Any) -> None:
    """The loop is hot when the breakpoint is set in the middle of its block; it stops there every time, and only there."""
    _, cpu, at = made()
    cpu.run(2002)
    cpu.set_breakpoints([at[4]])
    counts = []
    for _ in range(3):
        assert cpu.run(10**6) == "breakpoint"
        assert cpu.get("rip") == at[4]
        counts.append(cpu.get("eax"))
        assert cpu.run(10**6) == "breakpoint", "it does not go past by itself"
        assert cpu.step() == "budget"
        assert cpu.get("rip") == at[5]
    assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
    cpu.set_breakpoints([])
    assert cpu.run(100_000) == "budget"
    assert cpu.get("ecx") == 0


def test_breakpoint_costs_nothing_elsewhere(made: Any) -> None:
    """Another page's breakpoint at the same offset is none here: the code runs, to the same count."""
    _, cpu, at = made()
    cpu.set_breakpoints([at[4] + 0x1000 * n for n in range(1, 40)])
    assert cpu.run(5002) == "budget"
    assert (cpu.get("eax"), cpu.get("ecx"), cpu.icount) == (1000, 0, 5002)


def test_breakpoint_at_a_block_start_and_at_the_first_instruction(made: Any) -> None:
    _, cpu, at = made()
    cpu.set_breakpoints([at[0], at[2]])
    assert (cpu.run(), cpu.get("rip"), cpu.icount) == ("breakpoint", at[0], 0)
    cpu.step()
    hits = 0
    while cpu.run(10**6) == "breakpoint":
        assert cpu.get("rip") == at[2]
        hits += 1
        cpu.step()
    assert hits == 1000


def test_many_breakpoints(made: Any) -> None:
    _, cpu, at = made()
    cpu.set_breakpoints([at[5], *range(0x8000_0000, 0x8000_2000, 2)])
    assert (cpu.run(), cpu.get("rip")) == ("breakpoint", at[5])
    cpu.set_breakpoints([])


@pytest.mark.parametrize(("kinds", "offset", "size", "stops"), [
    ("w", 0, 4, True), ("r", 0, 4, True), ("rw", 3, 1, True), ("w", 4, 4, False), ("w", -4, 4, False), ("w", -4, 8, True)])
def test_watch(made: Any, snippet: Any, kinds: str, offset: int, size: int, stops: bool) -> None:
    """The instruction that accesses watched memory completes, then the CPU stops; neighbours do not matter."""
    memory, cpu, at = made()
    cpu.run(2002)
    cpu.set_watches([(0x1234_0000, 8, "rw"), (snippet.DATA + offset, size, kinds)])
    if not stops:
        assert cpu.run(3000) == "budget"
        assert cpu.get("ecx") == 0
        return
    for _ in range(2):
        before = memory.ld(snippet.DATA, 4)
        assert cpu.run(10**6) == "watchpoint"
        assert cpu.get("rip") == at[4]
        assert memory.ld(snippet.DATA, 4) == before + cpu.get("eax")
        assert cpu.run(10**6) == "watchpoint", "nothing runs before it was taken note of"
        assert cpu.take_watch() == 1
    cpu.set_watches([])
    assert cpu.run(10_000) == "budget"
    assert cpu.get("ecx") == 0


def test_watched_reads(made: Any, snippet: Any) -> None:
    """Plain loads, string instructions and pushes; only accesses of the watched kind stop."""
    _, cpu, at = made("mov eax, [ebx]; mov [ebx], eax; lea esi, [ebx-64]; lea edi, [ebx+256]; mov ecx, 64; rep movsd; hlt")
    cpu.set_watches([(snippet.DATA, 4, "r")])
    assert (cpu.run(), cpu.get("rip"), cpu.take_watch()) == ("watchpoint", at[1], 0)
    assert (cpu.run(), cpu.get("ecx"), cpu.take_watch()) == ("watchpoint", 47, 0)
    assert cpu.run() == "halted"
    assert cpu.get("ecx") == 0


def test_step_holds_interrupts(made: Any) -> None:
    _, cpu, at = made("sti; nop; nop; nop; hlt")
    cpu.set_intr(1)
    for place in at[1:4]:
        assert cpu.step() == "budget"
        assert cpu.get("rip") == place


def test_step_stops_at_the_handler_of_an_exception(made: Any) -> None:
    _, cpu, _ = made("nop; ud2; nop")
    cpu.step()
    assert cpu.step() in ("event", "shutdown")
    assert cpu.icount == 1


def test_not_while_running(snippet: Any) -> None:
    """A device may not set breakpoints under the feet of the instruction that called it."""
    _, cpu = snippet.make(snippet.assemble("out 0x80, al; hlt"), "max")
    cpu.set_breakpoints([])
    seen = []

    class Port:
        def read(self, offset: int, size: int) -> int:
            return 0

        def write(self, offset: int, size: int, value: int) -> None:
            for call in (lambda: cpu.set_breakpoints([1]), lambda: cpu.set_watches([(1, 1, "r")])):
                with pytest.raises(RuntimeError):
                    call()
                seen.append(value)

    cpu.io.set_map([(0x80, 1, Port(), 0)])
    assert cpu.run() == "halted"
    assert len(seen) == 2


MIXED = ("mov ecx, 400; lea edi, [ebx+128]; 1: call 3f; "
         " mov esi, ebx; push ecx; push edi; mov ecx, 5; rep movsd; pop edi; pop ecx; "
         "test al, 1; jz 2f; inc dword ptr [ebx]; 2: lea edx, [eax*4+ecx]; dec ecx; jnz 1b; hlt; "
         "3: add eax, [ebx+4]; inc eax; ret")


@pytest.mark.parametrize("seed", range(4))
def test_stopping_changes_nothing(made: Any, snippet: Any, seed: int) -> None:
    """Breakpoints and watches that come and go, stepped over: registers, memory and the count are as without. (Of watched memory
    a REP counts each element.)"""
    watching = seed % 2
    memory, cpu, _ = made(MIXED)
    assert cpu.run() == "halted"
    expected = [cpu.get(name) for name in snippet.REGISTERS], cpu.icount, memory.read(snippet.DATA, 256)
    choose = random.Random(seed)
    memory, cpu, at = made(MIXED)
    stops: set[int] = set()
    while True:
        why = cpu.run(choose.choice((7, 100, 1000)))
        if why == "halted":
            break
        assert why in ("budget", "breakpoint", "watchpoint")
        if why == "breakpoint":
            assert cpu.get("rip") in stops
            cpu.step()
        cpu.take_watch()
        if choose.randrange(4) == 0:
            stops = set(choose.sample(at, choose.randrange(3)))
            cpu.set_breakpoints(stops)
            if watching:
                cpu.set_watches([(snippet.DATA + choose.randrange(160), 4, "rw")] * choose.randrange(2))
    count = expected[1] if watching else cpu.icount
    assert ([cpu.get(name) for name in snippet.REGISTERS], count, memory.read(snippet.DATA, 256)) == expected
