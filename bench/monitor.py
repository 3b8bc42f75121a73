"""What a QMP monitor answers how fast while the guest computes flat out, and what the guest loses to one that is idle.

    python -m bench.monitor [--times N] [--guests NAME,...] [--kernel FILE] [--turns N] [--rounds N]

Round trips are from the request's send() to the answer's last byte, one after the other, on a Unix socket. The host's scheduler
has its share in them: it lets a task wait for a processor, 4 ms and more at a time where others compute. So the kernel's account
of that (/proc/PID/schedstat, of client and pcemu) is read before and after each, and those in which nobody has waited are
shown apart, as *undisturbed*. The `control` is a Python program in pcemu's place: it computes for 1.5 ms, looks whether there
is a request, and sends it back.

The loss is in instructions of the host (by perf, if it is there) and CPU time: the guest counts so far with and without a client
that is connected and silent, in turn; the median of the ratios of neighbours counts, so a host with other work shifts it less
than it shifts times.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PCEMU = [sys.executable, "-m", "pcemu"]
MACHINE = ["-nodefaults", "-display", "none", "-m", "256"]
ROOT = Path(__file__).resolve().parent.parent
HEADER = """
        .long   0x1BADB002, 0, -0x1BADB002
        .globl  _start
_start: movl    $stack, %esp
        cld
"""
FOOTER = """
        .bss
        .space  4096
stack:
"""
# Multiboot kernels. The first ends: a sum over a page of memory, ROUNDS times (0: for ever), then exit by isa-debug-exit.
GUESTS = {
    "computing": """
        movl    $ROUNDS, %ebp
again:  movl    $0x300000, %esi
        movl    $1024, %ecx
        xorl    %eax, %eax
next:   movl    (%esi), %edx
        addl    %edx, %eax
        roll    $5, %eax
        xorl    %ecx, %eax
        addl    $4, %esi
        decl    %ecx
        jnz     next
        movl    %eax, 0x301000
        decl    %ebp
        jnz     again
        movw    $0x501, %dx
        xorl    %eax, %eax
        outb    %al, %dx
""",
    "streaming": """
1:      movl    $0x1000000, %esi
        movl    $0x3000000, %ecx
2:      addl    (%esi), %eax
        addl    $4, %esi
        decl    %ecx
        jnz     2b
        jmp     1b
""",
    "random access": """
1:      imull   $1664525, %eax, %eax
        addl    $1013904223, %eax
        movl    %eax, %ebx
        shrl    $5, %ebx
        andl    $0x7fffffc, %ebx
        addl    0x1000000(%ebx), %edx
        jmp     1b
""",
    "rep movsb": """
1:      movl    $0x1000000, %esi
        movl    $0x5000000, %edi
        movl    $0x4000000, %ecx
        rep movsb
        jmp     1b
""",
    "overlapping movsb": """
1:      movl    $0x1000000, %esi
        movl    $0x1000001, %edi
        movl    $0x4000000, %ecx
        rep movsb
        jmp     1b
""",
    "repe cmpsb": """
1:      movl    $0x1000000, %esi
        movl    $0x5000000, %edi
        movl    $0x4000000, %ecx
        repe cmpsb
        jmp     1b
""",
    "self-modifying": """
1:      incl    2f + 1
2:      movl    $5, %eax
        jmp     1b
""",
    "new code": """
1:      movl    $0x1000000, %edi
        movl    $0x10000, %ecx
2:      movl    $0x00eb40, (%edi)
        addl    $3, %edi
        decl    %ecx
        jnz     2b
        movb    $0xc3, (%edi)
        movl    $0x1000000, %eax
        call    *%eax
        jmp     1b
""",
    "interrupts off": """
        cli
1:      jmp     1b
""",
    "ports": """
1:      outb    %al, $0x80
        inb     $0x61, %al
        jmp     1b
""",
    "slow instructions": """
        fninit
1:      movl    $stack, %esp
        enter   $0, $31
        fldpi
        fsin
        fstp    %st
        xorl    %eax, %eax
        cpuid
        jmp     1b
""",
    "halted": """
        cli
1:      hlt
        jmp     1b
