"""The device model: what a device class declares, and the tree that is made of them.

    from pcemu.qom import IrqOut, MmioWindow, PortWindow, Property, State, SysBusDevice
"""

from __future__ import annotations

from .bus import Bus
from .device import Device, SysBusDevice
from .errors import OverlapError, PcemuError, PropertyError, UnknownTypeError
from .memory import AddressSpace, MemoryRegion
from .property import Property
from .region import MmioWindow, PortWindow, Region
from .register import Register
from .registry import all_types, lookup, register_type
from .state import State
from .timer import Timer, TimerHeap
from .wire import IrqIn, IrqLine, IrqOut, IrqPin

__all__ = [
    "AddressSpace", "Bus", "Device", "IrqIn", "IrqLine", "IrqOut", "IrqPin", "MemoryRegion", "MmioWindow",
    "OverlapError", "PcemuError", "PortWindow", "Property", "PropertyError", "Region", "Register", "State",
    "SysBusDevice", "Timer", "TimerHeap", "UnknownTypeError", "all_types", "lookup", "register_type",
]  # fmt: skip
