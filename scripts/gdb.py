"""gdb for the tests: the system's, or Debian's gdb-minimal with the libraries it wants, unpacked into .cache/gdb.

    python3 -m scripts.gdb          print the command; fetch it if there is none
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

from scripts.debian import FetchError, Repository, data_tar, write_atomically

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "gdb"
WANTED = re.compile(r"^(usr/bin/gdb|(?!.*/gconv/)(usr/)?lib(64)?/.*\.so(\.[\w.]+)*)$")
LOADER = "ld-linux-x86-64.so.2"


def closure(repository: Repository, name: str) -> list[str]:
    """A package and all it depends on, the first of alternatives."""
    found: list[str] = []
    todo = [name]
    while todo:
        package = todo.pop()
        if package in found or package not in repository.packages:      # (a virtual package)
            continue
        found.append(package)
        for clause in repository.find(package).depends.split(","):
            first = re.match(r"\s*([\w.+-]+)", clause)
            if first:
                todo.append(first[1])
    return found


def fetch() -> None:
    """Everything flat in one directory: the program, the loader and the libraries under the names they ask each other for."""
    repository = Repository("amd64")
    links: dict[str, str] = {}
    for name in closure(repository, "gdb-minimal"):
        with data_tar(repository.download(repository.find(name))) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                file = PurePosixPath(member.name).name
                if not WANTED.match(member.name.removeprefix("./")):
                    continue
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    write_atomically(CACHE / file, content.read())
                    (CACHE / file).chmod(0o755)
                elif member.issym():
                    links[file] = PurePosixPath(member.linkname).name
    for file, target in links.items():
        if not (CACHE / file).exists() and file != target:
            (CACHE / file).unlink(missing_ok=True)
            (CACHE / file).symlink_to(target)
    write_atomically(CACHE / "complete", b"")


def command() -> list[str]:
    """What runs gdb."""
    system = shutil.which("gdb")
    if system is not None:
        return [system]
    if not (CACHE / "complete").exists():
        fetch()
    return [str(CACHE / LOADER), "--library-path", str(CACHE), str(CACHE / "gdb")]


if __name__ == "__main__":
    try:
        print(shlex.join(command()))
    except (FetchError, OSError) as error:
        sys.exit(f"gdb: {error}")
