"""Image files: found, read whole, and never larger than they can be of use."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import LoaderError

# Where firmware images are looked for when -bios names no path, in this order.
FIRMWARE_PATH = ("/usr/share/seabios", "/usr/share/qemu", "/usr/local/share/qemu", "/usr/share/qemu-kvm")


def read_image(option: str, name: str, limit: int) -> bytes:
    """The contents of a file that may have at most `limit` bytes."""
    try:
        with open(name, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISDIR(mode):
                raise LoaderError(option, name, "is a directory")
            data = file.read(limit + 1)
    except OSError as error:
        raise LoaderError(option, name, error.strerror or str(error)) from None
    except ValueError:
        raise LoaderError(option, repr(name), "is not a file name") from None
    if not data:
        raise LoaderError(option, name, "the file is empty")
    if len(data) > limit:
        raise LoaderError(option, name, f"the file is larger than {limit} bytes")
    return data


def find_firmware(name: str) -> str | None:
    """A firmware file by path, or by name in PCEMU_FIRMWARE_PATH and where distributions keep it."""
    if os.path.exists(name):
        return name
    if os.sep in name:
        return None
    extra = os.environ.get("PCEMU_FIRMWARE_PATH", "")
    for folder in (*filter(None, extra.split(os.pathsep)), *FIRMWARE_PATH):
        candidate = Path(folder) / name
        if candidate.is_file():
            return str(candidate)
    return None
