"""virtio-net: the network device (virtio 1.2, 5.1), with checksum and segmentation offloads both ways.

What the host side of the cable cannot take unfinished is finished in software on the way (pcemu.net), so the offloads
are offered whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack
from typing import TYPE_CHECKING, Any, ClassVar

from pcemu.net import CSUM, ECN, MAX_FRAME, TSO4, TSO6, UFO, Frame, NicClient, Offload, connect, default_mac
from pcemu.qom import Property

from . import net_control as control
from .device import MAX_QUEUE_SIZE, VirtioDevice
from .pci import UNSPECIFIED, VirtioPci, transports
from .queue import Virtqueue

if TYPE_CHECKING:
    from pcemu._core.ring import Chain

# Feature bits (5.1.3).
F_CSUM, F_GUEST_CSUM, F_CTRL_GUEST_OFFLOADS, F_MTU, F_MAC, F_GSO = 0, 1, 2, 3, 5, 6
F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_ECN, F_GUEST_UFO, F_HOST_TSO4, F_HOST_TSO6, F_HOST_ECN, F_HOST_UFO = range(7, 15)
F_MRG_RXBUF, F_STATUS, F_CTRL_VQ, F_CTRL_RX, F_CTRL_VLAN, F_CTRL_RX_EXTRA, F_GUEST_ANNOUNCE, F_MQ, F_CTRL_MAC_ADDR = range(15, 24)
F_SPEED_DUPLEX = 63
# Feature bits by which the driver says what it receives unfinished.
TAKES = ((F_GUEST_CSUM, CSUM), (F_GUEST_TSO4, TSO4), (F_GUEST_TSO6, TSO6), (F_GUEST_ECN, ECN), (F_GUEST_UFO, UFO))

LINK_UP, ANNOUNCE = 1, 2
HEADER, HEADER_MERGED = 10, 12  # bytes in front of a frame; the longer one ends with the number of buffers
NO_OFFLOAD = bytes(HEADER)
CONTROL_SIZE = 64  # entries of the control queue
MOST_CONTROL = 1 << 16  # bytes of a command
DUPLEX = {"half": 0, "full": 1}


class QueuePair:
    """A receive and a transmit queue, and their end of a cable."""

    def __init__(self, device: VirtioNet, index: int) -> None:
        self.device = device
        self.client = _Client(device, self)
        self.rx = Virtqueue(device, 2 * index, device.rx_queue_size, self.buffers_came, f"rx{index}")
        self.tx = Virtqueue(device, 2 * index + 1, device.tx_queue_size, self.transmit, f"tx{index}")
        self.clear()

    def clear(self) -> None:
        """As after reset."""
        self.starved = False  # the peer waits for buffers
        self.kept: tuple[Chain, Frame, Offload | None] | None = None  # a frame that the peer had no room for

    # -- out ----------------------------------------------------------------------------------------------------

    def transmit(self, queue: Virtqueue) -> None:
        device = self.device
        if not device.running or not self._send_kept():
            return
        header = device.header_size
        send = self.client.send
        try:
            while (chain := queue.pop()) is not None:
                size = chain.out_size - header
                if size < 0:
                    device.broken("a frame without its header")
                    return
                if size > MAX_FRAME:
                    self.client.lost += 1
                    queue.push(chain)
                    continue
                start = chain.read(0, HEADER)
                offload = None if start[:2] == b"\0\0" else Offload.unpack(start)
                views = chain.out_views(header)
                # In one piece it goes out from where it lies.
                frame: Frame = memoryview(views[0]) if len(views) == 1 else chain.read(header, size)
                if not send(frame, offload):
                    self.kept = chain, frame, offload
                    queue.suppress(True)
                    return
                queue.push(chain)
            queue.suppress(False)
        finally:
            queue.notify()

    def _send_kept(self) -> bool:
        if self.kept is None:
            return True
        chain, frame, offload = self.kept
        if not self.client.send(frame, offload):
            return False
        self.kept = None
        self.tx.push(chain)
        return True

    def room(self) -> None:
        """The peer takes frames again."""
        if self.device.running:
            self.device.guard(self.transmit, self.tx)

    # -- in -----------------------------------------------------------------------------------------------------

    def buffers_came(self, queue: Virtqueue) -> None:
        if self.starved:
            self.starved = False
            self.client.flush_queued()

    def receive(self, frame: Frame, offload: Offload | None) -> bool:
        device = self.device
        if not device.running or self.rx.ring is None:
            return True  # nobody is listening
        if not device.filter.wants(frame, device.current_mac):
            return True
        try:
            return self._store(frame, offload)
        except device.machine.rings.RingError as error:
            device.broken(str(error))
            return True

    def _store(self, frame: Frame, offload: Offload | None) -> bool:
        device, queue = self.device, self.rx
        header = device.header_size
        need = header + len(frame)
        chains: list[Chain] = []
        room = 0
        while room < need:
            chain = queue.pop()
            if chain is None:
                for one in reversed(chains):
                    queue.rewind(one)
                self.starved = True
                return False
            if not chains and chain.in_size < header:
                device.broken("a receive buffer with no room for the header")
                return True
            chains.append(chain)
            room += chain.in_size
            if not device.merges and room < need:
                # Longer than the buffers of a driver that does not merge them: lost, as on a wire.
                queue.rewind(chain)
                self.client.lost += 1
                return True
        start = NO_OFFLOAD if offload is None else offload.pack()
        if header == HEADER_MERGED:
            start += pack("<H", len(chains))
        first = chains[0]
        first.write(0, start)
        if len(chains) == 1:
            queue.push(first, header + first.write(header, frame))
        else:
            view = memoryview(frame)
            done = first.write(header, view)
            queue.push(first, header + done)
            for chain in chains[1:]:
                count = chain.write(0, view[done:])
                queue.push(chain, count)
                done += count
        queue.notify()
        return True


class _Client(NicClient):
    """The cable's end of a queue pair."""

    def __init__(self, device: VirtioNet, pair: QueuePair) -> None:
        owner = device.parent_bus.parent if device.parent_bus is not None else None
        model = owner.type_name if owner is not None else device.type_name
        name = owner.id if owner is not None and owner.id else f"{model}.{device.serial_number}"
        super().__init__(device.machine, name, model, mac=device.mac)
        self.pair = pair
        self.device = device

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        return self.pair.receive(frame, offload)

    def on_room(self) -> None:
        self.pair.room()

    def link_changed(self) -> None:
        self.device.link_changed()


