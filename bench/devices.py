"""Disks, serial lines and ports of a Linux guest, beside QEMU with TCG.

    python -m bench.devices [--rounds N] [EMULATOR ...]

A guest runs small programs (bench/guest/io.c) one after the other; each says on the console when it begins and ends, and that is
timed here: on the host's clock, and by the emulator's CPU time (all threads), which a busy host changes less. Every round boots
each emulator once, in turn. Shown is the best round. The images are in the host's page cache; the guest reads and writes past its
own.

What a thread that computes in Python does to the devices of a guest in the same process: bench.busy.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import guests, mkinitramfs

HERE = Path(__file__).resolve().parent
EMULATORS = {"pcemu": [sys.executable, "-m", "pcemu"], "qemu": ["qemu-system-x86_64", "-accel", "tcg"]}
LINE = (
    "-m 256 -display none -nodefaults -serial stdio -serial file:{dir}/serial -serial null -serial pipe:{dir}/typed -no-reboot "
    "-drive file={dir}/raw,format=raw,if=virtio -drive file={dir}/qcow2,format=qcow2,if=virtio "
    "-device virtio-serial-pci -chardev file,id=c0,path={dir}/port -device virtserialport,chardev=c0,name=bench"
)
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev; mount -t proc proc /proc; mount -t sysfs sysfs /sys
for module in /modules/*; do insmod $module; done
@COMMANDS@
poweroff -f
"""
SIZE = 512  # MiB of each disk
PATIENCE = 300  # seconds for a boot with all its tasks


@dataclass(frozen=True)
class Task:
    about: str
    command: str
    count: int  # of what is measured: MiB, reads, ...
    unit: str  # a second, or us or ns each

    def value(self, seconds: float) -> float:
        scale = {"us": 1e6, "ns": 1e9}.get(self.unit)
        return seconds / self.count * scale if scale else self.count / seconds


def _tasks() -> dict[str, Task]:
    tasks = {}
    for name, device in ("raw", "vda"), ("qcow2", "vdb"):
        for what, about, words, count, unit in (
            ("read", "sequential read", "read /dev/%s", 2048, "MiB/s"),
            ("write", "sequential write", "write /dev/%s", 1024, "MiB/s"),
            ("random1", "random reads of 4 KiB", "random /dev/%s 1", 6000, "/s"),
            ("random8", "the same, eight threads", "random /dev/%s 8", 12000, "/s"),
            ("fsync", "write and flush, each", "fsync /dev/%s", 400, "us"),
        ):
            tasks[f"{name}-{what}"] = Task(f"{name}: {about}", f"{words % device} {count}", count, unit)
    tasks["port"] = Task("virtio-serial", f"send /dev/vport[0-9]p1 {64 << 20}", 64, "MiB/s")
    tasks["serial"] = Task("16550 out of the guest", "send /dev/ttyS1 1000000", 1000, "kB/s")
    tasks["typed"] = Task("16550 into the guest", "receive /dev/ttyS3 200000", 200, "kB/s")
    tasks["out"] = Task("an access to a port, each", "port 0x2ff 500000", 500_000, "ns")
    return tasks


TASKS = _tasks()


def prepare(directory: Path, commands: list[str]) -> list[str]:
    """The emulators' common arguments for a guest that runs some of io.c's commands."""
    program = directory / "io"
    if not program.exists():
        subprocess.run(["gcc", "-O2", "-static", "-pthread", "-o", str(program), str(HERE / "guest" / "io.c")], check=True)
        with open(directory / "raw", "wb") as file:
            piece = random.Random(1).randbytes(1 << 20)
            for _ in range(SIZE):
                file.write(piece)
        subprocess.run([sys.executable, "-m", "pcemu.img", "convert", "-f", "raw", "-O", "qcow2", str(directory / "raw"),
                        str(directory / "qcow2")], check=True)  # fmt: skip
        os.sync()
    for pipe in "typed.in", "typed.out":
        if not (directory / pipe).exists():
            os.mkfifo(directory / pipe)
    extra = mkinitramfs.module_files("devices", "cloud") | {"bin/io": program.read_bytes()}
    init = INIT.replace("@COMMANDS@", "\n".join(f"io {command}" for command in commands))
    initrd = directory / "initrd"
    initrd.write_bytes(mkinitramfs.build(init.encode(), guests.get("busybox"), extra))
    return [*shlex.split(LINE.replace("{dir}", str(directory))), "-kernel", str(guests.get("cloud")), "-initrd", str(initrd),
            "-append", "console=ttyS0 quiet panic=-1"]  # fmt: skip


def cpu_seconds(pid: int) -> float:
    """What the threads of a process have run."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except OSError:  # it has just ended
            continue
    return total / 1e9


@contextmanager
def typist(directory: Path) -> Iterator[None]:
    """At the other end of the fourth serial line: somebody who types without end."""
    with open(directory / "typed.in", "r+b", 0) as typed, subprocess.Popen(["yes"], stdout=typed) as process:
        try:
            yield
        finally:
            process.kill()


def measure(command: list[str], directory: Path, names: list[str]) -> dict[str, tuple[float, float]]:
    """One boot: results by the clock and by CPU time."""
    arguments = prepare(directory, [TASKS[name].command for name in names])
    found: dict[str, tuple[float, float]] = {}
    output = []
    begun = ran = 0.0
    left = iter(names)
    with (
        typist(directory),
        subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        guard = threading.Timer(PATIENCE, process.kill)
        guard.start()
        for line in process.stdout:
            now = time.perf_counter()
            output.append(line.decode(errors="replace"))
            if line.startswith(b"BEGIN"):
                begun, ran = now, cpu_seconds(process.pid)
            elif line.startswith(b"END"):
                task = TASKS[name := next(left)]
                found[name] = task.value(now - begun), task.value(cpu_seconds(process.pid) - ran)
        guard.cancel()
    if len(found) < len(names):
        raise SystemExit(f"bench.devices: {command[0]}: no result for {', '.join(names[len(found) :])}:\n{''.join(output)}")
    return found


def compare(names: list[str], emulators: list[str], rounds: int) -> None:
    best: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in emulators}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        for _ in range(rounds):
            for emulator in emulators:
                for key, value in measure(EMULATORS[emulator], Path(directory), names).items():
                    better = min if TASKS[key].unit in ("us", "ns") else max
                    old = best[emulator].get(key, value)
                    best[emulator][key] = better(value[0], old[0]), better(value[1], old[1])
    for index, what in enumerate(("by the clock", "by CPU time")):
        print(f"{what:34} " + " ".join(f"{name:>12}" for name in emulators))
        for name in names:
            values = " ".join(f"{best[emulator][name][index]:>12.0f}" for emulator in emulators)
            print(f"{TASKS[name].about:34} {values}  {TASKS[name].unit}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.devices", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(TASKS)}")
    parser.add_argument("emulator", nargs="*", help=f"of {', '.join(EMULATORS)} (default: those installed)")
    args = parser.parse_args()
    emulators = args.emulator or [name for name, command in EMULATORS.items() if shutil.which(command[0])]
    compare(args.only.split(",") if args.only else list(TASKS), emulators, args.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
