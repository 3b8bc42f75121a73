"""Back ends over paths: file (output only) and pipe (a FIFO, or a pair of them)."""

from __future__ import annotations

import os
from typing import Any

from .base import ChardevError, FdChardev, open_path


class FileChardev(FdChardev):
    """Output to a file, created anew unless append=on."""

    backend = "file"
    options = {"path": "str!", "append": "bool"}
    close_timeout = None

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        path = opts["path"]
        mode = os.O_APPEND if opts.get("append") else os.O_TRUNC
        try:
            self.fd_out = open_path(machine, path, os.O_WRONLY | os.O_CREAT | mode)
        except OSError as err:
            raise ChardevError(f"chardev '{id}': could not open '{path}': {err.strerror}") from err

    def _close(self) -> None:
        if self.fd_out >= 0:
            os.close(self.fd_out)
            self.fd_out = -1


class PipeChardev(FdChardev):
    """Named pipes PATH.in (read) and PATH.out (written), or one special file PATH for both."""

    backend = "pipe"
    options = {"path": "str!"}

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        path = opts["path"]
        # Read and write on both: the open does not wait for a peer, and a peer that leaves is no end of input.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY
        try:
            self.fd_in = os.open(path + ".in", flags)
            self.fd_out = os.open(path + ".out", flags)
        except OSError:
            if self.fd_in >= 0:
                os.close(self.fd_in)
            try:
                self.fd_in = self.fd_out = os.open(path, flags)
            except OSError as err:
                raise ChardevError(f"chardev '{id}': could not open '{path}': {err.strerror}") from err

    def _close(self) -> None:
        for fd in {self.fd_in, self.fd_out} - {-1}:
            os.close(fd)
        self.fd_in = self.fd_out = -1
