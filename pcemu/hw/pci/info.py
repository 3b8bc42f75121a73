"""`info pci`: what is on the bus and where its BARs are."""

from __future__ import annotations

from typing import Any

from .bar import Bar
from .bus import PciBus
from .config import DEVICE_ID, INTERRUPT_LINE, SUBSYSTEM_ID, SUBSYSTEM_VENDOR_ID, VENDOR_ID
from .device import PciDevice

ALL_ONES = 0xFFFFFFFFFFFFFFFF


def _bar_line(bar: Bar) -> str:
    addr = ALL_ONES if bar.addr is None else bar.addr
    last = (addr + bar.size - 1) & ALL_ONES
    if bar.kind == "io":
        return f"      BAR{bar.index}: I/O at 0x{addr:04x} [0x{last:04x}]."
    width = 64 if bar.bits64 else 32
    prefetch = " prefetchable" if bar.prefetch else ""
    return f"      BAR{bar.index}: {width} bit{prefetch} memory at 0x{addr:08x} [0x{last:08x}]."


def device_lines(device: PciDevice) -> list[str]:
    bus = device.bus
    name = device.class_name or f"Class {device.class_id:04d}"
    lines = [
        f"  Bus {bus.number:2}, device {device.addr >> 3:3}, function {device.addr & 7}:",
        f"    {name}: PCI device {device.get(VENDOR_ID, 2):04x}:{device.get(DEVICE_ID, 2):04x}",
    ]
    subsystem = device.get(SUBSYSTEM_VENDOR_ID, 2), device.get(SUBSYSTEM_ID, 2)
    if subsystem[0] and subsystem[1] and not device.header_type:
        lines.append(f"      PCI subsystem {subsystem[0]:04x}:{subsystem[1]:04x}")
    if device.interrupt_pin:
        pin = chr(ord("A") + device.interrupt_pin - 1)
        lines.append(f"      IRQ {device.get(INTERRUPT_LINE, 1)}, pin {pin}")
    lines += device.info_lines()
    lines += [_bar_line(bar) for _, bar in sorted(device.bars.items())]
    lines.append(f'      id "{device.id}"')
    return lines


def query_pci(bus: PciBus) -> list[dict[str, Any]]:
    """The same as data, in QMP's names (PciInfo)."""
    return [{"bus": bus.number, "devices": [_described(device) for device in bus.in_order()]}]


def _described(device: PciDevice) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bus": device.bus.number, "slot": device.addr >> 3, "function": device.addr & 7, "qdev_id": device.id,
        "class_info": {"class": device.class_id} | ({"desc": device.class_name} if device.class_name else {}),
        "id": {"vendor": device.get(VENDOR_ID, 2), "device": device.get(DEVICE_ID, 2)},
        "irq_pin": device.interrupt_pin,
        "regions": [_region(bar) for _, bar in sorted(device.bars.items())],
    }  # fmt: skip
    vendor, subsystem = device.get(SUBSYSTEM_VENDOR_ID, 2), device.get(SUBSYSTEM_ID, 2)
    if vendor and subsystem:
        found["id"] |= {"subsystem-vendor": vendor, "subsystem": subsystem}
    if device.interrupt_pin:
        found["irq"] = device.get(INTERRUPT_LINE, 1)
    return found


def _region(bar: Bar) -> dict[str, Any]:
    region: dict[str, Any] = {"bar": bar.index, "type": "io" if bar.kind == "io" else "memory", "size": bar.size,
                              "address": -1 if bar.addr is None else bar.addr}
    if bar.kind != "io":
        region |= {"prefetch": bar.prefetch, "mem_type_64": bar.bits64}
    return region


def info_pci(bus: PciBus) -> list[str]:
    """The lines of `info pci`."""
    lines: list[str] = []
    for device in bus.in_order():
        lines += device_lines(device)
        for below in device.buses:
            if isinstance(below, PciBus) and below.number:
                lines += info_pci(below)
    return lines
