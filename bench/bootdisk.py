"""A raw disk image that boots one Linux kernel, for emulators that have no -kernel option."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "bootdisk.S"
LOADER_SECTORS = 4
PLACES = 0x1D0  # offset of the table in the boot sector
HEADS, SECTORS_PER_TRACK = 16, 63


def _loader() -> bytes:
    with tempfile.TemporaryDirectory() as name:
        elf = Path(name) / "loader.o"
        flat = Path(name) / "loader.bin"
        subprocess.run(["as", "--32", "-o", elf, SOURCE], check=True)
        subprocess.run(
            ["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary", "-o", flat, elf], check=True, capture_output=True
        )
        return flat.read_bytes()


def build(kernel: bytes, initrd: bytes, cmdline: str) -> tuple[bytes, int]:
    """The image, and its number of cylinders."""
    image = bytearray(_loader())
    assert len(image) == LOADER_SECTORS * 512

    def append(data: bytes) -> int:
        sector = len(image) // 512
        image.extend(data)
        image.extend(bytes(-len(image) % 512))
        return sector

    line = cmdline.encode() + b"\0"
    if len(line) > 512:
        raise ValueError("the command line must fit one sector")
    places = (append(kernel), len(kernel), append(initrd), len(initrd), append(line))
    struct.pack_into("<5I", image, PLACES, *places)
    # The loader reads whole chunks; then the image is rounded up to full cylinders.
    cylinder = HEADS * SECTORS_PER_TRACK * 512
    image.extend(bytes(-len(image) % cylinder))
    return bytes(image), len(image) // cylinder