""",
}
QUERIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("query-status", {}),
    ("query-name", {}),
    ("query-cpus-fast", {}),
    ("query-block", {}),
    ("query-blockstats", {}),
    ("query-chardev", {}),
    ("query-pci", {}),
    ("query-memory-size-summary", {}),
    ("qom-list", {"path": "/machine"}),
    ("qom-get", {"path": "/machine", "property": "type"}),
    ("human-monitor-command", {"command-line": "info registers"}),
)


class Client:
    """A QMP connection."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(600)
        deadline = time.monotonic() + 600
        while True:
            try:
                self.sock.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.ask("qmp_capabilities", {})

    def ask(self, name: str, arguments: dict[str, Any]) -> tuple[float, Any]:
        """Seconds, and the answer."""
        request = json.dumps({"execute": name, "arguments": arguments}).encode()
        start = time.perf_counter()
        self.sock.sendall(request)
        line = self.file.readline()
        taken = time.perf_counter() - start
        answer = json.loads(line)
        if "event" in answer:
            return self._rest(start)
        return taken, answer

    def _rest(self, start: float) -> tuple[float, Any]:
        while "event" in (answer := json.loads(self.file.readline())):
            pass
        return time.perf_counter() - start, answer

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def build(where: Path, guest: str, rounds: int = 0) -> Path:
    source, kernel = where / "guest.S", where / f"guest{list(GUESTS).index(guest)}-{rounds}"
    if not kernel.exists():
        source.write_text(HEADER + GUESTS[guest].replace("ROUNDS", str(rounds)) + FOOTER)
        flags = ["-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0x200000"]
        subprocess.run(["gcc", *flags, "-o", kernel, source], check=True)
    return kernel


def waited(*pids: int) -> int:
    """ns that these processes' first threads were ready to run and did not; 0 where the kernel keeps no account of it."""
    try:
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in pids)
    except FileNotFoundError:
        return 0


class Trips:
    """Round trips in ms, and how long somebody waited for a processor meanwhile."""

    HEADINGS = f"{'median':>9}{'p99':>8}{'p99.9':>8}{'most':>8}   undisturbed:{'p99.9':>8}{'most':>8}"

    def __init__(self) -> None:
        self.all: list[tuple[float, float]] = []

    def add(self, seconds: float, waited_ns: int) -> None:
        self.all.append((1000 * seconds, waited_ns / 1e6))

    def row(self) -> str:
        times = sorted(took for took, _ in self.all)
        calm = sorted(took for took, wait in self.all if wait < 0.1)
        figures = "".join(f"{at(times, share):{8 + (share == 0.5)}.2f}" for share in (0.5, 0.99, 0.999, 1))
        rest = "".join(f"{at(calm, share):8.2f}" for share in (0.999, 1) if calm)
        return f"{figures}{100 * len(calm) / len(times):12.0f} % {rest}"


def at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def pause(turn: int) -> None:
    time.sleep((turn * 37 % 100) / 1e5)             # up to a millisecond: not in step with the guest's slices


