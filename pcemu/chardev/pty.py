"""A pseudo terminal: `screen /dev/pts/N` is the guest's serial console."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import tty
from typing import Any

from .base import ChardevError, FdChardev

POLL_SECONDS = 1.0          # how often to look whether somebody opened the slave side


class PtyChardev(FdChardev):
    """Output is thrown away while nobody has the slave side open."""

    backend = "pty"
    options = {"path": "str"}

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        self.link = os.path.abspath(opts["path"]) if opts.get("path") else None
        self._timer: Any = None
        try:
            self.master, slave = pty.openpty()
            self.name = os.ttyname(slave)
            tty.setraw(slave)
            # Opened and closed once, the slave side reports a hang-up until somebody opens it.
            os.close(slave)
            if self.link:
                os.symlink(self.name, self.link)
        except OSError as err:
            raise ChardevError(f"chardev '{id}': could not make a pty: {err.strerror}") from err
        os.set_blocking(self.master, False)
        self.notice = f"char device redirected to {self.name} (label {id})\n"
        self.connected = False
        self._poll_peer()

    def describe(self) -> str:
        return ("" if self.connected else "disconnected:") + f"pty:{self.name}"

    def flush(self) -> None:
        if not self.connected and self._out:
            self._poll_peer()
        super().flush()

    def _poll_peer(self) -> None:
        """Is the slave side open? The kernel has no event for it, so look now and then."""
        if self.closed:
            return
        poll = select.poll()
        poll.register(self.master, 0)
        if not poll.poll(0):
            self._connect()
            return
        loop = getattr(self.machine, "loop", None)
        if loop is not None and self._timer is None:
            self._timer = loop.call_later(POLL_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self.connected:
            self._poll_peer()

    def _connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.fd_in = self.fd_out = self.master
            self._event("opened")
            self._watch_input(True)

    def _disconnect(self) -> None:
        if self.connected:
            self._watch_input(False)
            self._watch_room(False)
            self.connected = False
            self.fd_in = self.fd_out = -1
            self._event("closed")
            self._poll_peer()

    def _end_of_input(self) -> None:
        self._disconnect()

    def _lost_output(self, err: OSError) -> None:
        self._disconnect()

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        os.close(self.master)
        self.fd_in = self.fd_out = -1
        if self.link:
            with contextlib.suppress(OSError):
                os.unlink(self.link)
