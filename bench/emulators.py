"""The emulators that the benchmarks compare, and how each is told to run one guest: same kernel, same program, same
command line, same processor features."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import bootdisk, build
from scripts import guests, mkinitramfs
from scripts.debian import write_atomically

ROOT = Path(__file__).resolve().parent.parent
MEMORY_MIB = 256
CMDLINE = "console=ttyS0 quiet mitigations=off nokaslr"
KERNELS = {64: "cloud", 32: "686-pae"}


@dataclass(frozen=True)
class Image:
    """What to boot, and with what arguments."""

    kernel: Path
    program: Path  # the benchmark itself, for a run on the host
    initrd: Path  # ... and in an archive
    bits: int
    workloads: list[str]
    scale: int = 100  # per cent of the usual work
    cpu: str = "core2duo"  # the model, by QEMU's name
    accel: str = ""  # pcemu's -accel, if not the default

    def arguments(self, waits: bool) -> list[str]:
        """Few, as Linux hands at most 32 to its first program."""
        return [f"run={','.join(self.workloads) or 'none'}", f"scale={self.scale}", *(["wait"] if waits else [])]

    def cmdline(self, waits: bool) -> str:
        return " ".join([CMDLINE, "--", *self.arguments(waits)])

    def but(self, workloads: list[str], scale: int) -> Image:
        return replace(self, workloads=workloads, scale=scale)


Command = Callable[[Image, Path], list[str]]  # (what, a directory for the run's own files) -> command line


def make_image(workloads: list[str], bits: int, kernel: str = "", **options: Any) -> Image:
    """Fetch the kernel and build the guest. Options: scale, cpu, accel."""
    program = build.build(bits)
    initrd = program.with_name(f"{program.name}.img")
    if not initrd.exists():
        write_atomically(initrd, mkinitramfs.build(program.read_bytes()))
    return Image(guests.get(kernel or KERNELS[bits]), program, initrd, bits, workloads, **options)


def _qemu_style(image: Image) -> list[str]:
    return [
        "-m", str(MEMORY_MIB), "-cpu", image.cpu, "-nodefaults", "-display", "none", "-vga", "none", "-nic", "none",
        "-serial", "stdio", "-no-reboot", "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", image.cmdline(waits=True),
    ]  # fmt: skip


def pcemu(image: Image, directory: Path) -> list[str]:
    accel = ["-accel", image.accel] if image.accel else []
    return [sys.executable, "-m", "pcemu", *accel, *_qemu_style(image)]


def qemu(image: Image, directory: Path) -> list[str]:
    return ["qemu-system-x86_64", "-accel", "tcg", *_qemu_style(image)]


def native(image: Image, directory: Path) -> list[str]:
    return [str(image.program), *image.arguments(waits=True)]


BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
megs: {memory}
cpu: model=bx_generic, count=1, ips=100000000
cpuid: x86_64=1, level=6, mmx=1, simd=ssse3, sep=1, apic=xapic, mwait=0, family=6, model=15, stepping=11
cpuid: vendor_string="GenuineIntel", brand_string="Core 2 Duo"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file={vgabios}
ata0-master: type=disk, path={disk}, mode=flat, cylinders={cylinders}, heads={heads}, spt={sectors}
boot: disk
com1: enabled=1, mode=file, dev={serial}
clock: sync=none, time0=utc
pci: enabled=1, chipset=i440fx
sound: driver=dummy
log: {log}
"""


def bochs(image: Image, directory: Path) -> list[str]:
    """Bochs has no -kernel: it boots a disk. Its console goes to a named pipe, 'serial' in the directory. It is given the
    features of a Core 2 Duo, whatever -cpu the others have."""
    program = shutil.which("bochs-bin") or "bochs"
    disk = directory / "disk.img"
    data, cylinders = bootdisk.build(image.kernel.read_bytes(), image.initrd.read_bytes(), image.cmdline(waits=False))
    disk.write_bytes(data)
    own_vgabios = Path("/usr/share/bochs/VGABIOS-lgpl-latest")
    config = directory / "bochsrc"
    config.write_text(BOCHSRC.format(
        memory=MEMORY_MIB, disk=disk, cylinders=cylinders, heads=bootdisk.HEADS, sectors=bootdisk.SECTORS_PER_TRACK,
        vgabios=own_vgabios if own_vgabios.exists() else guests.get("vgabios"), serial=directory / "serial",
        log=directory / "bochs.log",
    ))  # fmt: skip
    command = [program, "-q", "-f", str(config)]
    about = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    if "-rc filename" in about.stdout + about.stderr:  # built with its debugger, as Debian's is: tell that to continue
        (directory / "rc").write_text("c\n")
        command += ["-rc", str(directory / "rc")]
    return command


@dataclass(frozen=True)
class Emulator:
    name: str
    command: Command
    console: str = ""  # the console is this file of the directory, not standard output
    waits: bool = False  # for a byte on standard input after each line

    def version(self) -> str:
        if self.name == "pcemu":
            command = [sys.executable, "-m", "pcemu", "-version"]
        elif self.name == "qemu":
            command = ["qemu-system-x86_64", "--version"]
        elif self.name == "bochs":
            command = [shutil.which("bochs-bin") or "bochs", "--help"]
        else:
            command = ["uname", "-srm"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line.strip() for line in (result.stdout + result.stderr).splitlines()]
        return next((line for line in lines if any(c.isdigit() for c in line) and "[" not in line), "?")

    def installed(self) -> bool:
        programs = {"qemu": ("qemu-system-x86_64",), "bochs": ("bochs-bin", "bochs")}.get(self.name, ("true",))
        return any(shutil.which(program) for program in programs)


EMULATORS = {
    "pcemu": Emulator("pcemu", pcemu, waits=True),
    "qemu": Emulator("qemu", qemu, waits=True),
    "bochs": Emulator("bochs", bochs, console="serial"),
    "native": Emulator("native", native, waits=True),
}
