"""pcemu as a service that managers start and drive: in the background, over sockets, with PyPI's QMP client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PCEMU = [sys.executable, "-m", "pcemu"]
NONE = ["-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg"]
PATIENCE = 300              # seconds, only there to end a test that hangs
BUSY = bytes.fromhex("faebfe")             # cli; jmp $


class Qmp:
    """A client that reads lines."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(path))        # waits, where the queue of a socket is full
        self.sock.settimeout(PATIENCE)
        self.file = self.sock.makefile("rb")
        self.events: list[dict[str, Any]] = []
        self.greeting = self.read()
        self.run("qmp_capabilities")

    def read(self) -> dict[str, Any]:
        line = self.file.readline()
        if not line:
            raise EOFError
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        self.sock.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while "event" in (answer := self.read()):
            self.events.append(answer)
        return answer

    def run(self, name: str, /, **arguments: Any) -> Any:
        answer = self.ask(name, **arguments)
        assert "return" in answer, answer
        return answer["return"]

    def rest(self) -> list[str]:
        """The events until the end."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while True:
                self.events.append(self.read())
        return [event["event"] for event in self.events]

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # In a container nobody may reap what we started in the background.
    with contextlib.suppress(OSError):
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    return True


def wait_until(condition: Any, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Any]:
    """Start pcemu in the background as a manager does: nothing in its environment, standard input closed, / as directory."""
    pids: list[int] = []

    def start(*arguments: str, machine: list[str] | None = None) -> int:
        pid_file = tmp_path / "pid"
        command = [*(NONE if machine is None else machine), *arguments, "-pidfile", str(pid_file), "-daemonize"]
        program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pcemu.__main__ import main; sys.exit(main())"
        done = subprocess.run(["/bin/sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-c", program, *command], env={}, cwd="/",
                              capture_output=True, text=True, timeout=PATIENCE)  # fmt: skip
        assert done.returncode == 0, done.stderr
        pid = int(pid_file.read_text())
        pids.append(pid)
        return pid

    yield start
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_managers_probe(daemon: Any, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    pid = daemon("-qmp", f"unix:{path},server=on,wait=off")
    assert path.exists(), "the parent leaves when sockets listen"
    qmp = Qmp(path)
    assert qmp.greeting["QMP"]["version"]["qemu"]["major"] >= 4
    commands = {entry["name"] for entry in qmp.run("query-commands")}
    # What libvirt asks a binary about, where the subsystem exists.
    for name in ("query-version", "query-target", "query-kvm", "query-qmp-schema", "qom-list-types", "query-machines",
                 "query-cpu-definitions", "query-command-line-options", "query-migrate-capabilities", "query-name", "query-uuid",
                 "query-status", "query-chardev", "query-cpus-fast", "query-memory-size-summary", "query-mice", "query-fdsets",
                 "query-current-machine", "query-iothreads", "query-memdev", "query-dump-guest-memory-capability"):  # fmt: skip
        qmp.run(name)
        assert name in commands
    qmp.run("device-list-properties", typename="isa-serial")
    qmp.run("qom-list-properties", typename="max-x86_64-cpu")
    full = qmp.run("query-cpu-model-expansion", type="full", model={"name": "max"})["model"]["props"]
    assert full["lm"] is True
    assert {"option": "smp-opts"}.items() <= next(
        entry for entry in qmp.run("query-command-line-options") if entry["option"] == "smp-opts").items()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    qmp.run("quit")
    assert qmp.rest() == ["SHUTDOWN"]
    assert qmp.events[0]["data"] == {"guest": False, "reason": "host-qmp-quit"}
    wait_until(lambda: gone(pid))
    assert not path.exists() and not (tmp_path / "pid").exists()
    qmp.close()


def test_failures_reach_the_parent(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([*PCEMU, *NONE[:-1], "none", *arguments], capture_output=True, text=True, timeout=PATIENCE,
                              cwd=ROOT)  # fmt: skip
        return done.returncode, done.stderr

    assert run("-daemonize", "-qmp", "unix:/nowhere/qmp,server=on,wait=off") == (
        1, "pcemu: chardev 'compat_monitor0': unix:/nowhere/qmp,server=on: No such file or directory\n")
    assert run("-daemonize", "-monitor", "stdio") == (1, "pcemu: cannot use stdio with -daemonize\n")
    assert run("-pidfile", "/nowhere/pid") == (1, "pcemu: cannot create PID file: /nowhere/pid: No such file or directory\n")
    done = subprocess.run([*PCEMU, "-nographic", "-daemonize"], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    assert (done.returncode, done.stderr) == (1, "pcemu: -nographic cannot be used with -daemonize\n")


def test_the_pid_file_is_locked(daemon: Any, tmp_path: Path) -> None:
    daemon()
    command = [*PCEMU, *NONE, "-pidfile", str(tmp_path / "pid")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    assert done.returncode == 1
    assert "cannot be locked" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_cleanly(daemon: Any, tmp_path: Path, number: signal.Signals) -> None:
    path, log = tmp_path / "qmp", tmp_path / "log"
    pid = daemon("-qmp", f"unix:{path},server=on,wait=off", "-no-shutdown", "-D", str(log), "-msg", "timestamp=on,guest-name=on",
                 "-name", "vm7")  # fmt: skip
    qmp = Qmp(path)
    os.kill(pid, number)
    assert qmp.rest() == ["SHUTDOWN"]
    assert qmp.events[0]["data"]["reason"] == "host-signal"
    wait_until(lambda: gone(pid))
    assert not path.exists() and not (tmp_path / "pid").exists()
    assert re.search(rf"^\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z vm7 pcemu: terminating on signal {int(number)}\n",
                     log.read_text(), re.MULTILINE)  # fmt: skip
    qmp.close()


def test_the_sandbox(daemon: Any, tmp_path: Path) -> None:
    path = tmp_path / "qmp"
    pid = daemon("-qmp", f"unix:{path},server=on,wait=off",
                 "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")  # fmt: skip
    status = Path(f"/proc/{pid}/status").read_text()
    if "\nSeccomp:" in status:
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    qmp = Qmp(path)
    assert qmp.run("query-status")["status"] == "prelaunch"
    qmp.run("quit")
    qmp.close()


def test_what_the_sandbox_refuses() -> None:
    program = """
