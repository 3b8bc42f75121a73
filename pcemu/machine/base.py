"""The device tree of a machine and its address spaces: what boards, devices and tests share."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from pcemu.debug.log import Log
from pcemu.debug.trace import Tracer
from pcemu.qom import AddressSpace, Bus, Device, MemoryRegion, PcemuError
from pcemu.qom.memory import FlatRange, core_io_map, core_memory_map

from .clock import MachineClock
from .config import RtcConfig
from .fds import Descriptors

if TYPE_CHECKING:
    from pcemu.net import NetClient
    from pcemu.qom.object import UserObject

_D = TypeVar("_D", bound=Device)


class MachineBase:
    """Holds the devices; knows nothing of loops, threads and command lines."""

    def __init__(self, memory: Any, io: Any, clock: MachineClock, *, ram_size: int = 0, seed: int = 0,
                 log: Log | None = None, tracer: Tracer | None = None) -> None:  # fmt: skip
        self.memory = memory
        self.io = io
        self.clock = clock
        self.cpus: list[Any] = []
        self.ram_size = ram_size
        self.rtc_config = RtcConfig()
        self.log = log or Log()
        self.tracer = tracer or Tracer()
        self.globals: list[tuple[str, str, Any]] = []  # -global: (driver, property, value)
        self.chardevs: dict[str, Any] = {}
        self.block_graph: Any = None  # of the disks' nodes, made with the first of them
        self.block_pool: Any = None
        self.drives: dict[str, Any] = {}  # BlockBackends by id and by node name
        self.objects: dict[str, UserObject] = {}  # -object
        self.netdevs: dict[str, NetClient] = {}  # -netdev
        self.net_clients: list[NetClient] = []  # both ends of every cable
        self.guest_runs = True  # False: stopped, nothing from outside may reach it
        self.fds = Descriptors()
        self.listeners: list[Callable[[str, dict[str, Any]], None]] = []  # of events, by QMP's names
        self.boot_setter: Callable[[str], None] | None = None  # boot_set: how firmware is told what to boot from
        self.migration_events = False  # a manager wants to be told of migrations
        self.adding_for_user = False  # a device that is made now is the user's
        self._numbers = {False: 0, True: 0}  # of devices without an id made so far, the board's and the user's
        self.by_id: dict[str, Device] = {}
        self.devices: list[Device] = []
        self._reset_callbacks: list[Callable[[], None]] = []
        self._complaints: set[str] = set()
        self._seed = seed
        self._random: Any = None
        self._rtc_epoch: int | None = None

        self.memory_root = MemoryRegion("system", 2**64)
        self.io_root = MemoryRegion("io", 2**16)
        self.memory_space = AddressSpace("memory", self.memory_root, self._commit_memory)
        self.io_space = AddressSpace("I/O", self.io_root, self._commit_io)
        self.main_bus = Bus("main-system-bus", machine=self)
        self.rom_blocks: dict[tuple[str, bytes, int], int] = {}  # expansion ROMs: name, contents, size -> block
        self.board_buses: list[Bus] = []  # buses no device has: the ISA bus of a PC without PCI
        self.ram: MemoryRegion | None = None  # guest RAM, one block
        self.ram_below_4g = ram_size
        self.ram_above_4g = 0
        self.announcements: dict[str, Any] = {}  # of network cards, by id (announce-self)

    @property
    def cpu(self) -> Any:
        """The first CPU."""
        return self.cpus[0]

    def _commit_memory(self, flat: list[FlatRange]) -> None:
        self.memory.set_map(core_memory_map(flat))

    def _commit_io(self, flat: list[FlatRange]) -> None:
        self.io.set_map(core_io_map(flat))

    def alloc(self, name: str, size: int) -> int:
        """A block of host memory for RAM or ROM; what the host cannot give is the user's to know."""
        try:
            offset: int = self.memory.alloc(name, size)
        except (MemoryError, OSError) as error:
            raise PcemuError(f"cannot set up guest memory '{name}' ({size >> 20} MiB): {error}") from None
        return offset

    # -- the tree -------------------------------------------------------------------------------------------

    def add_device(self, device: Device) -> None:
        """Called by every new device."""
        if device.id:
            if device.id in self.by_id:
                raise PcemuError(f"Duplicate ID '{device.id}' for device")
            self.by_id[device.id] = device
        if not (device.user_made and device.id) and not device.board_name:
            device.number = self._numbers[device.user_made]
            self._numbers[device.user_made] += 1
        self.devices.append(device)

    def unnumber(self, device: Device) -> None:
        """A device that turned out to be a part of another gives its number back, if it is the last one given."""
        if device.number == self._numbers[device.user_made] - 1:
            self._numbers[device.user_made] -= 1

    def remove_device(self, device: Device) -> None:
        self.devices.remove(device)
        if device.id:
            del self.by_id[device.id]

    def find(self, type_name: str) -> Device | None:
        """The first device of a type, by name."""
        for device in self.devices:
            if device.type_name == type_name:
                return device
        return None

    def find_all(self, cls: type[_D]) -> list[_D]:
        """Every device of a class or one derived from it, in the order they were made."""
        return [device for device in self.devices if isinstance(device, cls)]

    def buses(self) -> list[Bus]:
        found = [self.main_bus, *self.board_buses]
        for device in self.devices:
            found.extend(device.buses)
        return found

    def find_bus(self, type_name: str, name: str | None = None) -> Bus | None:
        """The first bus of a type (or the one of that name)."""
        for bus in self.buses():
            if bus.type_name == type_name and name in (None, bus.name):
                return bus
        return None

    # -- reset ----------------------------------------------------------------------------------------------

    def on_reset(self, callback: Callable[[], None]) -> None:
        """Call at every reset, after devices and CPUs have been reset (boot images go in here)."""
        self._reset_callbacks.append(callback)

    def reset_all(self) -> None:
        """Power-on state everywhere: devices in the order they were made, CPUs, then the reset callbacks."""
        with self.memory_space, self.io_space:
            for cpu in self.cpus:
                cpu.reset()
            for device in list(self.devices):
                device.reset()
        for callback in self._reset_callbacks:
            callback()

    # -- services to devices --------------------------------------------------------------------------------

    def device_let_go(self, device: Device) -> None:
        """The guest has let go of a device: it leaves the machine."""
        from .hotplug import finish_removal

        finish_removal(self, device)

    @property
    def rings(self) -> Any:
        """The core's virtqueues (pcemu._core.ring), for devices that have some; they need the core's memory."""
        return importlib.import_module("pcemu._core.ring")

    def random(self, count: int) -> bytes:
        """Random bytes from the machine's seed: the same every run."""
        if self._random is None:
            from random import Random

            self._random = Random(self._seed)
        data: bytes = self._random.randbytes(count)
        return data

    def rtc_ns(self) -> int:
        """The time of day as -rtc wants it, in ns since 1970; a guest's own setting comes on top of it."""
        if self._rtc_epoch is None:
            self._rtc_epoch = self.rtc_config.start_ns() - self.clock.now()
        if self.rtc_config.clock == "host" and self.rtc_config.base in ("utc", "localtime") and self.host_time:
            return self.rtc_config.start_ns()
        return self._rtc_epoch + self.clock.now()

    @property
    def host_time(self) -> bool:
        """Does virtual time follow the host's clock (rather than count instructions)?"""
        return False

    def complain(self, text: str) -> None:
        """Warn the user of something once ("" is nothing)."""
        if text and text not in self._complaints:
            self._complaints.add(text)
            print(f"pcemu: warning: {text}", file=sys.stderr)

    def emit_event(self, name: str, data: dict[str, Any] | None = None) -> None:
        """Tell monitors what happened (monitor/events.py declares the names)."""
        for listener in list(self.listeners):
            listener(name, data or {})

    def path_of(self, thing: Any) -> str:
        """Where a device, bus, CPU, object or character device is in the object tree."""
        from .tree import Tree

        return Tree(self).path_of(thing)

    def log_cpu(self) -> None:
        """The log's items have changed: of those that are about the processor it is to hear."""

    def request_reset(self, cause: str = "guest-reset") -> None:
        raise NotImplementedError

    def request_shutdown(self, cause: str = "guest-shutdown", status: int = 0) -> None:
        raise NotImplementedError

    def request_powerdown(self) -> None:
        raise NotImplementedError

    def watchdog_expired(self) -> None:
        """-watchdog-action."""
        raise NotImplementedError

    def guest_panicked(self) -> None:
        """-action panic=..."""
        raise NotImplementedError

    def guest_crash_loaded(self) -> None:
        raise NotImplementedError
