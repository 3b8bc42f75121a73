"""What pcemu costs before and beside the guest: start-up time, memory, and how close a block copy comes to the host's.

    python -m bench.footprint
"""

from __future__ import annotations

import compileall
import ctypes
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import run
from bench.emulators import EMULATORS, MEMORY_MIB, ROOT, make_image
from bench.measure import run_once
from bench.workloads import WORKLOADS
from scripts import guests

RUNS = 5
BLOCK = 256 << 10
FIRST_INSTRUCTION = """
        .text
        .code32
        .balign 4
        .long   0x1badb002, 0, -0x1badb002
        .globl  _start
_start: outb    %al, $0xf4
1:      hlt
        jmp     1b
"""


def startup_seconds() -> float:
    """CPU time of a whole run whose guest ends pcemu with its first instruction."""
    with tempfile.TemporaryDirectory() as name:
        source, elf = Path(name) / "first.S", Path(name) / "first.elf"
        source.write_text(FIRST_INSTRUCTION)
        subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext-segment=0x100000",
                        "-o", elf, source], check=True)  # fmt: skip
        command = [sys.executable, "-m", "pcemu", "-nodefaults", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4",
                   "-kernel", str(elf)]  # fmt: skip
        seconds = []
        for _ in range(RUNS):
            process = subprocess.Popen(command, cwd=ROOT)
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            seconds.append(usage.ru_utime + usage.ru_stime)
    return statistics.median(seconds)


def resident_mib() -> dict[str, float]:
    """Memory of a run that has booted the cloud kernel, by kind. Guest RAM is a memfd and counts as shared memory."""
    image = make_image([], 64)
    command = EMULATORS["pcemu"].command(image, Path())
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    for line in process.stdout:
        if b"BENCH start" in line:
            break
    status = Path(f"/proc/{process.pid}/status").read_text()
    process.kill()
    process.wait()
    process.stdout.close()
    return {kind: int(kib) / 1024 for kind, kib in re.findall(r"^(Rss\w+):\s+(\d+) kB", status, re.MULTILINE)}


def copy_gigabytes_a_second() -> tuple[float, float]:
    """(guest's REP MOVSB, host's memmove) of 256 KiB, again and again."""
    scale = 1000
    rounds = WORKLOADS["block-copy"].rounds[0] * scale // 100
    times = run_once(EMULATORS["pcemu"], make_image(["block-copy"], 64, scale=scale)).times
    source, target = ctypes.create_string_buffer(BLOCK), ctypes.create_string_buffer(BLOCK)
    begin = time.process_time()
    for _ in range(rounds):
        ctypes.memmove(target, source, BLOCK)
    host = time.process_time() - begin
    return rounds * BLOCK / times["block-copy"] / 1e9, rounds * BLOCK / host / 1e9


def main() -> int:
    guests.get("cloud")
    compileall.compile_dir(ROOT / "pcemu", quiet=1)  # as an installed package is
    print(f"{time.strftime('%Y-%m-%d')}, {run.host()}\n")
    print(f"- CPU time of a run that ends at the guest's first instruction: {startup_seconds() * 1000:.0f} ms (median of {RUNS})")
    memory = resident_mib()
    own, files, ram = memory["RssAnon"], memory["RssFile"], memory["RssShmem"]
    print(f"- resident memory beside guest RAM, Linux booted: {own + files:.0f} MiB ({own:.0f} its own, {files:.0f} of files)")
    print(f"- guest RAM touched: {ram:.0f} MiB of {MEMORY_MIB}")
    guest, host = copy_gigabytes_a_second()
    print(f"- rep movsb of 256 KiB: {guest:.1f} GB/s, {guest / host:.0%} of the host's memmove ({host:.1f} GB/s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
