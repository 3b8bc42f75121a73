"""What a monitor costs, and how soon it is heard: counted, not timed (bench/monitor.py has the times)."""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loader_images import elf32, multiboot_header

from pcemu import chardev, monitor
from pcemu.chardev.base import HIGH_WATER
from pcemu.machine import loop as loop_module
from pcemu.machine import machine as machine_module
from pcemu.machine.config import DeviceConfig, IcountConfig, MachineConfig
from pcemu.machine.loop import MOST_NS, MachineSelector
from pcemu.machine.machine import SLICE_INSNS, SLICE_NS, Machine
from pcemu.monitor import hmp, qmp
from pcemu.monitor.editline import MOST
from pcemu.testing.fakes import FakeCore, FakeCpu
from pcemu.testing.loophost import LoopHost

pytest.importorskip("pcemu._core.engine", reason="the core is not built")
sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
import snippet

QUANTUM, BARRAGE, MUCH_TOIL, TRANSLATING, KILLING = 50_000, 5_000, 1 << 17, 64, 1024     # of the core
BYTES = 4 << 20
BLOCKS = f"cld; mov esi, 0x100000; mov edi, 0x800000; mov ecx, {BYTES}; "


@pytest.fixture
def host() -> Iterator[LoopHost]:
    made = LoopHost()
    yield made
    made.close()


def stream_of(host: LoopHost, mode: str) -> tuple[Any, Any]:
    stream: Any = chardev.create(host, {"backend": "ringbuf", "id": mode, "size": "4M"})
    return stream, monitor.create(host, stream, mode)


# ---- the core looks at the outside world -------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 2], ids=["handlers", "compiled"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(snippet, "SIZE", 16 << 20)

    def make(text: str) -> tuple[Any, Any]:
        memory, cpu = snippet.make(snippet.assemble(text), "max")
        if "lockstep_runs" in cpu.stats():
            pytest.skip("runs that are compared end where they end")
        if request.param and not cpu.enable_jit(heat=request.param):
            pytest.skip("nothing is compiled on this host")
        return memory, cpu

    return make


@pytest.mark.parametrize("text", [
    "1: jmp 1b",
    "1: add eax, ebx; dec ecx; jnz 1b; jmp 1b",
    "1: call 2f; jmp 1b; 2: ret",
    "sti; 1: mov eax, [ebx]; inc dword ptr [ebx + 8]; jmp 1b",
    "1: inc dword ptr [2f + 1]; nop; jmp 2f; 2: mov eax, 5; jmp 1b",
    "1: mov edi, offset 2f; jmp edi; 2: jmp 1b",
    "cld; 1: mov edi, ebx; mov ecx, 8; rep stosd; jmp 1b",
], ids=["self", "loop", "calls", "memory", "own code", "indirect", "small blocks"])  # fmt: skip
def test_a_loop_is_left_after_a_quantum(make: Any, text: str) -> None:
    """Interrupts off or on, chained, compiled or not: whoever asked for the engine's attention has it."""
    _, cpu = make(text)
    assert cpu.run(20 * QUANTUM) == "budget"
    assert cpu.stats()["looks"] >= 20


