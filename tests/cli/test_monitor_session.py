"""The monitor as a user meets it: pcemu in a terminal, and with commands from a pipe."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios

PCEMU = [sys.executable, "-m", "pcemu"]


def test_commands_from_a_pipe() -> None:
    commands = b"info status\np $pc\nx /1i $pc\ninfo registers\ninfo qtree\ncont\nstop\ninfo status\nquit\n"
    done = subprocess.run([*PCEMU, "-S", "-m", "16", "-nodefaults", "-display", "none", "-monitor", "stdio"],
                          input=commands, capture_output=True, timeout=600)
    text = done.stdout.decode()
    assert done.returncode == 0, done.stderr
    assert text.startswith("pcemu ")
    assert "(qemu) info status\r\nVM status: paused (prelaunch)\r\n(qemu) " in text
    assert "(qemu) p $pc\r\n0xfffffff0\r\n" in text
    assert "\r\nEIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n" in text
    assert "\r\nCS =f000 ffff0000 0000ffff 00009b00\r\n" in text
    assert "\r\n          dev: isa-i8259, id \"\"\r\n" in text
    assert "(qemu) info status\r\nVM status: paused\r\n(qemu) quit\r\n" in text
    assert text.endswith("quit\r\n")


def test_compiled_code_switched() -> None:
    def session(*accel: str) -> list[str]:
        commands = b"info jit\njit on\ninfo jit\njit off\ninfo jit\njit\nquit\n"
        done = subprocess.run([*PCEMU, "-S", "-m", "16", "-nodefaults", "-display", "none", "-monitor", "stdio", *accel],
                              input=commands, capture_output=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.decode().split("\r\n") if line.startswith(("jit ", "Error"))]

    on, off = (f"jit                       {state}" for state in ("on", "off"))
    if (found := session())[0] == on:
        assert found[:3] == [on, on, off]
        assert session("-accel", "tcg,jit=off")[:3] == [off, on, off], "the first compiled code may come late"
        refused = "Error: lockstep=on compares compiled code: it cannot be switched off"
        assert session("-accel", "tcg,lockstep=on")[:4] == [on, on, refused, on]


def test_keys_of_nographic() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen([*PCEMU, "-S", "-m", "16", "-nographic"], stdin=slave, stdout=slave, stderr=subprocess.PIPE)
    output = b""

    def expect(text: bytes) -> None:
        nonlocal output
        while text not in output:
            assert select.select([master], [], [], 300)[0], output
            output += os.read(master, 4096)
        output = output.split(text, 1)[1]

    try:
        while termios.tcgetattr(slave) == before:       # the program is on its way
            assert process.poll() is None, process.communicate()[1]
            select.select([], [], [], 0.02)
        os.write(master, b"\x01h")
        expect(b"C-a x    end pcemu")
        os.write(master, b"\x01c")
        expect(b"(qemu) ")
        os.write(master, b"info chardev\r")
        expect(b"serial0: filename=mux")
        expect(b"(qemu) ")
        os.write(master, b"\x03\x01x")
        expect(b"pcemu: Terminated")
        assert process.wait(300) == 0
        assert termios.tcgetattr(slave) == before
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
        assert process.stderr is not None
        process.stderr.close()
