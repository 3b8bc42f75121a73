"""Keyboard, mouse and their controller beside QEMU's.

Where they differ on purpose:
- status bit 3 says whether the last write was a command; QEMU leaves it on. Bit 2 follows the command byte, in QEMU only
  the self-test. The answer to a command is lost when
  another command comes, QEMU gives both;
- Alt and Print Screen give SysRq's code alone;
- set 3: the keypad's - and / have the codes of IBM's table, and key types decide about repeats and releases;
- the Korean keys send the codes of Microsoft's specification;
- the mouse's status has the buttons; packets carry 9 bits of movement, and 4 of the wheel.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from qemu_oracle import Poked, needs_qemu

from pcemu.hw.input.pckbd import I8042
from pcemu.hw.input.scancodes import CODES
from pcemu.testing.harness import TestMachine

pytestmark = [pytest.mark.oracle, needs_qemu]

DIFFER = {"lang1", "lang2"}
DIFFER_3 = {"kp_subtract", "kp_divide"}


class Ours:
    def __init__(self) -> None:
        self.m = TestMachine()
        self.dev = self.m.add(I8042)
        self.outb, self.inb = self.m.outb, self.m.inb

    def key(self, qcode: str, down: bool) -> bool:
        return self.dev.kbd.key_event(qcode, down)


class Theirs:
    def __init__(self, qemu: Poked) -> None:
        self.qemu = qemu
        self.outb, self.inb = qemu.outb, qemu.inb

    def key(self, qcode: str, down: bool) -> bool:
        key = {"type": "qcode", "data": qcode}
        try:
            self.qemu.qmp("input-send-event", events=[{"type": "key", "data": {"down": down, "key": key}}])
        except RuntimeError:
            return False
        return True


def drain(machine: Any, limit: int = 64) -> list[int]:
    out = []
    while machine.inb(0x64) & 1 and len(out) < limit:
        out.append(machine.inb(0x60))
    return out


@pytest.mark.parametrize(("number", "translate"), [(1, 0), (2, 0), (3, 0), (2, 0x40)])
def test_every_key(tmp_path: Path, number: int, translate: int) -> None:
    compared = 0
    with Poked(tmp_path) as qemu:
        both = (Ours(), Theirs(qemu))
        for machine in both:
            for port, value in ((0x64, 0x60), (0x60, translate), (0x60, 0xF0), (0x60, number)):
                machine.outb(port, value)
            drain(machine)
            if number == 3:
                machine.outb(0x60, 0xFA)  # all keys as in the other sets
                drain(machine)
        for key in sorted(CODES[number].keys() | {"print", "pause"}):
            if key in DIFFER or (number == 3 and key in DIFFER_3):
                continue
            seen = []
            for machine in both:
                known = machine.key(key, True)
                down = drain(machine)
                machine.key(key, False)
                seen.append((down, drain(machine)) if known and (down or machine is both[0]) else None)
            if seen[1] is not None:
                assert seen[0] == seen[1], key
                compared += 1
    assert compared > 100


def test_modified_keys(tmp_path: Path) -> None:
    with Poked(tmp_path) as qemu:
        both = (Ours(), Theirs(qemu))
        for machine in both:
            machine.outb(0x64, 0x60)
            machine.outb(0x60, 0)
        for modifier, key in (("ctrl", "pause"), ("ctrl_r", "pause"), ("shift", "a"), ("alt", "kp_enter")):
            seen = []
            for machine in both:
                out = []
                for name, down in ((modifier, True), (key, True), (key, False), (modifier, False)):
                    machine.key(name, down)
                    out += drain(machine)
                seen.append(out)
            assert seen[0] == seen[1], modifier


@pytest.mark.parametrize("seed", range(3))
def test_keyboard_commands(tmp_path: Path, seed: int) -> None:
    """Random commands with their parameters: the same answers."""
    rng = random.Random(seed)
    with Poked(tmp_path, "-S") as qemu:
        both = (Ours(), Theirs(qemu))
        for machine in both:
            machine.outb(0x64, 0x60)
            machine.outb(0x60, 0)
        for _ in range(200):
            command = rng.choice((0xED, 0xEE, 0xF0, 0xF0, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xFF))
            words = [command]
            if command in (0xED, 0xF3):
                words.append(rng.randrange(0x80))
            elif command == 0xF0:
                words.append(rng.randrange(4))
            for word in words:
                answers = []
                for machine in both:
                    machine.outb(0x60, word)
                    answers.append(drain(machine))
                assert answers[0] == answers[1], f"{[hex(w) for w in words]}"


@pytest.mark.parametrize("seed", range(3))
def test_mouse_commands(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with Poked(tmp_path, "-S") as qemu:
        both = (Ours(), Theirs(qemu))
        for machine in both:
            machine.outb(0x64, 0xD4)
            machine.outb(0x60, 0xFF)
            drain(machine)
        for _ in range(300):
            command = rng.choice((0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF0, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xFF, 0xEE))
            words = [command]
            if command == 0xE8:
                words.append(rng.randrange(4))
            elif command == 0xF3:
                words = [0xF3, 200, 0xF3, rng.choice((100, 200)), 0xF3, rng.choice((80, 60)), 0xF2]
            elif command == 0xEE:
                words = [0xEE, rng.randrange(256) & 0x7F, 0xEC]
            for word in words:
                answers = []
                for machine in both:
                    machine.outb(0x64, 0xD4)
                    machine.outb(0x60, word)
                    answers.append(drain(machine))
                assert answers[0] == answers[1], f"{[hex(w) for w in words]}"


@pytest.mark.parametrize("seed", range(3))
def test_controller(tmp_path: Path, seed: int) -> None:
    """Commands one at a time, their answers fetched; status, command byte and output port compared."""
    rng = random.Random(seed)
    with Poked(tmp_path, "-S") as qemu:
        both = (Ours(), Theirs(qemu))
        for _ in range(400):
            words = rng.choice((
                [(0x64, 0x20)], [(0x64, 0x60), (0x60, rng.randrange(0x80) & ~0x08)], [(0x64, 0xA7)], [(0x64, 0xA8)],
                [(0x64, 0xA9)], [(0x64, 0xAA)], [(0x64, 0xAB)], [(0x64, 0xAD)], [(0x64, 0xAE)], [(0x64, 0xC0)], [(0x64, 0xD0)],
                [(0x64, 0xD1), (0x60, rng.choice((0xCF, 0xCD)))], [(0x64, 0xD2), (0x60, rng.randrange(256))],
                [(0x64, 0xD3), (0x60, rng.randrange(256))], [(0x64, 0xDD)], [(0x64, 0xDF)], [(0x64, 0xFF)],
                [(0x60, 0xEE)], [(0x60, 0xF2)], [(0x64, 0xD4), (0x60, 0xF2)],
            ))  # fmt: skip
            seen = []
            for machine in both:
                out = []
                for port, value in words:
                    machine.outb(port, value)
                    out.append(machine.inb(0x64) & ~0x0C)
                out += drain(machine)
                machine.outb(0x64, 0x20)
                out += drain(machine)
                machine.outb(0x64, 0xD0)
                out += drain(machine)
                seen.append(out)
            assert seen[0] == seen[1], [(hex(p), hex(v)) for p, v in words]
