"""The guests that pcemu is shown to run: Debian 12 kernels, busybox and SeaBIOS, fetched once into .cache/guests.

    python3 -m scripts.guests                 fetch everything that is missing
    python3 -m scripts.guests cloud busybox   fetch some
    python3 -m scripts.guests --list          what there is, and where
    python3 -m scripts.guests --path cloud    fetch it and print its path

``latest`` packages of the release are taken, and kept until ``make clean-cache`` (or --update): a machine's guests do
not change under its feet. ``.cache/guests/versions.txt`` says what is there.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.debian import FetchError, Repository, unpack, write_atomically

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "guests"


@dataclass(frozen=True)
class Guest:
    """One file taken out of one Debian package."""

    package: str
    arch: str
    member: str  # the path inside the package starts with this
    file: str  # what it is called in the cache
    about: str

    @property
    def path(self) -> Path:
        return CACHE / self.file


def _kernel(package: str, arch: str, file: str, about: str) -> Guest:
    return Guest(package, arch, "boot/vmlinuz-", file, about)


GUESTS: dict[str, Guest] = {
    "cloud": _kernel("linux-image-cloud-amd64", "amd64", "vmlinuz-cloud-amd64", "64-bit kernel for virtual machines"),
    "amd64": _kernel("linux-image-amd64", "amd64", "vmlinuz-amd64", "64-bit kernel for any PC"),
    "686": _kernel("linux-image-686", "i386", "vmlinuz-686", "32-bit kernel, two-level page tables"),
    "686-pae": _kernel("linux-image-686-pae", "i386", "vmlinuz-686-pae", "32-bit kernel, PAE page tables"),
    "busybox": Guest("busybox-static", "amd64", "bin/busybox", "busybox-amd64", "64-bit user space"),
    "busybox32": Guest("busybox-static", "i386", "bin/busybox", "busybox-i386", "32-bit user space"),
    "seabios": Guest("seabios", "amd64", "usr/share/seabios/bios.bin", "seabios-128k.bin", "BIOS, 128 KiB"),
    "seabios256": Guest("seabios", "amd64", "usr/share/seabios/bios-256k.bin", "seabios-256k.bin", "BIOS, 256 KiB"),
    "vgabios": Guest("seabios", "amd64", "usr/share/seabios/vgabios-stdvga.bin", "vgabios.bin", "BIOS of a VGA card"),
}
KERNELS = ("cloud", "amd64", "686", "686-pae")


class Fetcher:
    """Gets guests; reads each architecture's index at most once."""

    def __init__(self) -> None:
        self._repositories: dict[str, Repository] = {}

    def get(self, name: str, update: bool = False) -> Path:
        guest = GUESTS[name]
        if guest.path.exists() and not update:
            return guest.path
        repository = self._repositories.setdefault(guest.arch, Repository(guest.arch))
        package = repository.resolve_kernel(guest.package)
        files = unpack(repository.download(package), lambda path: path.startswith(guest.member), stop_after=1)
        if not files:
            raise FetchError(f"{package.name} holds no {guest.member}*")
        write_atomically(guest.path, next(iter(files.values())))
        self._note(guest, f"{package.name} {package.version} {package.sha256}")
        return guest.path

    @staticmethod
    def _note(guest: Guest, line: str) -> None:
        notes = CACHE / "versions.txt"
        old = notes.read_text().splitlines() if notes.exists() else []
        kept = [one for one in old if one.split(" ", 1)[0] != guest.file]
        write_atomically(notes, ("\n".join(sorted([*kept, f"{guest.file} {line}"])) + "\n").encode())


def get(name: str) -> Path:
    """The path of a guest, fetched if it is not there yet."""
    return Fetcher().get(name)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="guests", description="Fetch Debian guests into .cache/guests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GUESTS)} (default: all)")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--path", action="store_true", help="print the paths")
    parser.add_argument("--update", action="store_true", help="fetch the release's current version again")
    args = parser.parse_args(argv)
    names = args.names or list(GUESTS)
    for name in names:
        if name not in GUESTS:
            parser.error(f"unknown guest '{name}' (known: {', '.join(GUESTS)})")
    fetcher = Fetcher()
    for name in names:
        guest = GUESTS[name]
        if args.list:
            print(f"{name:11} {'here' if guest.path.exists() else '-':5} {guest.package:24} {guest.about}")
            continue
        try:
            path = fetcher.get(name, args.update)
        except (FetchError, OSError) as error:
            print(f"guests: {error}", file=sys.stderr)
            return 1
        if args.path:
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