import os, threading
from pcemu.cli.sandbox import confine
confine({"spawn": "deny", "elevateprivileges": "deny", "resourcecontrol": "deny"})
t = threading.Thread(target=lambda: print("thread")); t.start(); t.join()
for name, call in (("fork", os.fork), ("setuid", lambda: os.setuid(0)),
                   ("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
                   ("exec", lambda: os.execv("/bin/true", ["true"])),
                   ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, 5))):
    try:
        call()
        print(name, "worked")
    except PermissionError:
        print(name, "refused")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
    refused = [f"{name} refused" for name in ("fork", "setuid", "spawn", "exec", "nice")]
    assert done.stdout.split("\n") == ["thread", *refused, ""], done


def test_descriptors_on_the_command_line(tmp_path: Path) -> None:
    wanted = tmp_path / "out"
    fd = os.open(wanted, os.O_WRONLY | os.O_CREAT)
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([*PCEMU, *NONE, "-add-fd", f"fd={fd},set=2,opaque=wr", "-chardev", "file,id=f,path=/dev/fdset/2",
                                "-chardev", f"socket,id=q,fd={theirs.fileno()}", "-mon", "q,mode=control"],
                               pass_fds=(fd, theirs.fileno()), cwd=ROOT, stderr=subprocess.DEVNULL)  # fmt: skip
    theirs.close()
    ours.settimeout(PATIENCE)
    file = ours.makefile("rb")
    assert b"QMP" in file.readline()
    ours.sendall(b'{"execute":"qmp_capabilities"}{"execute":"query-fdsets"}{"execute":"quit"}')
    assert json.loads(file.readline()) == {"return": {}}
    assert json.loads(file.readline())["return"] == [{"fdset-id": 2, "fds": [{"fd": fd, "opaque": "wr"}]}]
    assert process.wait(PATIENCE) == 0
    for each in (file, ours):
        each.close()
    os.close(fd)


