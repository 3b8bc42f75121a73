"""The program as a user starts it: exit statuses, what is said where, and the terminal afterwards."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from pcemu.cli import main

TIMEOUT = 600
ROOT = str(Path(__file__).resolve().parents[2])
PATH = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH", ""))))
ENV = {**os.environ, "PYTHONPATH": PATH}


def core_is_built() -> bool:
    try:
        from pcemu._core import engine
    except ImportError:
        return False
    return hasattr(engine, "Memory") and hasattr(engine, "Cpu")


needs_core = pytest.mark.skipif(not core_is_built(), reason="the compiled core is not built")


def pcemu(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pcemu", *arguments], input=input, capture_output=True, text=True,
                          timeout=TIMEOUT, env=ENV, stdin=None if input is not None else subprocess.DEVNULL)  # fmt: skip


# -- what is wrong is one line, on standard error, and status 1 -----------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-bogus"], "pcemu: -bogus: invalid option"),
        (["-hda", "x"], "pcemu: -hda: not implemented yet"),
        (["-device", "bogus"], "pcemu: -device bogus: 'bogus' is not a valid device model name"),
        (["-machine", "bogus"], "pcemu: -machine bogus: unsupported machine type; use -machine help to list supported machines"),
        (["-accel", "kvm"], "pcemu: -accel kvm: pcemu has no KVM; use -accel tcg, or -machine accel=kvm:tcg for both"),
    ],
)
def test_usage_errors(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert main.run(arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


@needs_core
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-cpu", "bogus"], "unable to find CPU model 'bogus'"),
        (["-chardev", "bogus,id=a"], "'bogus' is not a valid char driver name"),
        (["-device", "isa-serial,chardev=c9"], "Property 'isa-serial.chardev' can't find value 'c9'"),
        (["-drive", "file=x"], "-drive file=x: if=ide (the default): not implemented yet"),
        (["-drive", "file=/nonexistent/x,if=none"], "Could not open '/nonexistent/x': No such file or directory"),
        (["-machine", "pc,nonsense=1"], "Property 'nonsense' not found"),
        (["-kernel", "/nonexistent"], "-kernel /nonexistent: No such file or directory"),
        (["-D", "/nonexistent/log"], "-D /nonexistent/log: No such file or directory"),
    ],
)
def test_errors_of_building(arguments: list[str], text: str) -> None:
    done = pcemu("-display", "none", "-nodefaults", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pcemu: ")
    assert text in done.stderr


def test_lists_go_to_standard_output() -> None:
    done = pcemu("-device", "help")
    assert (done.returncode, done.stderr) == (0, "")
    assert 'name "isa-serial", bus ISA' in done.stdout


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m pcemu -cpu help | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=TIMEOUT, env=ENV)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_help_imports_little() -> None:
    code = (
        "import sys; from pcemu.cli import main; main.run(['-help'])\n"
        "heavy = {'asyncio', 'numpy', 'capstone', 'ssl', 'pcemu._core.engine', 'pcemu.machine.machine'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, env=ENV)
    assert done.stderr == ""


def test_a_device_of_another_package(tmp_path: Path) -> None:
    """Found by its entry point; nothing in this repository knows it."""
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pcemu.hw.isa.bus import IsaDevice\n"
        "from pcemu.qom import Property\n"
        "class Rocket(IsaDevice):\n"
        "    '''A rocket.'''\n"
        "    type_name = 'acme-rocket'\n"
        "    fuel = Property(int, default=7, help='in litres')\n"
    )
    info = tmp_path / "acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pcemu.devices]\nacme-rocket = acme:Rocket\n")
    env = {**ENV, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PATH}"}
    done = subprocess.run([sys.executable, "-m", "pcemu", "-device", "acme-rocket,help"], capture_output=True, text=True,
                          timeout=TIMEOUT, env=env)  # fmt: skip
    assert done.stderr == ""
    assert "fuel=<uint32>" in done.stdout


# -- a machine that runs --------------------------------------------------------------------------------------


@needs_core
def test_monitor_quit_ends_with_status_0() -> None:
    done = pcemu("-machine", "none", "-display", "none", "-serial", "none", "-monitor", "stdio", input="info status\nquit\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "VM status: running" in done.stdout


@needs_core
def test_dash_s_does_not_start() -> None:
    done = pcemu("-S", "-machine", "none", "-display", "none", "-serial", "none", "-monitor", "stdio",
                 input="info status\nquit\n")  # fmt: skip
    assert "VM status: paused (prelaunch)" in done.stdout


@needs_core
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it_and_the_terminal_is_as_before(number: signal.Signals) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        [sys.executable, "-m", "pcemu", "-nographic", "-machine", "none", "-serial", "none", "-monitor", "stdio"],
        stdin=slave, stdout=slave, stderr=subprocess.PIPE, text=True, start_new_session=True, env=ENV,
    )  # fmt: skip
    try:
        seen = read_until(master, b"(qemu) ")
        assert b"(qemu) " in seen
        assert not termios.tcgetattr(slave)[3] & termios.ICANON  # raw while it runs
        process.send_signal(number)
        _, err = process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
    assert process.returncode == 0
    assert err == f"pcemu: terminating on signal {int(number)}\n"
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def read_until(fd: int, text: bytes) -> bytes:
    seen = b""
    end = time.monotonic() + TIMEOUT
    while text not in seen and time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0]:
            seen += os.read(fd, 4096)
    return seen
