"""Build an initramfs from busybox and one of our own /init scripts, with nothing but Python.

    python3 -m scripts.mkinitramfs --init shell --output initrd.img
    python3 -m scripts.mkinitramfs --init exercise --arch i386 --gzip --output initrd.gz

The image is a cpio archive in the 'newc' format (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
It depends on its inputs alone: same busybox, same script, same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import math
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from scripts import guests
from scripts.debian import FetchError, write_atomically

INIT_SCRIPTS = Path(__file__).resolve().parent / "init"


class Cpio:
    """Writer of cpio archives in the 'newc' format, everything owned by root and dated 1970."""

    def __init__(self) -> None:
        self._out = bytearray()
        self._inode = 0
        self._directories: set[str] = set()

    def _entry(self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (self._inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self._out += b"070701" + b"".join(b"%08X" % field for field in fields)
        self._out += name.encode() + b"\0"
        self._pad()
        self._out += data
        self._pad()

    def _pad(self) -> None:
        self._out += bytes(-len(self._out) % 4)

    def _parents(self, name: str) -> None:
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            self.directory("/".join(parts[:count]))

    def directory(self, name: str) -> None:
        if name not in self._directories:
            self._parents(name)
            self._directories.add(name)
            self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def symlink(self, name: str, target: str) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def finish(self) -> bytes:
        self._entry("TRAILER!!!", 0)
        self._out += bytes(-len(self._out) % 512)
        return bytes(self._out)


# -- what the exerciser must find: computed here, by other means -----------------------------------------------------

HASHED_BYTES = 4 << 20
AWK_STEPS = 2000


def expected_hash() -> str:
    """sha256 of what `yes 'the quick brown fox' | head -c N` writes."""
    line = b"the quick brown fox\n"
    return hashlib.sha256((line * (HASHED_BYTES // len(line) + 1))[:HASHED_BYTES]).hexdigest()


def expected_floats() -> str:
    """The sum that the awk program in init/exercise computes, to nine digits: x87 and SSE agree on those."""
    total = 0.0
    for i in range(1, AWK_STEPS + 1):
        root = (i + 1) / 2
        for _ in range(6):
            root = (root + i / root) / 2
        total += root / (i * i) + 1 / (i * i)
    return f"{total:.9f} {math.e:.9f}"


def init_script(name: str) -> bytes:
    text = (INIT_SCRIPTS / name).read_text()
    facts: dict[str, Callable[[], str]] = {
        "@HASHED_BYTES@": lambda: str(HASHED_BYTES),
        "@HASH@": expected_hash,
        "@AWK_STEPS@": lambda: str(AWK_STEPS),
        "@FLOATS@": expected_floats,
    }
    for mark, fact in facts.items():
        if mark in text:
            text = text.replace(mark, fact())
    return text.encode()


# What the init scripts load: from /modules, in the order of the names there.
VIRTIO_MODULES = ("virtio_pci", "virtio_rng", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_console")
VECTOR_MODULES = (
    "raid6_pq", "xor", "serpent_avx2", "camellia_aesni_avx2", "twofish_avx_x86_64", "cast5_avx_x86_64", "cast6_avx_x86_64",
    "sha1_ssse3", "sha256_ssse3", "sha512_ssse3", "nhpoly1305_avx2", "chacha_x86_64", "poly1305_x86_64", "curve25519_x86_64",
)  # fmt: skip
MODULES: dict[str, tuple[str, ...]] = {
    "devices": VIRTIO_MODULES, "vectors": VECTOR_MODULES, "network": ("virtio_pci", "virtio_net"),
}  # fmt: skip


def module_files(init: str, kernel: str) -> dict[str, bytes]:
    """The modules an init script loads, as extra files."""
    if init not in MODULES:
        return {}
    from scripts import modules

    found = modules.collect(kernel, list(MODULES[init]))
    return {f"modules/{index:02}-{name}.ko": data for index, (name, data) in enumerate(found.items())}


def build(init: bytes, busybox: Path | None = None, extra: dict[str, bytes] | None = None) -> bytes:
    """An image with /init, the two device nodes a kernel needs before devtmpfs, busybox, and executable extra files."""
    cpio = Cpio()
    for directory in ("dev", "proc", "sys", "tmp", "bin", "root"):
        cpio.directory(directory)
    cpio.character_device("dev/console", 5, 1)
    cpio.character_device("dev/null", 1, 3)
    cpio.file("init", init, 0o755)
    if busybox is not None:
        cpio.file("bin/busybox", busybox.read_bytes(), 0o755)
        cpio.symlink("bin/sh", "busybox")
    for name, data in (extra or {}).items():
        cpio.file(name, data, 0o755)
    return cpio.finish()


def compress(image: bytes) -> bytes:
    """gzip without a time stamp."""
    return gzip.compress(image, compresslevel=9, mtime=0)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mkinitramfs", description="Build an initramfs from busybox and /init.")
    known = sorted(path.name for path in INIT_SCRIPTS.iterdir())
    parser.add_argument("--init", default="shell", help=f"one of {', '.join(known)}, or a file (default: shell)")
    parser.add_argument("--arch", choices=("amd64", "i386"), default="amd64", help="whose busybox (default: amd64)")
    parser.add_argument("--kernel", choices=guests.KERNELS, default="cloud", help="whose modules (default: cloud)")
    parser.add_argument("--gzip", action="store_true", help="compress it (smaller, and slower to boot)")
    parser.add_argument("--output", type=Path, required=True, help="the image to write")
    args = parser.parse_args(argv)
    try:
        init = init_script(args.init) if args.init in known else Path(args.init).read_bytes()
        busybox = guests.get("busybox32" if args.arch == "i386" else "busybox")
        image = build(init, busybox, module_files(args.init, args.kernel))
    except (FetchError, OSError) as error:
        print(f"mkinitramfs: {error}", file=sys.stderr)
        return 1
    write_atomically(args.output, compress(image) if args.gzip else image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