def test_the_clients_of_pypi(daemon: Any, tmp_path: Path) -> None:
    client = pytest.importorskip("qemu.qmp")
    path = tmp_path / "qmp"
    daemon("-qmp", f"unix:{path},server=on,wait=off")

    async def drive() -> list[str]:
        qmp = client.QMPClient("test")
        await qmp.connect(str(path))
        assert (await qmp.execute("query-status"))["status"] == "prelaunch"
        with pytest.raises(client.ExecuteError) as caught:
            await qmp.execute("no-such-command")
        assert caught.value.error_class == "CommandNotFound"
        seen: list[str] = []
        with qmp.listener(("RESUME", "STOP")) as listener:
            await asyncio.gather(qmp.execute("cont"), qmp.execute("query-version"), qmp.execute("stop"))
            while len(seen) < 2:
                seen.append((await listener.get())["event"])
        await qmp.execute("quit")
        with contextlib.suppress(EOFError):         # it was faster
            await qmp.disconnect()
        return seen

    assert asyncio.run(drive()) == ["RESUME", "STOP"]


def test_the_shell_of_pypi(daemon: Any, tmp_path: Path) -> None:
    pytest.importorskip("qemu.qmp.qmp_shell")
    path = tmp_path / "qmp"
    daemon("-qmp", f"unix:{path},server=on,wait=off")
    command = [sys.executable, "-m", "qemu.qmp.qmp_shell", "-v", str(path)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=PATIENCE,
                          input="query-status\nqom-get path=/machine property=type\nno-such\nquit\n",
                          env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=False)  # fmt: skip
    assert "prelaunch" in done.stdout and "none-machine" in done.stdout and "CommandNotFound" in done.stdout, done


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
def test_socat(daemon: Any, tmp_path: Path) -> None:
    qmp, hmp = tmp_path / "qmp", tmp_path / "hmp"
    daemon("-qmp", f"unix:{qmp},server=on,wait=off", "-monitor", f"unix:{hmp},server=on,wait=off")
    shown = subprocess.run(["socat", "-t60", "-", f"UNIX-CONNECT:{hmp}"], input=b"info status\n", capture_output=True,
                           timeout=PATIENCE)  # fmt: skip
    assert b"VM status: paused (prelaunch)\r\n" in shown.stdout
    asked = subprocess.run(["socat", "-t60", "-", f"UNIX-CONNECT:{qmp}"], capture_output=True, timeout=PATIENCE,
                           input=b"{'execute': 'qmp_capabilities'}{'execute': 'query-name'}{'execute': 'quit'}")  # fmt: skip
    assert [json.loads(line).keys() for line in asked.stdout.splitlines()[:3]] == [{"QMP"}, {"return"}, {"return"}]


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A guest that computes flat out."""
    path, image = tmp_path / "qmp", tmp_path / "bios"
    image.write_bytes(BUSY.ljust(0x10000 - 16, b"\xf4") + bytes.fromhex("ea000000f0").ljust(16, b"\0"))
    process = subprocess.Popen([*PCEMU, "-nodefaults", "-nographic", "-m", "16", "-bios", str(image),
                                "-qmp", f"unix:{path},server=on"], cwd=ROOT, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stderr is not None and b"waiting for connection" in process.stderr.readline()
    yield path, process
    process.kill()
    process.wait()
    process.stderr.close()


def test_clients_do_not_stop_the_guest(busy: tuple[Path, subprocess.Popen[bytes]]) -> None:
    path, _ = busy
    qmp = Qmp(path)
    # Others knock while one is served, in numbers; half a request lies around.
    others = []
    for _ in range(200):
        other = socket.socket(socket.AF_UNIX)
        other.setblocking(False)
        with contextlib.suppress(OSError):
            other.connect(str(path))
        others.append(other)
    qmp.sock.sendall(b'{"execute":')
    qmp.sock.sendall(b'"query-status"}')
    assert qmp.read()["return"]["running"] is True
    for _ in range(50):                         # how long an answer takes: bench/monitor.py
        assert qmp.run("query-status")["running"] is True
    for other in others:
        other.close()
    qmp.close()
    again = Qmp(path)                           # the socket serves the next one
    assert again.run("query-status")["running"] is True
    again.run("quit")
    again.close()


# Says so on the serial port, then sends back what it gets, in capitals: a guest that labgrid can talk to.
ECHO = """
    .code16
