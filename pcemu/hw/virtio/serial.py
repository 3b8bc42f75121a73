"""virtio-serial: the console device (virtio 1.2, 5.3), with any number of ports, each on a character device."""

from __future__ import annotations

from collections import deque
from struct import Struct, pack
from typing import TYPE_CHECKING, Any, ClassVar

from pcemu.qom import Bus, Device, PcemuError, Property, State

from .device import VirtioDevice
from .pci import VirtioPci, transports
from .queue import Virtqueue

if TYPE_CHECKING:
    from pcemu._core.ring import Chain

F_SIZE, F_MULTIPORT, F_EMERG_WRITE = 0, 1, 2
EMERG_WRITE_AT = 8
PORT_QUEUE_SIZE, CONTROL_QUEUE_SIZE = 128, 32
MOST_PORTS = 511  # what fits into the queues of a PCI device
AUTO_NR = 0xFFFFFFFF

# Control messages (5.3.6.2): port, event, value.
MESSAGE = Struct("<IHH")
DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME = range(8)
MOST_MESSAGES = 1024  # that wait for a driver that gives no buffers
PIECE = 1 << 16
LONGEST = 16 << 20  # bytes in one request: drivers send some pages


class VirtioSerialBus(Bus):
    """What ports are plugged into."""

    type_name = "virtio-serial-bus"
    hotpluggable = True


class VirtioSerial(VirtioDevice):
    """The device: pairs of queues, two of them for control messages."""

    type_name = "virtio-serial-device"
    device_number = 3
    config_size = 12

    max_ports = Property("u32", name="max_ports", default=31)
    emergency_write = Property(bool, default=True, help="on/off")

    feature_bits: ClassVar[tuple[tuple[int, str | None], ...]] = ((F_EMERG_WRITE, "emergency-write"),)

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self.ports: dict[int, VirtioSerialPort] = {}
        self.messages: deque[bytes] = deque()
        super().__init__(machine, bus, id, **props)

    def realize(self) -> None:
        if not 1 <= self.max_ports <= MOST_PORTS:
            raise self.fail(f"maximum ports supported: {MOST_PORTS}, not {self.max_ports}")
        parent = self.parent_bus.parent if self.parent_bus is not None else None
        name = f"{parent.id}.0" if parent is not None and parent.id else ""
        if not name:
            taken = {bus.name for bus in self.machine.buses()}
            name = next(f"virtio-serial-bus.{i}" for i in range(len(taken) + 1) if f"virtio-serial-bus.{i}" not in taken)
        VirtioSerialBus(name, self)
        self.inputs: list[Virtqueue] = []  # by port: from the host to the guest
        self.outputs: list[Virtqueue] = []
        for nr in range(self.max_ports):
            self.inputs.append(self.add_queue(PORT_QUEUE_SIZE, self.buffers_came, f"in{nr}"))
            self.outputs.append(self.add_queue(PORT_QUEUE_SIZE, self.output, f"out{nr}"))
            if nr == 0:
                self.control_in = self.add_queue(CONTROL_QUEUE_SIZE, self.send_messages, "control-in")
                self.add_queue(CONTROL_QUEUE_SIZE, self.control, "control-out")
        self._port_of = {queue: nr for nr, pair in enumerate(zip(self.inputs, self.outputs, strict=True)) for queue in pair}

    def extra_features(self) -> int:
        return 1 << F_MULTIPORT if self.max_ports > 1 else 0

    def config(self) -> bytes:
        return pack("<HHII", 0, 0, self.max_ports, 0)

    def config_written(self, offset: int, data: bytes) -> None:
        """The emergency register prints a character before any queue is there."""
        if offset == EMERG_WRITE_AT and self.emergency_write:
            for nr in sorted(self.ports):
                port = self.ports[nr]
                if port.is_console:
                    port.to_host(data[:1])
                    break

    def driver_ready(self) -> None:
        if not self.has(F_MULTIPORT) and 0 in self.ports:
            self.ports[0].set_guest_connected(True)

    def device_reset(self) -> None:
        self.messages.clear()
        for port in self.ports.values():
            port.guest_reset()

    # -- ports --------------------------------------------------------------------------------------------------

    def place(self, port: VirtioSerialPort) -> int:
        """The number of a new port; raises PcemuError when it cannot have the one it wants."""
        nr = port.nr
        if nr == AUTO_NR:
            # Port 0 was the console when there were no others.
            start = 0 if port.is_console else 1
            nr = next((n for n in range(start, self.max_ports) if n not in self.ports), -1)
            if nr < 0:
                raise PcemuError("virtio-serial-bus: Maximum port limit for this device reached")
        elif nr == 0 and not port.is_console:
            raise PcemuError("virtio-serial-bus: Port number 0 on virtio-serial devices reserved for virtconsole devices"
                             " for backward compatibility.")  # fmt: skip
        elif nr >= self.max_ports:
            raise PcemuError(f"virtio-serial-bus: Out-of-range port id specified, max. allowed: {self.max_ports - 1}")
        elif nr in self.ports:
            raise PcemuError(f"virtio-serial-bus: A port already exists at id {nr}")
        self.ports[nr] = port
        if self.has(F_MULTIPORT):
            self.tell(nr, PORT_ADD, 1)
        elif nr == 0 and self.running:
            port.set_guest_connected(True)
        return nr

    def remove(self, port: VirtioSerialPort) -> None:
        del self.ports[port.nr]
        self.guard(self.output, self.outputs[port.nr])  # what was on its way to it
        self.tell(port.nr, PORT_REMOVE, 1)

    def buffers_came(self, queue: Virtqueue) -> None:
        port = self.ports.get(self._port_of[queue])
        if port is not None:
            port.buffers_came()

    def output(self, queue: Virtqueue) -> None:
        port = self.ports.get(self._port_of[queue])
        if port is not None:
            port.output(queue)
            return
        for chain in queue.pop_all():  # nobody listens
            queue.push(chain)
        queue.notify()

    # -- control messages ---------------------------------------------------------------------------------------

    def tell(self, port: int, event: int, value: int, data: bytes = b"") -> None:
        """A message to the driver, as soon as it has a buffer for it."""
        if not self.has(F_MULTIPORT) or not self.running or len(self.messages) >= MOST_MESSAGES:
            return
        self.messages.append(MESSAGE.pack(port, event, value) + data)
        self.guard(self.send_messages, self.control_in)

    def send_messages(self, queue: Virtqueue) -> None:
        while self.messages:
            chain = queue.pop()
            if chain is None:
                break
            queue.push(chain, chain.write(0, self.messages.popleft()))
        queue.notify()

    def control(self, queue: Virtqueue) -> None:
        for chain in queue.pop_all():
            data = chain.read(0, MESSAGE.size)
            queue.push(chain)
            if len(data) == MESSAGE.size:
                self.message(*MESSAGE.unpack(data))
        queue.notify()

    def message(self, nr: int, event: int, value: int) -> None:
        """From the driver."""
        if event == DEVICE_READY:
            if not value:
                self.log_guest_error("the driver failed to set the ports up")
                return
            for each in sorted(self.ports):
                self.tell(each, PORT_ADD, 1)
            return
        port = self.ports.get(nr)
        if port is None:
            self.log_guest_error("a control message for port %d, which is not there", nr)
        elif event == PORT_READY:
            if not value:
                self.log_guest_error("the driver failed to add port %d", nr)
                return
            if port.is_console:
                self.tell(nr, CONSOLE_PORT, 1)
            if port.name:
                self.tell(nr, PORT_NAME, 1, port.name.encode() + b"\0")
            if port.host_connected:
                self.tell(nr, PORT_OPEN, 1)
        elif event == PORT_OPEN:
            port.set_guest_connected(bool(value))

    # -- life ---------------------------------------------------------------------------------------------------

    def unplug(self) -> None:
        for port in list(self.ports.values()):
            port.unplug()
        super().unplug()


