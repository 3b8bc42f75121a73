"""Modules of Debian's kernels, for guests whose drivers are not built in.

    python3 -m scripts.modules cloud virtio_blk virtio_net      where they are, dependencies first

A kernel's modules are kept in one tar file next to it, and are always those of the kernel in the cache.
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path, PurePosixPath

from scripts import guests
from scripts.debian import FetchError, Repository, unpack, write_atomically


def archive(kernel: str) -> Path:
    """All modules of a kernel ("cloud", "amd64" ...), fetched once."""
    guest = guests.GUESTS[kernel]
    path = guests.CACHE / f"modules-{guest.file.removeprefix('vmlinuz-')}.tar"
    guests.get(kernel)
    version = _version(guest.file)
    if path.exists():
        with tarfile.open(path) as tar:
            if tar.getnames()[:1] == [version]:
                return path
    repository = Repository(guest.arch)
    package = repository.resolve_kernel(guest.package)
    if f"{package.name} {package.version}" != version.replace("_", " ", 1):
        version = _new_kernel(kernel, guest)
    files = unpack(repository.download(package), lambda name: name.startswith("lib/modules/") and name.endswith(".ko"))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in [(version, b""), *sorted(files.items())]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_atomically(path, out.getvalue())
    return path


def _version(file: str) -> str:
    """package_version of a kernel in the cache."""
    for line in (guests.CACHE / "versions.txt").read_text().splitlines():
        name, package, version, _ = line.split()
        if name == file:
            return f"{package}_{version}"
    raise FetchError(f"{file} is not in versions.txt")


def _new_kernel(kernel: str, guest: guests.Guest) -> str:
    """The mirror has moved on: the kernel has to follow, or its modules would not fit."""
    guests.Fetcher().get(kernel, update=True)
    return _version(guest.file)


def collect(kernel: str, names: list[str]) -> dict[str, bytes]:
    """Modules by name and those they depend on, in the order they have to be loaded."""
    with tarfile.open(archive(kernel)) as tar:
        members = {PurePosixPath(m.name).stem.replace("-", "_"): m for m in tar.getmembers() if m.name.endswith(".ko")}
        found: dict[str, bytes] = {}

        def add(name: str) -> None:
            if name in found:
                return
            if name not in members:
                raise FetchError(f"no module {name} in the kernel '{kernel}'")
            stream = tar.extractfile(members[name])
            assert stream is not None
            data = stream.read()
            depends = re.search(rb"\0depends=([^\0]*)\0", data)
            for other in (depends[1].decode() if depends else "").split(","):
                if other:
                    add(other.replace("-", "_"))
            found[name] = data

        for name in names:
            add(name)
    return found


def main(argv: list[str]) -> int:
    if len(argv) < 2:
        print(__doc__)
        return 2
    try:
        for name, data in collect(argv[0], argv[1:]).items():
            print(f"{name:24} {len(data):8}")
    except (FetchError, OSError, KeyError) as error:
        print(f"modules: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
