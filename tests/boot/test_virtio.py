"""Debian's kernels and their virtio drivers: what /init of scripts/init/devices finds and uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

FILES = Files()
pytestmark = [pytest.mark.boot, pytest.mark.fetch]

BASE = '-m 256 -nographic -nodefaults -serial stdio -kernel {%s} -initrd {devices-%s} -append "console=ttyS0 devices=%s"'
RNG = "-device virtio-rng-pci,%s"
DISK = "-drive if=none,id=d0,file={dir}/disk,format=raw -device virtio-blk-pci,drive=d0,serial=S123,%s"
NET = " ".join(f"-netdev hubport,id=n{i},hubid=1 -device virtio-net-pci,netdev=n{i},%s" for i in range(2))


def _boot(tmp_path: Path, kernel: str, arch: str, options: str) -> None:
    """Every device, with the same options for each."""
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.write(b"hello guest")
        file.truncate(16 << 20)
    devices = {"rng": RNG, "blk": DISK, "net": NET.replace("%s", options)}
    args = " ".join([BASE % (kernel, arch, ",".join(devices)), *(text.replace("%s", options) for text in devices.values())])
    lines = [f"EXERCISE {what} OK" for what in ("rng-read", "blk-write", "net-tcp")]
    case = runner.Case(name="virtio", args=args, linux=True, lines=["EXERCISE end", *lines])
    runner.run(case, FILES, tmp_path)
    data = disk.read_bytes()
    assert data[:11] == b"hello guest" and data[1024:1034] == b"from guest"


def test_modern(tmp_path: Path) -> None:
    _boot(tmp_path, "cloud", "amd64", "disable-legacy=on")


def test_legacy_with_interrupts_by_wire(tmp_path: Path) -> None:
    _boot(tmp_path, "686-pae", "i386", "disable-modern=on,vectors=0")


@pytest.mark.slow
def test_packed_rings(tmp_path: Path) -> None:
    _boot(tmp_path, "cloud", "amd64", "packed=on")
