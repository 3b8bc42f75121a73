"""Build pcemu's own guest: firmware/tour -> pcemu/data/tour.elf, with gcc and binutils.

setup.py calls build() when it builds the package; ``python3 firmware/build.py`` does the same by hand. Nothing but a
freestanding compiler is needed: no C library, no multilib, no headers beyond the compiler's own. Where there is no
compiler that can produce x86 code, a tour.elf that is already there (from a source distribution) is kept.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOUR = HERE / "tour"
OUTPUT = HERE.parent / "pcemu" / "data" / "tour.elf"

LONG_PART = 0x200000  # where the 64-bit half runs
COMMON = ["console", "cpu", "clock", "interrupts", "apic", "power"]
SOURCES32 = ["main32", "memory", "acpi", "pci", "chips", "longmode", *COMMON]
SOURCES64 = ["main64", *COMMON]
CFLAGS = [
    "-std=gnu11", "-Os", "-Wall", "-Wextra", "-ffreestanding", "-fno-pic", "-fno-pie", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-fno-strict-aliasing", "-fno-delete-null-pointer-checks",
    "-fno-tree-loop-distribute-patterns", "-mno-red-zone", "-Wno-array-bounds",
]  # fmt: skip
# An 80486 must be able to run the 32-bit half. No SSE in either: the registers are not enabled until we say so.
MODE = {32: ["-m32", "-march=i486", "-mgeneral-regs-only"], 64: ["-m64", "-mgeneral-regs-only"]}


class BuildError(Exception):
    """The tour could not be built."""


def toolchain() -> tuple[str, str, str]:
    """(cc, ld, objcopy) that produce x86 code on this host."""
    prefixes = ["", "x86_64-linux-gnu-", "i686-linux-gnu-"]
    if platform.machine() not in ("x86_64", "AMD64", "i686"):
        prefixes.remove("")
    for prefix in prefixes:
        compilers = [os.environ.get("CC", "cc").split()[0], "gcc"] if not prefix else [f"{prefix}gcc"]
        for cc in compilers:
            tools = [shutil.which(tool) for tool in (cc, f"{prefix}ld", f"{prefix}objcopy")]
            if all(tools):
                return tools[0] or "", tools[1] or "", tools[2] or ""
    raise BuildError("gcc, ld and objcopy for x86 are needed (Debian: gcc and binutils)")


def run(*command: str | Path) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    if result.stderr:
        print(result.stderr, end="", file=sys.stderr)


def compile_half(cc: str, bits: int, sources: list[str], directory: Path, defines: list[str]) -> list[Path]:
    """Objects of one half; its head first."""
    objects = []
    for source in [TOUR / f"head{bits}.S", *(TOUR / f"{name}.c" for name in sources)]:
        target = directory / f"{source.stem}.{bits}.o"
        flags = CFLAGS if source.suffix == ".c" else []
        run(cc, *MODE[bits], *flags, *defines, "-c", source, "-o", target)
        objects.append(target)
    return objects


def build(output: Path = OUTPUT, multiboot: bool = True) -> Path:
    """Compile and link. Without the Multiboot header only the PVH entry is left (to test loaders)."""
    cc, ld, objcopy = toolchain()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        place = f"--defsym=LONG_PART={LONG_PART:#x}"

        half64 = compile_half(cc, 64, SOURCES64, directory, [])
        elf64, flat64 = directory / "long.elf", directory / "long.bin"
        run(ld, "-m", "elf_x86_64", "-z", "noexecstack", "-z", "max-page-size=4096", "--no-warn-rwx-segments", place,
            "-T", TOUR / "link64.ld", "-o", elf64, *half64)  # fmt: skip
        run(objcopy, "-O", "binary", elf64, flat64)

        defines = [f"-DLONG_PART={LONG_PART:#x}", f'-DLONG_BINARY="{flat64}"']
        if not multiboot:
            defines.append("-DWITHOUT_MULTIBOOT")
        half32 = compile_half(cc, 32, SOURCES32, directory, defines)
        linked = directory / "tour.elf"
        run(ld, "-m", "elf_i386", "-z", "noexecstack", "-z", "max-page-size=4096", "--no-warn-rwx-segments", place,
            "-T", TOUR / "link32.ld", "-o", linked, *half32)  # fmt: skip
        run(objcopy, "--strip-all", linked)
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(f"{output.name}.{os.getpid()}.part")
        shutil.copyfile(linked, partial)
        partial.replace(output)
    return output


def up_to_date(output: Path) -> bool:
    if not output.exists():
        return False
    return all(source.stat().st_mtime <= output.stat().st_mtime for source in [Path(__file__), *TOUR.iterdir()])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Build pcemu/data/tour.elf.")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--pvh-only", action="store_true", help="leave the Multiboot header out")
    parser.add_argument("--force", action="store_true", help="build it even if it is up to date")
    args = parser.parse_args(argv)
    if up_to_date(args.output) and not args.force:
        return 0
    try:
        build(args.output, multiboot=not args.pvh_only)
    except BuildError as error:
        if args.output.exists():
            print(f"firmware: keeping {args.output}: {error}", file=sys.stderr)
            return 0
        print(f"firmware: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