start:  cs
        movw    text(%si), %ax
        testb   %al, %al
        jz      echo
        call    send
        incw    %si
        jmp     start
echo:   movw    $0x3fd, %dx
        inb     %dx, %al
        testb   $1, %al
        jz      echo
        movw    $0x3f8, %dx
        inb     %dx, %al
        andb    $0xdf, %al
        call    send
        jmp     echo
send:   movw    $0x3f8, %dx
        outb    %al, %dx
        ret
text:   .asciz  "ready\\r\\n"
"""


def test_labgrid(tmp_path: Path) -> None:
    """labgrid's QEMUDriver: QMP on its pipes, the serial port on a socket that it listens on."""
    labgrid = pytest.importorskip("labgrid")
    source, image = tmp_path / "echo.S", tmp_path / "bios"
    source.write_text(ECHO)
    subprocess.run(["gcc", "-c", "-m32", "-o", tmp_path / "echo.o", source], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", tmp_path / "echo.o", tmp_path / "echo.bin"], check=True)
    code = (tmp_path / "echo.bin").read_bytes()
    image.write_bytes(code.ljust(0x10000 - 16, b"\xf4") + bytes.fromhex("ea000000f0").ljust(16, b"\0"))
    program = tmp_path / "pcemu"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pcemu \"$@\"\n")
    program.chmod(0o755)
    config = tmp_path / "env.yaml"
    config.write_text(f"""
targets:
  main:
    drivers:
      QEMUDriver:
        qemu_bin: pcemu
        machine: pc
        cpu: max
        memory: 16M
        display: none
        bios: bios
        nic: user
        extra_args: ""
tools:
  pcemu: {program}
images:
  bios: {image}
""")
    target = labgrid.Environment(str(config)).get_target("main")
    driver = target.get_driver("QEMUDriver")
    driver.on()
    driver.expect("ready", timeout=PATIENCE)
    driver.write(b"hello")
    driver.expect("HELLO", timeout=PATIENCE)
    driver.add_port_forward("tcp", "127.0.0.1", 0, "", 22)
    assert driver.monitor_command("query-status")["running"] is True
    driver.cycle()
    driver.expect("ready", timeout=PATIENCE)
    driver.off()
    target.cleanup()


# -- qtest ------------------------------------------------------------------------------------------------------------


