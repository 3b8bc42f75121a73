"""What the host says of a guest's RAM, and of nothing else in this process."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import pytest

SMAPS = Path("/proc/self/smaps")


def mappings(machine: Any) -> list[dict[str, str]]:
    """The fields of /proc/self/smaps (proc(5)) of each mapping that the machine's RAM is in; skips where there is none."""
    if not SMAPS.exists():
        pytest.skip("no /proc/self/smaps")
    assert machine.ram is not None
    begin = ctypes.addressof(ctypes.c_char.from_buffer(machine.memory.block_view(machine.ram.block, 1)))
    end = begin + machine.ram_size
    found: list[dict[str, str]] = []
    inside = False
    for line in SMAPS.read_text().splitlines():
        if place := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(place[1], 16) < end and int(place[2], 16) > begin
            if inside:
                found.append({})
        elif inside:
            name, _, value = line.partition(":")
            found[-1][name] = value.strip()
    return found