class VirtioNet(VirtioDevice):
    """A network card."""

    type_name = "virtio-net-device"
    device_number = 1

    csum = Property(bool, default=True, help="on/off")
    guest_csum = Property(bool, name="guest_csum", default=True, help="on/off")
    gso = Property(bool, default=True, help="on/off")
    guest_tso4 = Property(bool, name="guest_tso4", default=True, help="on/off")
    guest_tso6 = Property(bool, name="guest_tso6", default=True, help="on/off")
    guest_ecn = Property(bool, name="guest_ecn", default=True, help="on/off")
    guest_ufo = Property(bool, name="guest_ufo", default=True, help="on/off")
    guest_announce = Property(bool, name="guest_announce", default=True, help="on/off")
    host_tso4 = Property(bool, name="host_tso4", default=True, help="on/off")
    host_tso6 = Property(bool, name="host_tso6", default=True, help="on/off")
    host_ecn = Property(bool, name="host_ecn", default=True, help="on/off")
    host_ufo = Property(bool, name="host_ufo", default=True, help="on/off")
    mrg_rxbuf = Property(bool, name="mrg_rxbuf", default=True, help="on/off")
    status_ = Property(bool, name="status", default=True, help="on/off")
    ctrl_vq = Property(bool, name="ctrl_vq", default=True, help="on/off")
    ctrl_rx = Property(bool, name="ctrl_rx", default=True, help="on/off")
    ctrl_vlan = Property(bool, name="ctrl_vlan", default=True, help="on/off")
    ctrl_rx_extra = Property(bool, name="ctrl_rx_extra", default=True, help="on/off")
    ctrl_mac_addr = Property(bool, name="ctrl_mac_addr", default=True, help="on/off")
    ctrl_guest_offloads = Property(bool, name="ctrl_guest_offloads", default=True, help="on/off")
    mq = Property(bool, help="on/off")
    rss = Property(bool, help="on/off")
    hash = Property(bool, help="on/off")
    guest_rsc_ext = Property(bool, name="guest_rsc_ext", help="on/off")
    rsc_interval = Property("u32", name="rsc_interval", default=300000, inert="segments are not coalesced")
    mac = Property("mac", label="str", help="Ethernet 6-byte MAC Address, example: 52:54:00:12:34:56")
    netdev = Property("netdev", label="str", help="ID of a netdev to use as a backend")
    x_txtimer = Property("u32", default=150000, inert="frames are sent at once")
    x_txburst = Property("s32", default=256, inert="frames are sent at once")
    tx = Property(str)
    rx_queue_size = Property("u16", name="rx_queue_size", default=256)
    tx_queue_size = Property("u16", name="tx_queue_size", default=256)
    host_mtu = Property("u16", name="host_mtu")
    x_mtu_bypass_backend = Property(bool, default=True, inert="back ends are told no MTU")
    speed = Property("s32", default=-1)
    duplex = Property(str)
    failover = Property(bool)
    bootindex = Property("s32", default=-1, hidden=True, label="int32")

    feature_bits: ClassVar[tuple[tuple[int, str | None], ...]] = (
        (F_CSUM, "csum"), (F_GUEST_CSUM, "guest_csum"), (F_GSO, "gso"), (F_MAC, None), (F_GUEST_TSO4, "guest_tso4"),
        (F_GUEST_TSO6, "guest_tso6"), (F_GUEST_ECN, "guest_ecn"), (F_GUEST_UFO, "guest_ufo"), (F_HOST_TSO4, "host_tso4"),
        (F_HOST_TSO6, "host_tso6"), (F_HOST_ECN, "host_ecn"), (F_HOST_UFO, "host_ufo"), (F_MRG_RXBUF, "mrg_rxbuf"),
        (F_STATUS, "status"), (F_CTRL_VQ, "ctrl_vq"), (F_MQ, "mq"), (F_MTU, "host_mtu"),
    )  # fmt: skip
    # Those that make no sense without a control queue.
    control_bits: ClassVar[tuple[tuple[int, str], ...]] = (
        (F_CTRL_GUEST_OFFLOADS, "ctrl_guest_offloads"), (F_CTRL_RX, "ctrl_rx"), (F_CTRL_VLAN, "ctrl_vlan"),
        (F_CTRL_RX_EXTRA, "ctrl_rx_extra"), (F_GUEST_ANNOUNCE, "guest_announce"), (F_CTRL_MAC_ADDR, "ctrl_mac_addr"),
    )  # fmt: skip
    LEGACY_ONLY = VirtioDevice.LEGACY_ONLY | 1 << F_GSO

    def __init__(self, machine: Any, bus: Any = None, id: str | None = None, **props: Any) -> None:
        self.pairs: list[QueuePair] = []
        self.filter = control.ReceiveFilter()
        self.filter_told = False  # monitors know that it was changed
        self.announcing = False
        self.header_size = HEADER
        self.merges = False
        super().__init__(machine, bus, id, **props)

    # -- building -----------------------------------------------------------------------------------------------

    def realize(self) -> None:
        for name in ("rss", "hash", "guest_rsc_ext", "failover"):
            if getattr(self, name):
                raise self.fail(f"{name}=on: not implemented yet")
        if self.tx not in (None, "", "bh"):
            raise self.fail(f"tx={self.tx}: frames are sent at once (tx=bh); there is no other way")
        for name in ("rx_queue_size", "tx_queue_size"):
            size = getattr(self, name)
            if not 256 <= size <= MAX_QUEUE_SIZE or size & (size - 1):
                raise self.fail(f"Invalid {name} (= {size}), must be a power of 2 between 256 and {MAX_QUEUE_SIZE}.")
        if self.duplex and self.duplex not in DUPLEX:
            raise self.fail("'duplex' must be 'half' or 'full'")
        if self.speed < -1:
            raise self.fail("'speed' must be between 0 and INT_MAX")
        if self.mac is None:
            self.mac = default_mac(self.machine)
        self.current_mac: bytes = self.mac
        self.serial_number = len([device for device in self.machine.devices if isinstance(device, VirtioNet)]) - 1
        peers = self.netdev.queues if self.netdev is not None else [None]
        if not self.mq:
            peers = peers[:1]
        for index, peer in enumerate(peers):
            pair = QueuePair(self, index)
            self.pairs.append(pair)
            if peer is not None:
                connect(pair.client, peer)
        self.control_queue = Virtqueue(self, 0, CONTROL_SIZE, self.serve_control, "control")
        sizes = ((True, 8), (self.mq, 10), (self.host_mtu, 12), (self.speed >= 0 or bool(self.duplex), 17))
        self.config_size = max(size for wanted, size in sizes if wanted)
        self.active_pairs = 1
        self._arrange()

    def _arrange(self) -> None:
        """The control queue is behind all pairs, or behind the first for a driver that knows of one only (5.1.2)."""
        pairs = self.pairs if self.has(F_MQ) or not self.features else self.pairs[:1]
        self.queues = [queue for pair in pairs for queue in (pair.rx, pair.tx)]
        if self.ctrl_vq:
            self.queues.append(self.control_queue)
        for index, queue in enumerate(self.queues):
            queue.index = index

    def unplug(self) -> None:
        for pair in self.pairs:
            pair.client.close()
        super().unplug()

    # -- features and configuration -----------------------------------------------------------------------------

    def extra_features(self) -> int:
        bits = 1 << F_SPEED_DUPLEX if self.speed >= 0 or self.duplex else 0
        if self.ctrl_vq:
            for bit, name in self.control_bits:
                if getattr(self, name):
                    bits |= 1 << bit
        return bits

    def features_accepted(self) -> None:
        merged = self.has(F_MRG_RXBUF)
        self.merges = merged
        self.header_size = HEADER_MERGED if merged or self.modern else HEADER
        if self.pairs:
            self._set_takes(self.features)
            self._arrange()
        self.filter.vlans = set() if self.has(F_CTRL_VLAN) else None

    def _set_takes(self, bits: int) -> None:
        takes = sum(take for bit, take in TAKES if bits >> bit & 1)
        for pair in self.pairs:
            pair.client.takes = takes

    def link_up(self) -> bool:
        return self.pairs[0].client.link_up if self.pairs else False

    def config(self) -> bytes:
        status = (LINK_UP if self.link_up() else 0) | (ANNOUNCE if self.announcing else 0)
        speed = self.speed if self.speed >= 0 else 0xFFFFFFFF
        data = self.current_mac + pack("<HHHIB", status, len(self.pairs), self.host_mtu, speed, DUPLEX.get(self.duplex, 0xFF))
        return data[: self.config_size]

    def config_written(self, offset: int, data: bytes) -> None:
        """Legacy drivers set the address here."""
        if offset < 6 and not self.modern and not self.has(F_CTRL_MAC_ADDR):
            mac = bytearray(self.current_mac)
            part = data[: 6 - offset]
            mac[offset : offset + len(part)] = part
            self._set_mac(bytes(mac))

    def _set_mac(self, mac: bytes) -> None:
        self.current_mac = mac
        for pair in self.pairs:
            pair.client.mac = mac

    def link_changed(self) -> None:
        if self.has(F_STATUS):
            self.config_changed()

    def announce(self) -> None:
        """Have the guest tell the network where it is (after a move)."""
        if self.has(F_GUEST_ANNOUNCE) and self.has(F_CTRL_VQ):
            self.announcing = True
            self.config_changed()

    def device_reset(self) -> None:
        self.filter.reset()
        self.announcing = False
        self.active_pairs = 1
        for pair in self.pairs:
            for queue in (pair.rx, pair.tx):
                queue.clear()
            waiting = pair.starved
            pair.clear()
            if waiting:
                pair.client.flush_queued()  # to be thrown away
        if self.pairs:
            self.control_queue.clear()
            self._set_mac(self.mac)
            self._arrange()

    def queue_was_reset(self, queue: Virtqueue) -> None:
        for pair in self.pairs:
            if queue in (pair.rx, pair.tx):
                pair.clear()

    # -- the control queue --------------------------------------------------------------------------------------

    def serve_control(self, queue: Virtqueue) -> None:
        while (chain := queue.pop()) is not None:
            if chain.out_size < 2 or chain.in_size < 1:
                self.broken("a control command without header or room for the answer")
                return
            command = chain.read(0, MOST_CONTROL)
            answer = self.run_command(command[0], command[1], command[2:])
            queue.push(chain, chain.write(0, bytes((answer,))))
        queue.notify()

    def run_command(self, kind: int, command: int, data: bytes) -> int:
        needed, function = self._commands.get(kind, (-1, None))
        if function is None or not self.has(needed):
            return control.ERROR
        answer = function(self, command, data)
        if answer == control.OK and kind in (control.RX, control.MAC, control.VLAN):
            self._filter_changed()
        return answer

    def _filter_changed(self) -> None:
        if not self.filter_told:
            self.filter_told = True
            name = self.id or (self.part_of.id if self.part_of is not None else "")
            named = {"name": name} if name else {}
            self.machine.emit_event("NIC_RX_FILTER_CHANGED", {**named, "path": self.machine.path_of(self)})

    def rx_filter(self) -> dict[str, Any]:
        """query-rx-filter; the next change is worth an event again."""
        self.filter_told = False
        return {"name": self.pairs[0].client.name, "main-mac": self.current_mac.hex(":"), **self.filter.describe()}

    def _rx_mode(self, command: int, data: bytes) -> int:
        return self.filter.set_mode(command, data, self.has(F_CTRL_RX_EXTRA))

    def _mac_command(self, command: int, data: bytes) -> int:
        if command == control.MAC_TABLE_SET:
            return self.filter.set_table(data)
        if command == control.MAC_ADDR_SET and len(data) == 6 and self.has(F_CTRL_MAC_ADDR):
            self._set_mac(data)
            return control.OK
        return control.ERROR

    def _vlan(self, command: int, data: bytes) -> int:
        return self.filter.set_vlan(command, data)

    def _announced(self, command: int, data: bytes) -> int:
        if command or not self.announcing:
            return control.ERROR
        self.announcing = False
        return control.OK

    def _set_pairs(self, command: int, data: bytes) -> int:
        count = int.from_bytes(data, "little")
        if command or len(data) != 2 or not 1 <= count <= len(self.pairs):
            return control.ERROR
        self.active_pairs = count
        return control.OK

    def _offloads(self, command: int, data: bytes) -> int:
        bits = int.from_bytes(data, "little")
        possible = sum(1 << bit for bit, _ in TAKES if self.has(bit))
        if command or len(data) != 8 or bits & ~possible:
            return control.ERROR
        self._set_takes(bits)
        return control.OK

    # The feature a class of commands needs, and what runs them.
    _commands: ClassVar[dict[int, tuple[int, Callable[[VirtioNet, int, bytes], int]]]] = {
        control.RX: (F_CTRL_RX, _rx_mode),
        control.MAC: (F_CTRL_VQ, _mac_command),
        control.VLAN: (F_CTRL_VLAN, _vlan),
        control.ANNOUNCE: (F_GUEST_ANNOUNCE, _announced),
        control.MQ: (F_MQ, _set_pairs),
        control.GUEST_OFFLOADS: (F_CTRL_GUEST_OFFLOADS, _offloads),
    }

    # -- state --------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        for pair in self.pairs:  # a frame that waits for room is lost, as frames may be
            if pair.kept is not None:
                self.guard(pair.tx.push, pair.kept[0])
                pair.kept = None
        return {**super().get_state(), "filter": self.filter.state(), "mac": self.current_mac,
                "announcing": self.announcing, "active_pairs": self.active_pairs}  # fmt: skip

    def set_state(self, values: dict[str, Any]) -> None:
        super().set_state(values)
        if "filter" in values:
            self.filter.load(values["filter"])
            self._set_mac(values["mac"])
            self.announcing, self.active_pairs = values["announcing"], values["active_pairs"]


class VirtioNetPci(VirtioPci):
    """virtio-net on PCI."""

    category = "network"
    device_class = VirtioNet
    class_id = 0x0200
    default_rom: ClassVar[tuple[str, int]] = ("efi-virtio.rom", 256 << 10)

    ioeventfd = Property(bool, default=True, help="on/off", inert="the guest's processor calls the device", so=False)
    vectors = Property("u32", default=UNSPECIFIED)

    def wanted_vectors(self) -> int:
        return 2 * len(self.vdev.pairs) + 2  # type: ignore[attr-defined]


transports(VirtioNetPci, "virtio-net-pci", "virtio-net")
