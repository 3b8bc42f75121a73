"""Image files: found, and read whole, but never more of them than could be of use."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from .errors import LoaderError

BUILTIN = "builtin:"
# Where a firmware image is looked for when -bios gives no path, in this order.
FIRMWARE_PATH = ("/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu", "/usr/share/qemu-kvm")
_DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def read_image(option: str, name: str, limit: int) -> bytes:
    """The contents of a file that may have at most `limit` bytes."""
    if "\0" in name:
        raise LoaderError(option, repr(name), "not a file name")
    try:
        # Not blocking: a FIFO without a writer must not hang us.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            data = file.read(limit + 1) if regular else b""
    except OSError as error:
        raise LoaderError(option, name, error.strerror or str(error)) from None
    if not regular:
        raise LoaderError(option, name, "not a regular file")
    if not data:
        raise LoaderError(option, name, "the file is empty")
    if len(data) > limit:
        raise LoaderError(option, name, f"the file is larger than {limit / (1 << 20):g} MiB, too large to load")
    return data


def read_kernel(option: str, name: str, limit: int) -> bytes:
    """A kernel image: a file, or one of the guests that come with the package."""
    if not name.startswith(BUILTIN):
        return read_image(option, name, limit)
    guest = name[len(BUILTIN) :]
    files = os.listdir(_DATA) if os.path.isdir(_DATA) else []
    known = sorted(file[:-4] for file in files if file.endswith(".elf"))
    if guest not in known:
        there = f"there is {', '.join(known)}" if known else "none was built into this installation"
        raise LoaderError(option, name, f"no such built-in guest; {there}")
    return read_image(option, os.path.join(_DATA, f"{guest}.elf"), limit)


def find_firmware(name: str, folders: Sequence[str] = ()) -> str | None:
    """A firmware file by path, or by name in `folders` (-L), PCEMU_FIRMWARE_PATH and where distributions keep them."""
    if os.path.exists(name):
        return name
    if os.sep in name:
        return None
    extra = os.environ.get("PCEMU_FIRMWARE_PATH", "")
    for folder in (*folders, *filter(None, extra.split(os.pathsep)), *FIRMWARE_PATH):
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate):
            return candidate
    return None