class Qtest:
    """The end of a test program."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("r")

    def __call__(self, line: str) -> str:
        """The last of what is said about interrupt lines counts little here: the answer."""
        self.sock.sendall(line.encode() + b"\n")
        while (answer := self.file.readline()).startswith("IRQ"):
            pass
        return answer.rstrip("\n")

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def test_qtest_steps_a_machine(daemon: Any, tmp_path: Path) -> None:
    path, log, monitor = tmp_path / "qtest", tmp_path / "log", tmp_path / "qmp"
    daemon("-accel", "qtest", "-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", str(log),
           "-rtc", "base=2024-02-29T23:59:58", "-qmp", f"unix:{monitor},server=on,wait=off",
           machine=["-nodefaults", "-display", "none"])  # fmt: skip
    qmp = Qmp(monitor)
    assert qmp.run("query-status") == {"status": "running", "singlestep": False, "running": True}
    ask = Qtest(path)
    assert ask("clock_step 0") == "OK 0", "no time passes by itself"

    def cmos(register: int) -> int:
        assert ask(f"outb 0x70 {register}") == "OK"
        return int(ask("inb 0x71")[3:], 16)

    assert [cmos(register) for register in (4, 2, 0)] == [0x23, 0x59, 0x58]
    assert ask("clock_step 2500000000") == "OK 2500000000"
    assert [cmos(register) for register in (9, 8, 7, 4, 2, 0)] == [0x24, 3, 1, 0, 0, 0]
    # Many lines at once, halves of lines, and an interrupt in between.
    assert ask("irq_intercept_in ioapic") == "OK"
    ask.sock.sendall(b"outb 0x43 0x34\noutb 0x40 0\noutb 0x40 0\nclock_st")
    assert [ask.file.readline() for _ in range(4)] == ["IRQ raise 2\n", "OK\n", "OK\n", "OK\n"], "mode 2 is high at first"
    ask.sock.sendall(b"ep 60000000\n")
    assert [ask.file.readline() for _ in range(3)] == ["IRQ lower 2\n", "IRQ raise 2\n", "OK 2560000000\n"]
    # A reset is done before the next line is read; a stopped machine has no timers.
    assert ask("writel 0x1000 1") == "OK" and ask("outb 0xcf9 6") == "OK"
    assert ask("inb 0x21") == "OK 0x0000"
    qmp.run("stop")
    assert ask("clock_step") == "OK 2560000000" or ask("clock_step 1000000000").startswith("OK")
    ask.close()
    again = Qtest(path)
    assert again("endianness") == "OK little"
    assert again("x" * 100_000).startswith("FAIL Unknown command 'xxx")
    again.sock.sendall(b"clock_step 99999999999999999\n")
    qmp.run("cont")
    qmp.run("query-status")                     # a step of three years is on its way, longer than the client waits
    again.close()
    qmp.run("quit")
    qmp.rest()
    assert {"RESET", "STOP", "RESUME", "SHUTDOWN"} <= {event["event"] for event in qmp.events}
    qmp.close()
    lines = log.read_text().splitlines()
    assert re.fullmatch(r"\[I \+\d+\.\d{6}\] OPENED", lines[0])
    assert re.fullmatch(r"\[R \+\d+\.\d{6}\] clock_step 0", lines[1])
    assert re.fullmatch(r"\[S \+\d+\.\d{6}\] OK 0", lines[2])
    assert sum("OPENED" in line for line in lines) == 2


def test_qtest_beside_a_processor(tmp_path: Path) -> None:
    """Without -accel qtest the guest runs, and nobody steps its clock."""
    image = tmp_path / "bios"
    image.write_bytes(BUSY.ljust(0x10000 - 16, b"\xf4") + bytes.fromhex("ea000000f0").ljust(16, b"\0"))
    process = subprocess.Popen([*PCEMU, "-nodefaults", "-display", "none", "-m", "16", "-bios", str(image),
                                "-qtest", "stdio", "-qtest-log", "none"], cwd=ROOT,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("clock_step\noutb 0x80 0x12\nreadb 0xf0000\n")
    process.stdin.flush()
    answers = [process.stdout.readline() for _ in range(3)]
    assert answers == ["FAIL Unknown command 'clock_step'\n", "OK\n", "OK 0x00000000000000fa\n"]
    process.terminate()
    process.communicate(timeout=PATIENCE)


def test_wrong_qtest_options(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run([*PCEMU, "-machine", "none", "-nodefaults", "-display", "none", *arguments], capture_output=True,
                              text=True, timeout=PATIENCE, cwd=ROOT, stdin=subprocess.DEVNULL)  # fmt: skip
        assert done.returncode == 1
        return done.stderr

    assert run("-qtest", "null", "-qtest", "null") == "pcemu: -qtest null: there is one qtest connection\n"
    assert run("-qtest", "null", "-qtest-log", "/nowhere/log") == "pcemu: -qtest-log /nowhere/log: No such file or directory\n"
    assert run("-accel", "qtest", "-icount", "0") == "pcemu: -icount: only with -accel tcg\n"
