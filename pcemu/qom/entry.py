"""A property as the object tree shows it (qom-list, qom-get, qom-set)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Entry:
    """A property of a node."""

    name: str
    type: str                                   # QEMU's word: bool, uint32, str, child<T>, link<T> ...
    get: Callable[[], Any]
    set: Callable[[Any], None] | None = None
    help: str = ""
