"""docs/write-a-device.md, to its end: the example's Linux driver is built for Debian's kernel and used in it."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

from scripts import guests, mkinitramfs, modules

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "checksummer"
sys.path.insert(0, str(ROOT / "docs"))

import transcripts  # noqa: E402 - found by the path above

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
insmod /crc32_pci.ko
printf 'the quick brown fox' >/dev/crc32
echo "small: $(cat /dev/crc32)"
head -c 60000 /dev/zero >/tmp/zeros
dd if=/tmp/zeros of=/dev/crc32 bs=60000 2>/dev/null
echo "large: $(cat /dev/crc32)"
grep crc32 /proc/interrupts
poweroff -f
"""


@pytest.mark.boot
@pytest.mark.fetch
@pytest.mark.parametrize("how,interrupts", [("", r" *24: +2 +PCI-MSI.* crc32"), ("pci=nomsi", r" *1[01]: +2 +IO-APIC.* crc32")])
def test_the_driver(tmp_path: Path, how: str, interrupts: str) -> None:
    driver = modules.build("cloud", EXAMPLE / "crc32_pci.c")
    image = mkinitramfs.build(INIT.encode(), guests.get("busybox"), {"crc32_pci.ko": driver})
    (tmp_path / "initrd").write_bytes(image)
    packages = tmp_path / "packages"
    packages.mkdir()
    transcripts.Place(packages).install("docs/examples/checksummer")
    args = '-m 256 -nographic -nodefaults -serial stdio -kernel {cloud} -initrd {dir}/initrd -device checksummer'
    sums = [zlib.crc32(b"the quick brown fox"), zlib.crc32(bytes(60000))]
    case = runner.Case(name="driver", args=f'{args} -append "console=ttyS0 {how}"', linux=True, path=[str(packages)],
                       lines=[f"small: {sums[0]:08x}", f"large: {sums[1]:08x}", interrupts])  # fmt: skip
    runner.run(case, Files(), tmp_path)
