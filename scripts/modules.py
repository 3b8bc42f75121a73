"""Modules of Debian's kernels, for guests whose drivers are not built in.

    python3 -m scripts.modules cloud virtio_blk virtio_net      where they are, dependencies first

A kernel's modules are kept in one tar file next to it, and are always those of the kernel in the cache.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
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


def release(kernel: str) -> str:
    """What `uname -r` says in a kernel of the cache."""
    return _version(guests.GUESTS[kernel].file).partition("_")[0].removeprefix("linux-image-")


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


def headers(kernel: str) -> Path:
    """The tree that modules for a kernel are built in, fetched once: the kernel's own headers, common ones, the tools."""
    package, _, version = _version(guests.GUESTS[kernel].file).partition("_")
    flavour = package.removeprefix("linux-image-")  # 6.1.0-50-cloud-amd64
    root = guests.CACHE / f"headers-{flavour}-{version.replace(':', '-')}"
    tree = root / "usr" / "src" / f"linux-headers-{flavour}"
    if tree.exists():
        return tree
    if shutil.which("dpkg-deb") is None:
        raise FetchError("dpkg-deb is needed to unpack kernel headers")
    repository = Repository(guests.GUESTS[kernel].arch)
    release = re.match(r"(\d+\.\d+)\.\d+-\d+", flavour)
    assert release is not None
    partial = Path(tempfile.mkdtemp(prefix="headers.", dir=guests.CACHE))
    try:
        for name in (f"linux-headers-{flavour}", f"linux-headers-{release[0]}-common", f"linux-kbuild-{release[1]}"):
            deb = partial / "package.deb"
            deb.write_bytes(repository.download(repository.find(name)))
            subprocess.run(["dpkg-deb", "-x", str(deb), str(partial / "root")], check=True)
            deb.unlink()
        makefile = partial / "root" / "usr" / "src" / tree.name / "Makefile"
        makefile.write_text(makefile.read_text().replace("/usr/src/", f"{root}/usr/src/"))
        (partial / "root").rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return tree


def build(kernel: str, source: Path) -> bytes:
    """A module out of one C file, for a kernel in the cache."""
    tree = headers(kernel)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        shutil.copy(source, place)
        (place / "Kbuild").write_text(f"obj-m := {source.stem}.o\n")
        command = ["make", "-s", "-C", str(tree), f"M={place}", "modules"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError(f"{source.name} cannot be built for {kernel}:\n{done.stdout}{done.stderr}")
        return (place / f"{source.stem}.ko").read_bytes()


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