def round_trips(where: Path, kernel: Path, times: int) -> dict[str, Trips]:
    """Round trips while the guest computes, by query."""
    path = where / "qmp"
    command = [*PCEMU, *MACHINE, "-kernel", str(kernel), "-qmp", f"unix:{path},server=on,wait=off"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        client = Client(path)
        for name, arguments in QUERIES:             # the first of each imports what it needs
            client.ask(name, arguments)
        time.sleep(0.5)                             # and the guest's code is compiled
        found = {name: Trips() for name, _ in QUERIES}
        pids = (os.getpid(), process.pid)
        for turn in range(times):
            for name, arguments in QUERIES:
                pause(turn)
                before = waited(*pids)
                taken, answer = client.ask(name, arguments)
                found[name].add(taken, waited(*pids) - before)
                if "error" in answer:
                    sys.exit(f"{name}: {answer['error']['desc']}")
        client.close()
        return found
    finally:
        process.kill()
        process.wait()
        path.unlink(missing_ok=True)


def control(times: int) -> Trips:
    """The same with nothing but a loop in pcemu's place."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        theirs.setblocking(False)
        while True:
            end = time.perf_counter() + 0.0015
            while time.perf_counter() < end:
                pass
            try:
                request = theirs.recv(4096)
            except BlockingIOError:
                continue
            if not request:
                os._exit(0)
            theirs.send(request)
    theirs.close()
    found = Trips()
    for turn in range(times):
        pause(turn)
        before, start = waited(os.getpid(), pid), time.perf_counter()
        ours.send(b"x" * 60)
        ours.recv(4096)
        taken = time.perf_counter() - start
        found.add(taken, waited(os.getpid(), pid) - before)
    ours.close()
    os.waitpid(pid, 0)
    return found


PERF = ["perf", "stat", "-x,", "-e", "instructions:u"]


@functools.cache
def perf_works() -> bool:
    """It may be there and not be allowed to count, or be for another kernel; then it runs nothing."""
    return shutil.which("perf") is not None and subprocess.run([*PERF, "true"], capture_output=True, check=False).returncode == 0


def cost(where: Path, rounds: int, monitored: bool) -> tuple[float, float]:
    """CPU seconds, and instructions of the host in user mode, of pcemu for a guest that computes `rounds` and ends."""
    path, counted = where / "qmp", where / "counted"
    options = ["-qmp", f"unix:{path},server=on,wait=on"] if monitored else []
    kernel = build(where, "computing", rounds)
    command = [*PCEMU, *MACHINE, "-device", "isa-debug-exit", "-kernel", str(kernel), *options]
    if perf_works():
        command = [*PERF, "-o", str(counted), "--", *command]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    client = Client(path) if monitored else None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if client is not None:
        client.close()
    path.unlink(missing_ok=True)
    if process.returncode != 1:
        sys.exit(f"the guest did not end as it should: status {process.returncode}")
    lines = counted.read_text().splitlines() if counted.exists() else []
    instructions = next((float(line.split(",")[0]) for line in lines if "instructions" in line and line[0].isdigit()), 0.0)
    return usage.ru_utime + usage.ru_stime, instructions


def loss(where: Path, turns: int, rounds: int) -> list[tuple[float, float | None]]:
    """What the guest loses to an idle monitor, as shares of CPU time and of the host's instructions, a pair a turn."""
    # Start and end, and the client's negotiation, are no loss of the guest's.
    start = {}
    for monitored in (False, True):
        found = [cost(where, rounds // 50, monitored) for _ in range(5)]
        start[monitored] = [statistics.median(column) for column in zip(*found, strict=True)]
    shares: list[tuple[float, float | None]] = []
    for turn in range(turns):
        order = (False, True) if turn % 2 else (True, False)
        taken = {monitored: cost(where, rounds, monitored) for monitored in order}
        ratios = [(taken[True][i] - start[True][i]) / without - 1 if (without := taken[False][i] - start[False][i]) else None
                  for i in (0, 1)]  # fmt: skip
        shares.append((ratios[0] or 0.0, ratios[1]))
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.monitor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=200, metavar="N", help="round trips of each query (default: 200)")
    parser.add_argument("--guests", metavar="NAME,...", help=f"which (default: all): {', '.join(GUESTS)}")
    parser.add_argument("--kernel", type=Path, metavar="FILE", help="one guest more: this one boots, and is heard while it does")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="runs with and without a monitor (default: 7; 0: none)")
    parser.add_argument("--rounds", type=int, default=2_000_000, metavar="N", help="what the guest computes in a run, in KiB")
    arguments = parser.parse_args()
    guests = arguments.guests.split(",") if arguments.guests is not None else [*GUESTS]
    for name in guests:
        if name and name not in GUESTS:
            parser.error(f"no guest '{name}'; there are {', '.join(GUESTS)}")
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        kernels = {guest: build(where, guest) for guest in guests if guest}
        if arguments.kernel:
            kernels[arguments.kernel.name] = arguments.kernel.resolve()
        by_query: dict[str, Trips] = {query: Trips() for query, _ in QUERIES}
        if kernels:
            print(f"{'guest':<28}{Trips.HEADINGS}   ms")
        for guest, kernel in kernels.items():
            found = round_trips(where, kernel, arguments.times)
            whole = Trips()
            for query, trips in found.items():
                whole.all += trips.all
                by_query[query].all += trips.all
            print(f"{guest:<28}{whole.row()}", flush=True)
        if kernels:
            print(f"{'control':<28}{control(arguments.times * len(QUERIES)).row()}", flush=True)
            for query, trips in by_query.items():
                print(f"{query:<28}{trips.row()}")
        if arguments.turns:
            shares = loss(where, arguments.turns, arguments.rounds)
            for column, what in enumerate(("CPU time", "instructions")):
                if values := [share for row in shares if (share := row[column]) is not None]:
                    print(f"an idle monitor costs the guest {100 * statistics.median(values):.2f} % of {what} "
                          f"({100 * min(values):.2f} to {100 * max(values):.2f} in {len(values)} turns)")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
