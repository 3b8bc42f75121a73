"""bootindex: the paths that firmware gets, as QEMU's has them."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu.hw.pci.host import I440fxPciHost
from pcemu.loader.bootorder import boot_order
from pcemu.loader.errors import LoaderError
from pcemu.machine.config import MachineConfig
from pcemu.net import NetClient
from pcemu.testing.harness import TestMachine


def machine(*cards: tuple[str, int]) -> Any:
    m = TestMachine(isa=False)
    m.config = MachineConfig()
    host = m.add(I440fxPciHost)
    bridge = m.add("pci-bridge", host.pci, addr="07.0", id="br")
    for number, (addr, index) in enumerate(cards):
        m.netdevs[f"n{number}"] = NetClient(m, f"n{number}")
        bus = bridge.secondary if addr.startswith("br:") else host.pci
        m.add("virtio-net-pci", bus, addr=addr.removeprefix("br:"), netdev=f"n{number}", bootindex=index, multifunction=True)
    return m


def test_lowest_first() -> None:
    m = machine(("03.0", 5), ("04.0", -1), ("03.1", 2), ("br:09.0", 3))
    assert boot_order(m) == (
        b"/pci@i0cf8/ethernet@3,1/ethernet-phy@0\n/pci@i0cf8/pci-bridge@7/ethernet@9/ethernet-phy@0\n"
        b"/pci@i0cf8/ethernet@3/ethernet-phy@0\0"
    )


def test_nothing_and_strict() -> None:
    m = machine()
    assert boot_order(m) == b""
    m.config.boot.strict = True
    assert boot_order(m) == b"HALT\0"


def test_the_same_twice() -> None:
    with pytest.raises(LoaderError, match="already been used"):
        boot_order(machine(("03.0", 1), ("04.0", 1)))
