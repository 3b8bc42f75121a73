"""Locks on image files, understood by QEMU: which permissions a process uses and which it does not share.

Each permission is a byte of the file, twice: at 100 for those who use it, at 200 for those who do not let others use it.
All locks are shared ones and belong to the open file (OFD locks), so that two users in one process see each other too.
"""

from __future__ import annotations

import errno
import fcntl
import struct

from .errors import BlockError

USED, UNSHARED = 100, 200
# Permission -> its bit.
CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE = 0, 1, 2, 3
NAMES = {CONSISTENT_READ: "consistent read", WRITE: "write", WRITE_UNCHANGED: "write unchanged", RESIZE: "resize"}

_FLOCK = "hhqqi4x"


def _lock(fd: int, byte: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_RDLCK, 0, byte, 1, 0))


def _unlock(fd: int, byte: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_UNLCK, 0, byte, 1, 0))


def _held_by_others(fd: int, byte: int) -> bool:
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, 0, byte, 1, 0))
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def acquire(fd: int, path: str, *, write: bool, share_write: bool = False, must: bool = False) -> None:
    """Lock an open image. `share_write`: others may write it meanwhile. Raises BlockError if somebody is in the way.

    File systems without locks are used without, unless `must`.
    """
    used = (CONSISTENT_READ, WRITE, RESIZE) if write else (CONSISTENT_READ,)
    unshared = () if share_write else (WRITE, RESIZE)
    taken = [USED + bit for bit in used] + [UNSHARED + bit for bit in unshared]
    try:
        for byte in taken:
            _lock(fd, byte)
        for bit in used:
            if _held_by_others(fd, UNSHARED + bit):
                raise BlockError(f"Failed to get \"{NAMES[bit]}\" lock on '{path}'. Is another process using the image?")
        for bit in unshared:
            if _held_by_others(fd, USED + bit):
                raise BlockError(f"Failed to get shared \"{NAMES[bit]}\" lock on '{path}'. Is another process using the image?")
    except OSError as error:
        if must or error.errno not in (errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise BlockError(f"Failed to lock '{path}': {error.strerror}") from None
    except BlockError:
        for byte in taken:
            _unlock(fd, byte)
        raise
