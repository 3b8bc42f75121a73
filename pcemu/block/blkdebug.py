"""Faults on purpose: requests to the image below fail by rules, as with QEMU's blkdebug.

-blockdev driver=blkdebug,image.driver=file,image.filename=X,inject-error.0.event=write_aio,inject-error.0.errno=28,...
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import iov
from .errors import BlockError
from .iov import Views
from .node import Extent, Node

# Event -> the kind of request that it stands for here ("": all that iotype= names).
EVENTS = {"none": "", "read_aio": "read", "read": "read", "write_aio": "write", "pwritev": "write", "write": "write",
          "pwritev_zero": "write-zeroes", "flush_to_os": "flush", "flush_to_disk": "flush"}  # fmt: skip
IOTYPES = ("read", "write", "write-zeroes", "discard", "flush", "block-status")
KEYS = ("event", "state", "iotype", "errno", "sector", "once", "immediately")


@dataclass
class Rule:
    """When a request fails. `sector` is of 512 bytes; state 0 is any."""

    event: str = "none"
    state: int = 0
    iotype: str = ""
    errno: int = errno.EIO
    sector: int = -1
    once: bool = False
    immediately: bool = False  # accepted: every failure is immediate here
    used: bool = False

    def hits(self, kind: str, offset: int, length: int, state: int) -> bool:
        if self.used or (self.state and self.state != state):
            return False
        wanted = EVENTS[self.event] or self.iotype
        if (wanted and wanted != kind) or (self.iotype and self.iotype != kind) or (kind == "block-status" and not self.iotype):
            return False
        return self.sector < 0 or offset <= self.sector * 512 < offset + length


def parse_rule(given: Mapping[str, Any]) -> Rule:
    """One inject-error.N of the command line."""
    rule = Rule()
    for key, value in given.items():
        if key not in KEYS:
            raise BlockError(f"blkdebug: inject-error has no option '{key}'")
        try:
            if key in ("event", "iotype"):
                if value not in (EVENTS if key == "event" else IOTYPES):
                    raise BlockError(f"blkdebug: {key} '{value}': not implemented yet")
                setattr(rule, key, value)
            elif key in ("once", "immediately"):
                setattr(rule, key, value if isinstance(value, bool) else {"on": True, "off": False}[str(value)])
            else:
                setattr(rule, key, int(str(value), 0))
        except (ValueError, KeyError):
            raise BlockError(f"blkdebug: inject-error: '{value}' is not what {key} takes") from None
    return rule


class BlkdebugNode(Node):
    """Passes everything on to `image`, unless a rule says that it fails."""

    driver = "blkdebug"

    def __init__(self, image: Node, rules: list[Rule], node_name: str = "") -> None:
        super().__init__(node_name, image.read_only)
        self.file: Node = image
        self.rules = rules
        self.size = image.size
        self.filename = image.filename
        self.can_fast_zero = image.can_fast_zero
        self.state = 1
        self._lock = threading.Lock()

    def _check(self, kind: str, offset: int = 0, length: int = 0) -> None:
        with self._lock:
            for rule in self.rules:
                if rule.hits(kind, offset, length, self.state):
                    rule.used = rule.once
                    if rule.errno:
                        raise OSError(rule.errno, f"{self.filename}: {os.strerror(rule.errno)} (injected)")

    def pread(self, offset: int, views: Views) -> None:
        self._check("read", offset, iov.total(views))
        self.file.pread(offset, views)

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        self._check("write", offset, iov.total(views))
        self.file.pwrite(offset, views)
        self.size = max(self.size, self.file.size)
        if fua:
            self.flush()

    def flush(self) -> None:
        self._check("flush")
        self.file.flush()

    def discard(self, offset: int, length: int) -> None:
        self._check("discard", offset, length)
        self.file.discard(offset, length)

    def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
        self._check("write-zeroes", offset, length)
        self.file.write_zeroes(offset, length, unmap)
        self.size = max(self.size, self.file.size)

    def status(self, offset: int, length: int) -> Extent:
        self._check("block-status", offset, length)
        return self.file.status(offset, length)

    def truncate(self, size: int) -> None:
        self._check("write")
        self.file.truncate(size)
        self.size = size
