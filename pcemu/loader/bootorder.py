"""The order of -device ...,bootindex=N, as firmware reads it: Open Firmware paths, one a line (fw_cfg file "bootorder")."""

from __future__ import annotations

from typing import Any

from .errors import LoaderError

ROOT = "/pci@i0cf8"
# The node of a PCI device by its class (Open Firmware's PCI binding), and what hangs below it.
NODES = {0x0100: ("scsi", "/disk@0,0"), 0x0200: ("ethernet", "/ethernet-phy@0"), 0x0604: ("pci-bridge", "")}


def boot_order(machine: Any) -> bytes:
    """Devices with a bootindex, the lowest first; ends with HALT for -boot strict=on."""
    wanted: dict[int, Any] = {}
    for device in machine.devices:
        index = getattr(device, "bootindex", -1)
        if index is None or index < 0:
            continue
        if index in wanted:
            raise LoaderError("-device", f"bootindex={index}", "The bootindex has already been used")
        wanted[index] = device
    lines = [path for _, device in sorted(wanted.items()) if (path := device_path(device))]
    if machine.config.boot.strict:
        lines.append("HALT")
    return "\n".join(lines).encode() + b"\0" if lines else b""


def device_path(device: Any) -> str:
    """``/pci@i0cf8/scsi@4/disk@0,0``; empty for what is not on PCI."""
    bus = device.parent_bus
    while bus is not None and bus.type_name != "PCI":  # the function of a virtio device
        device = bus.parent
        bus = device.parent_bus if device is not None else None
    if bus is None:
        return ""
    node, below = NODES.get(device.class_id, (f"pci{device.vendor_id:x},{device.device_id:x}", ""))
    function = f",{device.addr & 7}" if device.addr & 7 else ""
    before = device_path(bus.parent) if bus.parent is not None and hasattr(bus.parent, "addr") else ROOT
    return f"{before}/{node}@{device.addr >> 3:x}{function}{below}"
