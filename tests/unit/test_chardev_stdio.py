"""Standard input and output, as a terminal and as anything else; the terminal is restored whatever happens."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from typing import Any

import pytest

PROGRAM = """
import os, sys
from pcemu.chardev import create
from pcemu.testing.loophost import LoopHost

host = LoopHost()
device = create(host, {"backend": "stdio", "id": "c", "signal": "%s"})
got = bytearray()
events = []
device.on_event = events.append
device.on_input = got.extend
device.write(b"ready\\n")
%s
"""


class Session:
    """A program on a terminal of its own."""

    def __init__(self, body: str, signals: str = "on", leader: bool = True) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)

        def own_terminal() -> None:
            import fcntl

            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM % (signals, body)],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, preexec_fn=own_terminal if leader else None,
        )
        self.output = b""

    def expect(self, text: bytes) -> None:
        while text not in self.output:
            assert select.select([self.master], [], [], 300)[0], self.output
            self.output += os.read(self.master, 1000)

    def lflag(self) -> int:
        flags: int = termios.tcgetattr(self.slave)[3]
        return flags

    def restored(self) -> bool:
        return bool(termios.tcgetattr(self.slave) == self.before)

    def until_restored(self) -> None:
        """The guardian works behind the back of a process that died: give it its moment."""
        for _ in range(60_000):
            if self.restored():
                return
            select.select([], [], [], 0.005)
        raise AssertionError("the terminal was left raw")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[Any]:
    made: list[Session] = []

    def make(body: str, signals: str = "on", leader: bool = True) -> Session:
        made.append(Session(body, signals, leader))
        return made[-1]

    yield make
    for each in made:
        each.close()


FOREVER = "host.until(lambda: False)"


def test_raw_mode_and_restoration_on_close(session: Any) -> None:
    s = session("host.until(lambda: b'q' in got); print(bytes(got), flush=True); host.close()", "off")
    s.expect(b"ready")
    assert not s.lflag() & (termios.ICANON | termios.ECHO | termios.ISIG)
    os.write(s.master, b"\x03\x1aq")        # Ctrl-C and Ctrl-Z are the guest's
    s.expect(rb"b'\x03\x1aq'")
    assert s.process.wait(300) == 0
    assert s.restored()


def test_signals_on_leaves_ctrl_c_to_pcemu(session: Any) -> None:
    s = session(FOREVER)
    s.expect(b"ready")
    assert s.lflag() & termios.ISIG
    os.write(s.master, b"\x03")
    s.expect(b"KeyboardInterrupt")
    s.process.wait(300)
    assert s.restored()


@pytest.mark.parametrize("body", ["raise RuntimeError('a bug')", "sys.exit(3)"])
def test_restoration_when_nobody_closes(session: Any, body: str) -> None:
    s = session("host.turn(); " + body)
    s.process.wait(300)
    assert s.restored()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_restoration_on_ending_signals(session: Any, number: signal.Signals) -> None:
    s = session(FOREVER)
    s.expect(b"ready")
    assert not s.restored()
    s.process.send_signal(number)
    assert s.process.wait(300) == -number
    assert s.restored()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_restoration_when_the_process_just_dies(session: Any, number: signal.Signals) -> None:
    s = session(FOREVER, leader=False)     # (a terminal whose session leader dies is hung up by the kernel)
    s.expect(b"ready")
    s.process.send_signal(number)
    assert s.process.wait(300) == -number
    s.until_restored()


def test_suspended_and_continued(session: Any) -> None:
    s = session(FOREVER)
    s.expect(b"ready")
    s.process.send_signal(signal.SIGTSTP)
    assert os.waitid(os.P_PID, s.process.pid, os.WSTOPPED | os.WNOWAIT) is not None
    assert s.restored()
    s.process.send_signal(signal.SIGCONT)
    for _ in range(60_000):
        if not s.restored():
            break
        select.select([], [], [], 0.005)
    assert not s.lflag() & termios.ICANON


def run(body: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", PROGRAM % ("on", body)], capture_output=True, timeout=600, **kwargs)


def test_input_from_a_pipe_and_its_end() -> None:
    done = run("host.until(lambda: 'closed' in events); device.write(bytes(got)); host.close()", input=b"from a pipe")
    assert done.stdout == b"ready\nfrom a pipe"


def test_input_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"x" * 10_000)
    with path.open("rb") as stream:
        done = run("host.until(lambda: events); device.write(b'%d' % len(got)); host.close()",
                   stdin=stream)
    assert done.stdout == b"ready\n10000"


def test_no_input_at_all() -> None:
    done = run("host.until(lambda: events); host.close()", stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, b"ready\n")


def test_output_to_a_slow_reader_is_complete() -> None:
    body = "device.write(b'y' * 1_000_000); host.close()"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM % ("on", body)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE)
    assert process.stdout is not None
    got = process.stdout.read()
    process.wait()
    assert got == b"ready\n" + b"y" * 1_000_000


def test_a_reader_that_leaves_is_no_reason_to_fail() -> None:
    body = "device.write(b'y' * 200_000); host.turn(); device.write(b'more'); host.close()"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM % ("on", body)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"output lost" in process.stderr.read()
    assert process.wait(300) == 0


def test_one_stdio_a_process() -> None:
    done = run("""
from pcemu.chardev import ChardevError
try:
    create(host, {"backend": "stdio", "id": "d"})
except ChardevError as error:
    print(error, flush=True)
host.close()
""", stdin=subprocess.DEVNULL)
    assert b"cannot use stdio by multiple character devices" in done.stdout
