from __future__ import annotations

from collections.abc import Iterator

import pytest

from pcemu.testing.nethost import NetHost


@pytest.fixture
def host() -> Iterator[NetHost]:
    machine = NetHost()
    yield machine
    machine.close()