class VirtioSerialPort(Device):
    """A stream of bytes both ways. `chardev` is its host side."""

    bus_type = "virtio-serial-bus"
    category = "input"
    is_console: ClassVar[bool] = False

    chardev = Property("chardev", help="ID of a chardev to use as a backend")
    nr = Property("u32", default=AUTO_NR)
    name = Property(str)

    guest_connected = State("bool", help="a program in the guest has it open")

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self._chr: Any = None
        self._serial: VirtioSerial | None = None
        self.host_connected = False
        self.throttled = False
        self._waiting: Chain | None = None  # a buffer for the next input
        self._sending: tuple[Chain, int] | None = None  # output that the host has taken some bytes of
        super().__init__(machine, bus, id, **props)

    @property
    def serial(self) -> VirtioSerial:
        assert self._serial is not None
        return self._serial

    def realize(self) -> None:
        parent = self.parent_bus.parent if self.parent_bus is not None else None
        if not isinstance(parent, VirtioSerial):
            raise self.fail("no virtio-serial bus to plug it into")
        if self.name:
            for port in parent.ports.values():
                if port.name == self.name:
                    raise PcemuError(f"virtio-serial-bus: A port already exists by name {self.name}")
        backend: Any = self.chardev
        if backend is not None:
            self._chr = backend.attach(self.path())
            self.host_connected = self.is_console or getattr(self._chr, "connected", True)
            self._chr.can_receive = self.room
            self._chr.on_input = self.input
            self._chr.on_event = self.host_event
            self._chr.on_writable = self.host_ready
        try:
            self.nr = parent.place(self)
        except PcemuError:
            if self._chr is not None:
                self._chr.detach()
            raise
        self._serial = parent

    def unplug(self) -> None:
        if self._serial is not None:
            self.set_guest_connected(False)
            self._give_back()
            self.serial.remove(self)
            self._serial = None
        if self._chr is not None:
            self._chr.detach()
        super().unplug()

    def _give_back(self) -> None:
        """Buffers of the guest's, for the next port of that number."""
        serial = self.serial
        (reading, self._waiting), (writing, self._sending) = (self._waiting, None), (self._sending, None)
        if reading is not None:
            serial.inputs[self.nr].rewind(reading)
        if writing is not None:
            serial.guard(serial.outputs[self.nr].finish, writing[0])
        if self.throttled:
            self.throttled = False
            serial.outputs[self.nr].suppress(False)

    def describe(self) -> list[str]:
        on = ("off", "on")
        return [f"port {self.nr}, guest {on[self.guest_connected]}, host {on[self.host_connected]},"
                f" throttle {on[self.throttled]}"]  # fmt: skip

    # -- to the host --------------------------------------------------------------------------------------------

    def to_host(self, data: bytes | memoryview) -> None:
        if self._chr is not None:
            self._chr.write(data)

    def output(self, queue: Virtqueue) -> None:
        """The guest wrote: pass it on, unless the host does not keep up."""
        backend = self._chr
        try:
            while not (backend is not None and backend.blocked):
                chain, done = self._sending or (queue.pop(), 0)
                self._sending = None
                if chain is None:
                    return
                if chain.out_size > LONGEST:
                    self.serial.broken(f"{chain.out_size} bytes in one request")
                    return
                while backend is not None and done < chain.out_size and not backend.blocked:
                    backend.write(chain.read(done, PIECE))
                    done += PIECE
                if backend is not None and done < chain.out_size:
                    self._sending = chain, done
                    break
                queue.push(chain)
            self.throttled = True
            queue.suppress(True)
        finally:
            queue.notify()

    def host_ready(self) -> None:
        """The host takes output again."""
        if self.throttled:
            self.throttled = False
            queue = self.serial.outputs[self.nr]
            queue.suppress(False)
            if self.serial.running:
                self.serial.guard(self.output, queue)

    # -- from the host ------------------------------------------------------------------------------------------

    def room(self) -> int:
        """How much input the guest takes: what the buffer has room for that is next."""
        if not self.guest_connected or not self.serial.running:
            return 0
        if self._waiting is None:
            self.serial.guard(self._next_buffer)
        return self._waiting.in_size if self._waiting is not None else 0

    def _next_buffer(self) -> None:
        queue = self.serial.inputs[self.nr]
        while (chain := queue.pop()) is not None:
            if chain.in_size:
                self._waiting = chain
                return
            queue.finish(chain)

    def input(self, data: bytes) -> None:
        """At most as much as room() said."""
        chain, self._waiting = self._waiting, None
        if chain is not None:
            self.serial.guard(self.serial.inputs[self.nr].finish, chain, chain.write(0, data))

    def buffers_came(self) -> None:
        if self._chr is not None:
            self._chr.accept_input()

    # -- who is there -------------------------------------------------------------------------------------------

    def set_guest_connected(self, on: bool) -> None:
        if on != self.guest_connected and self.id:
            self.machine.emit_event("VSERPORT_CHANGE", {"id": self.id, "open": on})
        self.guest_connected = on
        if on:
            self.buffers_came()

    def host_event(self, event: str) -> None:
        if event in ("opened", "closed") and not self.is_console:
            self.host_connected = event == "opened"
            if self._serial is not None:
                self.serial.tell(self.nr, PORT_OPEN, int(self.host_connected))

    def guest_reset(self) -> None:
        self.set_guest_connected(False)
        self._waiting = self._sending = None
        self.throttled = False

    def reset(self) -> None:
        self.guest_reset()
        super().reset()


class VirtSerialPort(VirtioSerialPort):
    """A port for programs in the guest: /dev/virtio-ports/NAME."""

    type_name = "virtserialport"


class VirtConsole(VirtioSerialPort):
    """A port the guest uses as a terminal: /dev/hvcN."""

    type_name = "virtconsole"
    is_console = True


class VirtioSerialPci(VirtioPci):
    """virtio-serial on PCI."""

    category = "input"
    device_class = VirtioSerial
    class_id = 0x0780

    ioeventfd = Property(bool, default=True, help="on/off", inert="the guest's processor calls the device", so=False)
    vectors = Property("u32", default=2)
    class_code = Property("u32", name="class")

    def realize(self) -> None:
        if not self.class_code:
            self.class_code = self.class_id
        super().realize()


transports(VirtioSerialPci, "virtio-serial-pci", "virtio-serial")
