"""Options about disks."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import optstr
from .context import Context
from .errors import at


def drive(c: Context) -> None:
    pairs = optstr.parse(c.value, "file")
    if pairs.get("file") in optstr.HELP_WORDS and len(pairs) == 1:
        raise at(c.option, c.value, "Must specify either driver or file")
    if "id" in pairs and not re.fullmatch(r"[A-Za-z][A-Za-z0-9\-._]*", pairs["id"]):
        raise at(c.option, c.value, f"Parameter 'id' expects an identifier, not '{pairs['id']}'")
    c.config.drives.append(pairs)


def blockdev(c: Context) -> None:
    if c.value.startswith("{"):
        import json

        try:
            given = json.loads(c.value)
        except (ValueError, RecursionError) as error:
            raise at(c.option, c.value, f"JSON parse error: {error}") from None
        if not isinstance(given, dict):
            raise at(c.option, c.value, "a JSON object is expected")
        c.config.blockdevs.append(given)
        return
    c.config.blockdevs.append(dict(optstr.parse(c.value, "driver")))


def snapshot(c: Context) -> None:
    c.config.snapshot = True


BLOCK_OPTIONS: dict[str, Callable[[Context], None]] = {f.__name__: f for f in (drive, blockdev, snapshot)}