@pytest.mark.parametrize("text, size", [
    ("rep movsb", 1), ("shr ecx, 2; rep movsd", 4), ("lea edi, [esi + 1]; rep movsb", 1), ("mov al, 7; rep stosb", 1),
    ("shr ecx, 2; rep stosd", 4), ("repe cmpsb", 1), ("mov al, 7; repne scasb", 1), ("rep lodsb", 1),
], ids=["movsb", "movsd", "overlapping", "stosb", "stosd", "cmpsb", "scasb", "lodsb"])  # fmt: skip
def test_a_block_of_memory_is_left_in_the_middle(make: Any, text: str, size: int) -> None:
    """Thousands of pages count as few instructions, and take long."""
    _, cpu = make(BLOCKS + text)
    assert cpu.run(1 << 40) == "halted"
    assert cpu.get("ecx") == 0
    assert cpu.stats()["looks"] >= min(BYTES // size // MUCH_TOIL, cpu.icount // 100)


def test_exceptions_without_end(make: Any) -> None:
    """They retire nothing."""
    memory, cpu = make("ud2")
    memory.st(snippet.STUBS + 6, 1, 0xCF)               # its handler comes back to it
    cpu.run(40 * BARRAGE)
    assert cpu.stats()["looks"] >= 40


def test_translation_is_toil(make: Any) -> None:
    _, cpu = make(".fill 500000, 1, 0x40")
    assert cpu.run(1 << 40) == "halted"
    assert cpu.stats()["looks"] >= 500_000 * TRANSLATING // (MUCH_TOIL + 64 * TRANSLATING)


def test_stores_to_code_are_toil(make: Any) -> None:
    """A page of blocks of an instruction and a jump, run and overwritten, over and over."""
    rounds = 30
    _, cpu = make(f"""
        mov ebp, {rounds}
    1:  mov edi, 0x100000; mov ecx, 1000
    2:  mov dword ptr [edi], 0x00eb40; add edi, 3; dec ecx; jnz 2b
        mov byte ptr [edi], 0xc3
        mov eax, 0x100000; call eax
        dec ebp; jnz 1b""")
    assert cpu.run(1 << 40) == "halted"
    stats = cpu.stats()
    assert cpu.icount == stats["instructions"] == 1 + rounds * (2 + 4000 + 1 + 2 + 2001 + 2) + 1
    assert stats["compiled_retired"] <= cpu.icount
    assert stats["looks"] >= rounds * 1000 * KILLING // (MUCH_TOIL + KILLING) // 2


def test_a_halted_processor_waits_in_no_core(make: Any) -> None:
    _, cpu = make("cli")
    assert cpu.run() == "halted"
    before = cpu.stats()
    assert cpu.run() == "halted"
    assert cpu.stats()["looks"] - before["looks"] <= 1


# ---- slices ------------------------------------------------------------------------------------------------------------------


def test_a_timer_makes_no_slice_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest runs on after a timer, for the rest of the slice and not for another one."""
    host = 10**12
    deadlines: list[int] = []

    def until_the_timer(cpu: FakeCpu) -> str:
        nonlocal host
        deadlines.append(machine.core.clock.deadline - machine.core.clock.now())
        host += 1_400_000
        return "deadline"

    machine = Machine(MachineConfig(machine="none", ram_size=1 << 20), core=FakeCore(*[until_the_timer] * 5))
    monkeypatch.setattr(machine_module, "monotonic_ns", lambda: host)
    with machine.build():
        machine.cont()
        assert machine.run_slice()
        assert deadlines == [SLICE_NS, SLICE_NS - 1_400_000]


# ---- the client's turn -------------------------------------------------------------------------------------------------------


class Guest:
    """What the selector needs of a machine."""

    def __init__(self) -> None:
        self.slices = 0
        self.busy = True

    def run_slice(self) -> bool:
        self.slices += 1
        return self.busy

    def idle_seconds(self) -> float | None:
        return 0

    def woke_up(self) -> None:
        pass


class Turns:
    def __init__(self) -> None:
        self.guest = Guest()
        self.selector = MachineSelector(self.guest)
        self.selector.active = True
        self.ours, self.client = socket.socketpair()
        self.selector.register(self.ours, selectors.EVENT_READ)

    def close(self) -> None:
        self.selector.close()
        self.ours.close()
        self.client.close()

    def turn(self, asked: bool, answered: bool) -> tuple[int, int]:
        """Slices and requests of one turn of the loop."""
        before = self.guest.slices
        self.selector.lingers = answered
        if asked:
            self.client.send(b"x")
        found = len(self.selector.select(0))
        if found:
            self.ours.recv(100)
        return self.guest.slices - before, found


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Turns]:
    monkeypatch.setattr(loop_module, "monotonic_ns", lambda: 10**12)
    made = Turns()
    if not 0 <= made.selector._fd < 1024:
        pytest.skip("no epoll on this host")
    made.turn(False, False)
    yield made
    made.close()


def test_a_client_that_asks_on_is_answered_before_the_guest_goes_on(turns: Turns) -> None:
    assert turns.turn(asked=True, answered=True) == (0, 1)
    assert turns.turn(asked=True, answered=True) == (0, 1)
    assert turns.turn(asked=False, answered=True) == (1, 0)
    assert turns.turn(asked=True, answered=False) == (1, 1)


def test_it_does_not_stop_the_guest(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "monotonic_ns", lambda: 10**12 + MOST_NS + 1)
    assert turns.turn(asked=True, answered=True) == (1, 1)
    assert turns.turn(asked=True, answered=True) == (0, 1)      # half a millisecond from here on


def test_a_guest_that_sleeps_is_not_waited_for(turns: Turns) -> None:
    turns.guest.busy = False
    turns.turn(False, False)
    assert turns.turn(asked=True, answered=True) == (1, 1)


@pytest.mark.parametrize("mode, question", [("readline", b"info kvm\n"), ("control", b'{"execute":"qmp_capabilities"}')])
def test_an_answer_is_with_the_client_before_the_guest_goes_on(host: LoopHost, mode: str, question: bytes) -> None:
    order: list[str] = []
    stream, _ = stream_of(host, mode)
    host.turn()
    stream.read_ring(1 << 22)
    host.loop.answered = lambda: order.append("the client's turn" if stream.read_ring(1 << 22) else "nothing to read")
    stream.feed(question)
    assert order == ["the client's turn"]


# ---- a monitor that nobody talks to ------------------------------------------------------------------------------------------


# mov ecx, 3000000; 1: add eax, ecx; dec ecx; jnz 1b; mov edx, 0x501; out dx, al
KERNEL = bytes.fromhex("b9c0c62d00 01c8 49 75fb ba01050000 ee")


def counts(tmp_path: Path, modes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What a guest's run took, with clients that are connected and say nothing."""
    kernel = tmp_path / "kernel"
    kernel.write_bytes(elf32([(0x100000, multiboot_header(0).ljust(32, b"\0") + KERNEL, 4096)], entry=0x100020))
    config = MachineConfig(ram_size=8 << 20, kernel=str(kernel), nodefaults=True, icount=IcountConfig(shift=0, sleep=False),
                           devices=[DeviceConfig("isa-debug-exit", {})])  # fmt: skip
    ends: list[socket.socket] = []
    with Machine(config).build() as machine:
        for number, mode in enumerate(modes):
            ours, theirs = socket.socketpair()
            ends.append(theirs)
            stream = chardev.create(machine, {"backend": "socket", "id": f"m{number}", "fd": str(ours.detach())})
            monitor.create(machine, stream, mode)
            if mode == "control":
                theirs.send(b'{"execute":"qmp_capabilities"}')
        for _ in range(10):
            machine.loop.call_soon(machine.loop.stop)
            machine.loop.run_forever()
        for end, mode in zip(ends, modes, strict=True):
            said = end.recv(1 << 16)
            assert said.endswith(b"(qemu) ") if mode == "readline" else json.loads(said.splitlines()[1]) == {"return": {}}
        selector = machine.loop.machine_selector
        turns = events = 0
        select = selector.select

        def count(timeout: float | None = None) -> Any:
            nonlocal turns, events
            found = select(timeout)
            turns += 1
            events += len(found)
            return found

        host = itertools.count(0, SLICE_NS // 4)            # a slice is one run of the core
        monkeypatch.setattr(machine_module, "monotonic_ns", lambda: next(host))
        monkeypatch.setattr(selector, "select", count)
        assert machine.run().cause == "isa-debug-exit"
        stats = machine.cpu.stats()
        for end in ends:
            end.close()
    assert turns > 9_000_000 // SLICE_INSNS // 2
    return {name: stats[name] for name in ("instructions", "looks", "exits", "lookups")} | {"turns": turns, "events": events}


def test_an_idle_monitor_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No exit of the core, no look at the outside world, no turn of the loop and no event in it more than without."""
    without = counts(tmp_path, (), monkeypatch)
    assert without["events"] == 0
    assert counts(tmp_path, ("control", "readline", "control"), monkeypatch) == without


# ---- clients that take no part -----------------------------------------------------------------------------------------------


def test_the_human_monitor_takes_nothing_from_who_takes_nothing(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, made = stream_of(host, "readline")
    lines = 0

    def run(line: str) -> str:
        nonlocal lines
        lines += 1
        return "x" * 20_000 + "\n"

    monkeypatch.setattr(made.shell, "run", run)
    monkeypatch.setattr(stream, "_send", lambda data: 0)
    stream.feed(b"info mtree\n" * 1000)
    host.turn(200)
    assert lines < 20
    assert stream.unsent < HIGH_WATER + 50_000
    monkeypatch.undo()
    monkeypatch.setattr(made.shell, "run", run)
    stream.flush()
    host.turn(2000)
    assert lines == 1000


def test_the_human_monitor_leaves_the_guest_its_turns(host: LoopHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hmp, "TURN_NS", -1)
    stream, made = stream_of(host, "readline")
    ran: list[str] = []
    monkeypatch.setattr(made.shell, "run", lambda line: ran.append(line) or "")
    stream.feed(b"a\nb\rc\n")
    for lines in (["a", "b"], ["a", "b", "c"]):
        host.turn(1)
        assert ran == lines


def test_a_line_has_an_end(host: LoopHost) -> None:
    stream, made = stream_of(host, "readline")
    for _ in range(10):
        stream.feed(b"x" * 4096)
        host.turn(1)
        stream.read_ring(1 << 22)
    assert len(made.editor._line) == MOST
    stream.feed(b"\n")
    assert b"unknown command" in stream.read_ring(1 << 22)


def test_events_that_nobody_reads(host: LoopHost, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """They are dropped whole, with one warning; and come again when they are read."""
    stream, made = stream_of(host, "control")
    stream.feed(b'{"execute":"qmp_capabilities"}')
    stream.read_ring(1 << 22)
    monkeypatch.setattr(stream, "_send", lambda data: 0)
    for _ in range(30_000):
        made.event("RESET", {"guest": True, "reason": "guest-reset"})
    assert stream.unsent < qmp.MOST_UNSENT + 1000
    assert capfd.readouterr().err.count("events lost") == 1
    monkeypatch.undo()
    stream.flush()
    made.event("STOP", {})
    answers = [json.loads(line) for line in stream.read_ring(1 << 22).decode().split("\r\n") if line]
    assert answers[-1]["event"] == "STOP"
    assert 1000 < len(answers) < 30_000


def test_a_crowd_at_the_door(host: LoopHost, tmp_path: Path) -> None:
    """The first sends half a line and is silent. The others wait outside, and cost nothing: no descriptor, no memory, no turn."""
    path = str(tmp_path / "qmp")
    stream = chardev.create(host, {"backend": "socket", "id": "q", "path": path, "server": True, "wait": False})
    monitor.create(host, stream, "control")
    crowd: list[socket.socket] = []
    waiting = 0
    for _ in range(500):
        client = socket.socket(socket.AF_UNIX)
        crowd.append(client)
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:             # the host's queue of those who wait is full
            continue
        waiting += 1
        client.send(b'{"execute":"qmp_capa')
        host.turn(1)
    assert 1 <= waiting < 10
    host.turn(10)
    watched = host.loop._selector.get_map()
    assert len(watched) == 2                # the first one, and the loop's own
    assert json.loads(crowd[0].recv(4096).splitlines()[0])["QMP"]
    crowd[0].send(b'bilities"}')
    host.turn(3)
    assert json.loads(crowd[0].recv(4096)) == {"return": {}}
    crowd[0].close()
    host.turn(10)
    assert json.loads(crowd[1].recv(4096).splitlines()[0])["QMP"], "the next one's turn"
    for client in crowd:
        client.close()
