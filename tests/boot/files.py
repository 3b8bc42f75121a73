"""The files that boot tests name in braces: fetched guests, initramfs images and guests assembled here."""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from pathlib import Path

from scripts import guests, mkinitramfs
from scripts.debian import write_atomically

HERE = Path(__file__).resolve().parent
BUILT = guests.ROOT / ".cache" / "boot"


def _image(name: str) -> Path:
    """exercise-amd64, shell-i386, exercise-amd64-gz: an init script of scripts/init, and whose busybox.

    One that needs modules gets those of a kernel of the same width: cloud or 686-pae.
    """
    init, arch, *packed = name.split("-")
    busybox = guests.get("busybox32" if arch == "i386" else "busybox")
    modules = mkinitramfs.module_files(init, "686-pae" if arch == "i386" else "cloud")
    image = mkinitramfs.build(mkinitramfs.init_script(init), busybox, modules)
    return _store(name, mkinitramfs.compress(image) if packed else image)


def _assembled(name: str) -> Path:
    """guests/NAME.S, linked at 1 MiB: a Multiboot kernel of a few instructions."""
    with tempfile.TemporaryDirectory() as directory:
        elf = Path(directory, "elf")
        command = ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext-segment=0x100000",
                   f"-I{HERE / 'guests'}", "-o", str(elf), str(HERE / "guests" / f"{name}.S")]  # fmt: skip
        subprocess.run(command, check=True)
        return _store(f"{name}.elf", elf.read_bytes())


def _store(name: str, data: bytes) -> Path:
    """In the cache, whole from one moment to the next: another process may just read what was there."""
    path = BUILT / name
    if not (path.exists() and path.read_bytes() == data):
        write_atomically(path, data)
    return path


class Files(dict[str, str]):
    """Paths by name, made when first asked for; one process makes a file, others wait for it."""

    def __missing__(self, name: str) -> str:
        BUILT.mkdir(parents=True, exist_ok=True)
        with open(BUILT / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if name in guests.GUESTS:
                path = guests.get(name)
            elif (HERE / "guests" / f"{name}.S").exists():
                path = _assembled(name)
            else:
                path = _image(name)
        self[name] = str(path)
        return self[name]
