"""Compiled code switched off and on while a guest runs, under a counted clock: the guest ends as it would have without."""

from __future__ import annotations

import struct
from typing import Any

import pytest

pytestmark = pytest.mark.compiled

LOG, COUNT, TIMER = 0x4000, 0x2040, 0x20
PERIOD = 83                 # ns, and instructions: the clock's shift is 0

GUEST = """
        sti
        mov     ecx, 150
1:      mov     eax, [ebx]
        add     [ebx + 4], eax
        imul    edx, ecx, 77
        xor     [ebx + 8], edx
        call    2f
        push    ecx
        lea     edi, [ebx + 16]
        mov     ecx, 5
        rep     stosd
        pop     ecx
        cvtsi2sd xmm0, ecx
        addsd   xmm1, xmm0
        fild    dword ptr [ebx + 4]
        fistp   dword ptr [ebx + 12]
        out     0x77, al
        dec     ecx
        jnz     1b
        cli
        jmp     3f
2:      inc     dword ptr [ebx]
        test    al, 3
        jz      4f
        ror     eax, 5
4:      ret
        .balign 0x100
        # the timer's handler: which instruction was next, and when
        push    eax
        push    edx
        push    esi
        mov     esi, [0x2040]
        rdtsc
        mov     [esi], eax
        mov     eax, [esp + 12]
        mov     [esi + 4], eax
        add     dword ptr [0x2040], 8
        pop     esi
        pop     edx
        pop     eax
        iretd
3:
"""
HANDLER = 0x1100


class Port:
    """A device the guest writes to; it may switch."""

    def __init__(self) -> None:
        self.cpu: Any = None
        self.switches = False
        self.times: list[int] = []

    def read(self, offset: int, size: int) -> int:
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        self.times.append(self.cpu.icount)
        if self.switches and len(self.times) % 10 == 0:
            self.cpu.jit = not self.cpu.jit


class Guest:
    def __init__(self, code: bytes, snippet: Any, jit: bool) -> None:
        self.memory, self.cpu = snippet.make(code, "max")
        self.port = Port()
        self.port.cpu = self.cpu
        self.cpu.io.set_map([(0, 0x10000, self.port, 0)])
        self.memory.st(snippet.IDT + 8 * TIMER, 8, 0x00008E0000080000 | HANDLER)
        self.memory.st(COUNT, 4, LOG)
        for name, value in (("idt_limit", 0x7FF), ("cr4", 0x600)):
            self.cpu.set(name, value)
        self.cpu.intack = self.acknowledge
        self.cpu.clock.deadline = PERIOD
        assert self.cpu.enable_jit(size=1 << 20, heat=2)
        self.cpu.jit = jit

    def acknowledge(self) -> int:
        self.cpu.set_intr(False)
        return TIMER

    def run(self, until: int = 1 << 40) -> str:
        while self.cpu.icount < until:
            why: str = self.cpu.run(until - self.cpu.icount)
            if why != "deadline":
                return why
            self.cpu.set_intr(True)
            self.cpu.clock.deadline += PERIOD
        return "budget"

    def outcome(self) -> tuple[Any, ...]:
        from pcemu._core.state_regs import NAMES

        return {name: self.cpu.get(name) for name in NAMES}, self.cpu.icount, self.memory.read(0, 0x10000), self.port.times

    @property
    def compiled(self) -> int:
        return int(self.cpu.stats()["compiled_retired"])


@pytest.fixture(scope="module")
def code(snippet: Any) -> bytes:
    return bytes(snippet.assemble(GUEST))


@pytest.fixture(scope="module")
def plain(snippet: Any, code: bytes) -> Guest:
    guest = Guest(code, snippet, jit=False)
    assert guest.run() == "halted"
    assert guest.compiled == 0
    return guest


def test_the_guest_is_interrupted_in_many_places(plain: Guest) -> None:
    end = plain.memory.ld(COUNT, 4)
    places = struct.unpack(f"<{(end - LOG) // 4}I", plain.memory.read(LOG, end - LOG))
    assert len(places) // 2 > 30
    assert len(set(places[1::2])) > 10


def test_on_is_as_off(snippet: Any, code: bytes, plain: Guest) -> None:
    guest = Guest(code, snippet, jit=True)
    assert guest.run() == "halted"
    assert guest.outcome() == plain.outcome()
    assert guest.compiled > plain.cpu.icount // 2


@pytest.mark.parametrize("first", [True, False])
def test_switched_once_anywhere(first: bool, snippet: Any, code: bytes, plain: Guest) -> None:
    end = plain.cpu.icount
    for at in (*range(1, 300, 11), *range(300, end, 311)):
        guest = Guest(code, snippet, jit=first)
        guest.run(at)
        before = guest.compiled
        guest.cpu.jit = not first
        assert guest.run() == "halted"
        assert guest.outcome() == plain.outcome(), at
        if first:
            assert guest.compiled == before, "compiled code ran after it was switched off"
        elif at < end // 2:
            assert guest.compiled, "no compiled code ran after it was switched on"


@pytest.mark.parametrize("step", [1, 2, 13, 100, 1009])
def test_switched_again_and_again(step: int, snippet: Any, code: bytes, plain: Guest) -> None:
    guest = Guest(code, snippet, jit=True)
    why, at = "budget", 0
    while why == "budget":
        at += step
        why = guest.run(at)
        guest.cpu.jit = not guest.cpu.jit
    assert why == "halted"
    assert guest.outcome() == plain.outcome()


def test_switched_by_a_device_that_the_guest_writes_to(snippet: Any, code: bytes, plain: Guest) -> None:
    guest = Guest(code, snippet, jit=True)
    guest.port.switches = True
    assert guest.run() == "halted"
    assert guest.outcome() == plain.outcome()
    assert guest.compiled


def test_nothing_to_switch_on(snippet: Any, code: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PCEMU_JIT", raising=False)
    _, cpu = snippet.make(code, "max")
    assert not cpu.jit
    cpu.jit = False
    with pytest.raises(ValueError, match="enable_jit"):
        cpu.jit = True


def test_lockstep_stays_on(snippet: Any, code: bytes) -> None:
    _, cpu = snippet.make(code, "max")
    assert cpu.lockstep()
    with pytest.raises(ValueError, match="lockstep"):
        cpu.jit = False
    assert cpu.jit
