"""A guest's packets to -netdev user, nearly right and changed, while peers on the host come, send, stall and go.

A seed is a few hundred frames (see tests/unit/net/test_fuzz.py). It fails when the stack raises, when a frame it sends is not
what its headers and checksums say, or when something of a connection is left behind.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from unit.net.test_fuzz import Fuzzer

from pcemu.testing.nethost import NetHost

STEPS = 400


def check(seed: int) -> None:
    host = NetHost()
    try:
        with tempfile.TemporaryDirectory(prefix="pcemu-network-") as scratch:
            Fuzzer(host, seed, Path(scratch)).run(STEPS)
    finally:
        host.close()
