"""What a QMP monitor answers how fast while the guest computes flat out, and what the guest loses to one that is idle.

    python -m bench.monitor [--times N] [--turns N] [--rounds N]

Round trips are from the request's send() to the answer's last byte, one after the other, on a Unix socket. The loss is in
CPU time: the guest counts so far with and without a client that is connected and silent, in turn; the median of the
ratios of neighbours counts, so a host with other work shifts it less than it shifts times.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PCEMU = [sys.executable, "-m", "pcemu"]
MACHINE = ["-nodefaults", "-display", "none", "-m", "64"]
ROOT = Path(__file__).resolve().parent.parent
# A multiboot kernel: a sum over a page of memory, ROUNDS times (0: for ever), then exit by isa-debug-exit.
GUEST = """
        .long   0x1BADB002, 0, -0x1BADB002
        .globl  _start
_start: movl    $%d, %%ebp
again:  movl    $0x300000, %%esi
        movl    $1024, %%ecx
        xorl    %%eax, %%eax
next:   movl    (%%esi), %%edx
        addl    %%edx, %%eax
        roll    $5, %%eax
        xorl    %%ecx, %%eax
        addl    $4, %%esi
        decl    %%ecx
        jnz     next
        movl    %%eax, 0x301000
        decl    %%ebp
        jnz     again
        movw    $0x501, %%dx
        xorl    %%eax, %%eax
        outb    %%al, %%dx
"""
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
        self.sock.settimeout(60)
        deadline = time.monotonic() + 60
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


def build(where: Path, rounds: int) -> Path:
    source, kernel = where / "guest.S", where / f"guest{rounds}"
    source.write_text(GUEST % rounds)
    flags = ["-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0x200000"]
    subprocess.run(["gcc", *flags, "-o", kernel, source], check=True)
    return kernel


def round_trips(where: Path, times: int) -> dict[str, list[float]]:
    """Seconds of each round trip while the guest computes, by query."""
    path = where / "qmp"
    command = [*PCEMU, *MACHINE, "-kernel", str(build(where, 0)), "-qmp", f"unix:{path},server=on,wait=off"]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        client = Client(path)
        for name, arguments in QUERIES:             # the first of each imports what it needs
            client.ask(name, arguments)
        time.sleep(0.5)                             # and the guest's code is compiled
        found: dict[str, list[float]] = {name: [] for name, _ in QUERIES}
        for turn in range(times):
            for name, arguments in QUERIES:
                time.sleep((turn * 37 % 100) / 1e5)  # up to a millisecond: not in step with the guest's slices
                taken, answer = client.ask(name, arguments)
                if "error" in answer:
                    sys.exit(f"{name}: {answer['error']['desc']}")
                found[name].append(taken)
        client.close()
        return found
    finally:
        process.kill()
        process.wait()


def cpu_seconds(where: Path, rounds: int, monitored: bool) -> float:
    """CPU time of pcemu for a guest that computes `rounds` and ends."""
    path = where / "qmp"
    path.unlink(missing_ok=True)
    options = ["-qmp", f"unix:{path},server=on,wait=on"] if monitored else []
    command = [*PCEMU, *MACHINE, "-device", "isa-debug-exit", "-kernel", str(build(where, rounds)), *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    client = Client(path) if monitored else None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if client is not None:
        client.close()
    if process.returncode != 1:
        sys.exit(f"the guest did not end as it should: status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def loss(where: Path, turns: int, rounds: int) -> list[float]:
    """What the guest loses to an idle monitor, as a share, one figure a turn."""
    # Start and end, and the client's negotiation, are no loss of the guest's.
    start = {monitored: statistics.median(cpu_seconds(where, rounds // 50, monitored) for _ in range(5))
             for monitored in (False, True)}  # fmt: skip
    shares = []
    for turn in range(turns):
        order = (False, True) if turn % 2 else (True, False)
        taken = {monitored: cpu_seconds(where, rounds, monitored) - start[monitored] for monitored in order}
        shares.append(taken[True] / taken[False] - 1)
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.monitor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=200, metavar="N", help="round trips of each query (default: 200)")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="runs with and without a monitor (default: 7; 0: none)")
    parser.add_argument("--rounds", type=int, default=2_000_000, metavar="N", help="what the guest computes in a run, in KiB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        where = Path(name)
        print(f"{'query':<28}{'median':>9}{'p99':>9}{'most':>9}   ms")
        for query, times in round_trips(where, arguments.times).items():
            times.sort()
            figures = (times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], times[-1])
            print(f"{query:<28}" + "".join(f"{1000 * figure:9.2f}" for figure in figures), flush=True)
        if arguments.turns:
            shares = sorted(loss(where, arguments.turns, arguments.rounds))
            print(f"an idle monitor costs the guest {100 * statistics.median(shares):.2f} % "
                  f"({100 * shares[0]:.2f} to {100 * shares[-1]:.2f} in {len(shares)} turns)")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
