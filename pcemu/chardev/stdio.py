"""The terminal pcemu was started from."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

from . import terminal
from .base import ChardevError, FdChardev


class StdioChardev(FdChardev):
    """Standard input and output, in raw mode when they are a terminal.

    With signal=on (the default outside -nographic) Ctrl-C still interrupts pcemu; with signal=off the guest gets it.
    End of input (a pipe that closes, /dev/null) is not an end of the machine.
    """

    backend = "stdio"
    options = {"signal": "bool"}
    close_timeout = None
    in_use: ClassVar[bool] = False          # of the process: there is one terminal

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        if StdioChardev.in_use:
            raise ChardevError("cannot use stdio by multiple character devices")
        if getattr(getattr(machine, "config", None), "daemonize", False):
            raise ChardevError("cannot use stdio with -daemonize")
        super().__init__(machine, id, **opts)
        self.fd_in, self.fd_out = 0, 1
        try:
            os.fstat(0)
        except OSError:                     # started with stdin closed
            self.fd_in = -1
        StdioChardev.in_use = True
        sys.stdout.flush()
        self._raw = self.fd_in == 0 and os.isatty(0)
        if self._raw:
            terminal.make_raw(0, signals=bool(opts.get("signal", True)))

    def _close(self) -> None:
        StdioChardev.in_use = False
        if self._raw:
            terminal.restore()
        self.fd_in = self.fd_out = -1
