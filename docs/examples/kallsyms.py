"""A symbol file for gdb from a guest's /proc/kallsyms, where the kernel's own debug information is not at hand.

    python docs/examples/kallsyms.py LOG SYMBOLS [TYPES.c]

LOG holds lines of /proc/kallsyms among others, as a serial port's file does; the guest has to be booted with nokaslr. TYPES.c may
declare structures, for `print *(struct new_utsname *)&init_uts_ns`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

LINE = re.compile(r"^([0-9a-f]{8,16}) ([a-zA-Z]) ([A-Za-z_][\w.]*)\r?$", re.MULTILINE)
PAGE = 4096


def source(text: str) -> tuple[str, int]:
    """An assembly source with one section that has no contents and all the symbols, and where it lies."""
    found = sorted({(int(addr, 16), kind in "tTwW", name) for addr, kind, name in LINE.findall(text) if int(addr, 16)})
    if not found:
        sys.exit("kallsyms: no symbols in the log")
    base, end = found[0][0] & -PAGE, found[-1][0] + PAGE
    lines = ['.section .kernel, "awx", @nobits', "base:", f".skip {end - base:#x}"]
    for addr, code, name in found:
        kind = "@function" if code else "@object"
        lines += [f".globl {name}", f".type {name}, {kind}", f".set {name}, base + {addr - base:#x}"]
    return "\n".join(lines) + "\n", base


def main(log: str, symbols: str, *types: str) -> None:
    text, base = source(Path(log).read_text(errors="replace"))
    with tempfile.TemporaryDirectory() as place:
        assembly = Path(place, "symbols.s")
        assembly.write_text(text)
        command = ["gcc", "-g", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-mcmodel=kernel", "-Wl,--build-id=none,-e,0",
                   f"-Wl,--section-start=.kernel={base:#x}", "-o", symbols, str(assembly), *types]  # fmt: skip
        subprocess.run(command, check=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
