"""How a machine ends, from the guest's side: a few bytes of code at the reset vector, and the whole program around them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.test_program import ENV, TIMEOUT, needs_core

pytestmark = needs_core

ROM_SIZE = 65536
RESET_VECTOR = ROM_SIZE - 16

DEBUG_EXIT = bytes.fromhex("b011 ba0105 ee f4")  # mov al,11h; mov dx,501h; out dx,al; hlt
RESET = bytes.fromhex("b006 baf90c ee f4")  # mov al,6; mov dx,0cf9h; out dx,al; hlt
TRIPLE_FAULT = bytes.fromhex("0f011e0000 cc")  # lidt [0] (limit 0); int3
HALT = bytes.fromhex("fa f4 ebfd")  # cli; hlt; jmp $-1
SPIN = bytes.fromhex("ebfe")  # jmp $


@pytest.fixture
def boot(tmp_path: Path):
    def boot(code: bytes, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        rom = bytearray(b"\xf4" * ROM_SIZE)
        rom[RESET_VECTOR : RESET_VECTOR + len(code)] = code
        path = tmp_path / "rom.bin"
        path.write_bytes(rom)
        command = [sys.executable, "-m", "pcemu", "-display", "none", "-m", "16", "-bios", os.fspath(path), *arguments]
        return subprocess.run(command, input=input, capture_output=True, text=True, timeout=TIMEOUT, env=ENV)

    return boot


def test_debug_exit(boot) -> None:
    done = boot(DEBUG_EXIT, "-device", "isa-debug-exit")
    assert (done.returncode, done.stderr) == (0x11 << 1 | 1, "")


def test_reset_with_no_reboot(boot) -> None:
    done = boot(RESET, "-no-reboot")
    assert (done.returncode, done.stderr) == (0, "")


def test_triple_fault_says_so_and_dumps_state(boot) -> None:
    done = boot(TRIPLE_FAULT, "-no-reboot")
    assert done.returncode == 0
    assert done.stderr.startswith("pcemu: triple fault: the processor shut down\nCPU#0\nEAX=00000000 ")
    assert "IDT=     00000000 00000000\n" in done.stderr


def test_monitor_sees_halted_reset_and_power_off(boot) -> None:
    done = boot(HALT, "-monitor", "stdio", "-no-shutdown",
                input="info status\nstop\ninfo status\ncont\nsystem_reset\ninfo status\nquit\n")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("VM status: running") == 2
    assert "VM status: paused" in done.stdout


def test_monitor_answers_while_the_guest_spins(boot) -> None:
    done = boot(SPIN, "-monitor", "stdio", input="info status\nquit\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "VM status: running" in done.stdout


def test_instruction_log(boot, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert boot(DEBUG_EXIT, "-device", "isa-debug-exit", "-d", "in_asm,exec,cpu_reset", "-D", str(log)).returncode == 35
    text = log.read_text()
    assert text.startswith("CPU Reset (CPU 0)\n")
    assert text.count("Trace ") == 3
    assert "[00000000ffff0000/000000000000fff0]" in text
    assert "0xfffffff5:  ee " in text


def test_trace_events(boot) -> None:
    done = boot(bytes.fromhex("b034 e643 f4"), "-device", "isa-debug-exit", "-trace", "pit_*", "-trace", "nonesuch",
                "-monitor", "stdio", input="quit\n")  # fmt: skip
    assert "pcemu: warning: trace event 'nonesuch' does not exist in this machine\n" in done.stderr
    assert "pit_ioport_write " in done.stderr
