"""Virtio devices as their drivers left them: status, features, queues, what is in a ring."""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack, unpack
from typing import Any

from .commands_memory import read_physical
from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
struct  VirtioInfo            path: str, name: str
struct  VirtioDeviceStatus    statuses: [str], unknown-statuses?: int
struct  VirtioDeviceFeatures  transports: [str], dev-features?: [str], unknown-dev-features?: int
struct  VirtioStatus          name: str, device-id: int, vhost-started: bool, device-endian: str, \\
                              guest-features: VirtioDeviceFeatures, host-features: VirtioDeviceFeatures, \\
                              backend-features: VirtioDeviceFeatures, num-vqs: int, status: VirtioDeviceStatus, isr: int, \\
                              queue-sel: int, vm-running: bool, broken: bool, disabled: bool, use-started: bool, \\
                              started: bool, start-on-kick: bool, disable-legacy-check: bool, bus-name: str, \\
                              use-guest-notifier-mask: bool
struct  VirtQueueStatus       name: str, queue-index: int, inuse: int, vring-num: int, vring-num-default: int, \\
                              vring-align: int, vring-desc: int, vring-avail: int, vring-used: int, last-avail-idx?: int, \\
                              shadow-avail-idx?: int, used-idx: int, signalled-used: int, signalled-used-valid: bool
struct  VirtioRingDesc        addr: int, len: int, flags: [str]
struct  VirtioRingAvail       flags: int, idx: int, ring: int
struct  VirtioRingUsed        flags: int, idx: int
struct  VirtioQueueElement    name: str, index: int, descs: [VirtioRingDesc], avail: VirtioRingAvail, used: VirtioRingUsed
""")

# Bits by the names of the specification (virtio 1.2: 2.1, chapter 6, 5.x.3), and what they say.
STATUS = {
    0: ("VIRTIO_CONFIG_S_ACKNOWLEDGE", "the guest has found the device"),
    1: ("VIRTIO_CONFIG_S_DRIVER", "it has a driver for it"),
    2: ("VIRTIO_CONFIG_S_DRIVER_OK", "the driver is ready"),
    3: ("VIRTIO_CONFIG_S_FEATURES_OK", "features are settled"),
    6: ("VIRTIO_CONFIG_S_NEEDS_RESET", "the device has met what it cannot go on from"),
    7: ("VIRTIO_CONFIG_S_FAILED", "the driver has given up"),
}
TRANSPORT = {
    24: ("VIRTIO_F_NOTIFY_ON_EMPTY", "an interrupt when the ring runs empty, wanted or not"),
    27: ("VIRTIO_F_ANY_LAYOUT", "requests may be cut into descriptors anywhere"),
    28: ("VIRTIO_RING_F_INDIRECT_DESC", "descriptors may lie in tables of their own"),
    29: ("VIRTIO_RING_F_EVENT_IDX", "either side says from which index on it wants to be told"),
    32: ("VIRTIO_F_VERSION_1", "virtio 1.0 or newer"),
    33: ("VIRTIO_F_IOMMU_PLATFORM", "addresses go through the platform's IOMMU"),
    34: ("VIRTIO_F_RING_PACKED", "packed rings"),
    35: ("VIRTIO_F_IN_ORDER", "buffers are used in the order they came in"),
    36: ("VIRTIO_F_ORDER_PLATFORM", "memory is ordered as the platform orders it"),
    37: ("VIRTIO_F_SR_IOV", "virtual functions"),
    40: ("VIRTIO_F_RING_RESET", "a queue can be reset alone"),
}
DEVICES: dict[int, dict[int, tuple[str, str]]] = {
    1: {
        0: ("VIRTIO_NET_F_CSUM", "the device fills in checksums"),
        1: ("VIRTIO_NET_F_GUEST_CSUM", "the driver takes packets without checksums"),
        2: ("VIRTIO_NET_F_CTRL_GUEST_OFFLOADS", "offloads can change later"),
        3: ("VIRTIO_NET_F_MTU", "the device suggests an MTU"),
        5: ("VIRTIO_NET_F_MAC", "the device has a MAC address"),
        6: ("VIRTIO_NET_F_GSO", "segmentation of any kind (legacy)"),
        7: ("VIRTIO_NET_F_GUEST_TSO4", "the driver takes large TCP segments over IPv4"),
        8: ("VIRTIO_NET_F_GUEST_TSO6", "the driver takes large TCP segments over IPv6"),
        9: ("VIRTIO_NET_F_GUEST_ECN", "the driver takes them with ECN"),
        10: ("VIRTIO_NET_F_GUEST_UFO", "the driver takes large UDP packets"),
        11: ("VIRTIO_NET_F_HOST_TSO4", "the device takes large TCP segments over IPv4"),
        12: ("VIRTIO_NET_F_HOST_TSO6", "the device takes large TCP segments over IPv6"),
        13: ("VIRTIO_NET_F_HOST_ECN", "the device takes them with ECN"),
        14: ("VIRTIO_NET_F_HOST_UFO", "the device takes large UDP packets"),
        15: ("VIRTIO_NET_F_MRG_RXBUF", "a packet may fill several buffers"),
        16: ("VIRTIO_NET_F_STATUS", "the link's state is in the configuration"),
        17: ("VIRTIO_NET_F_CTRL_VQ", "a queue for commands"),
        18: ("VIRTIO_NET_F_CTRL_RX", "command: what to receive"),
        19: ("VIRTIO_NET_F_CTRL_VLAN", "command: which VLANs"),
        20: ("VIRTIO_NET_F_CTRL_RX_EXTRA", "command: finer classes of what to receive"),
        21: ("VIRTIO_NET_F_GUEST_ANNOUNCE", "the driver announces the guest when it is asked to"),
        22: ("VIRTIO_NET_F_MQ", "several pairs of queues"),
        23: ("VIRTIO_NET_F_CTRL_MAC_ADDR", "command: another MAC address"),
        63: ("VIRTIO_NET_F_SPEED_DUPLEX", "speed and duplex are in the configuration"),
    },
    2: {
        0: ("VIRTIO_BLK_F_BARRIER", "barriers (legacy)"),
        1: ("VIRTIO_BLK_F_SIZE_MAX", "a limit for a segment's size"),
        2: ("VIRTIO_BLK_F_SEG_MAX", "a limit for the number of segments"),
        4: ("VIRTIO_BLK_F_GEOMETRY", "cylinders, heads and sectors"),
        5: ("VIRTIO_BLK_F_RO", "read-only"),
        6: ("VIRTIO_BLK_F_BLK_SIZE", "a block size"),
        7: ("VIRTIO_BLK_F_SCSI", "SCSI commands (legacy)"),
        9: ("VIRTIO_BLK_F_FLUSH", "flushes"),
        10: ("VIRTIO_BLK_F_TOPOLOGY", "physical blocks and best sizes"),
        11: ("VIRTIO_BLK_F_CONFIG_WCE", "the write cache can be switched"),
        12: ("VIRTIO_BLK_F_MQ", "several queues"),
        13: ("VIRTIO_BLK_F_DISCARD", "discards"),
        14: ("VIRTIO_BLK_F_WRITE_ZEROES", "writing of zeroes"),
    },
    3: {
        0: ("VIRTIO_CONSOLE_F_SIZE", "the console's size is in the configuration"),
        1: ("VIRTIO_CONSOLE_F_MULTIPORT", "several ports"),
        2: ("VIRTIO_CONSOLE_F_EMERG_WRITE", "a register for last words"),
    },
    5: {
        0: ("VIRTIO_BALLOON_F_MUST_TELL_HOST", "pages are used again after the device was told"),
        1: ("VIRTIO_BALLOON_F_STATS_VQ", "a queue for statistics"),
        2: ("VIRTIO_BALLOON_F_DEFLATE_ON_OOM", "the guest may take pages back when it has none left"),
        3: ("VIRTIO_BALLOON_F_FREE_PAGE_HINT", "the guest hints at free pages"),
        4: ("VIRTIO_BALLOON_F_PAGE_POISON", "the guest fills free pages"),
        5: ("VIRTIO_BALLOON_F_REPORTING", "the guest reports free pages"),
    },
}
RING_FLAGS = {0: "next", 1: "write", 2: "indirect", 7: "avail", 15: "used"}
NEXT, INDIRECT = 1, 4
DESC_SIZE = 16


def _bits(value: int, names: dict[int, tuple[str, str]]) -> tuple[list[str], int]:
    """What the bits are called, the highest first; and those without a name."""
    found = [f"{name}: {text}" for bit, (name, text) in sorted(names.items(), reverse=True) if value >> bit & 1]
    return found, value & ~sum(1 << bit for bit in names)


def _features(device: Any, value: int) -> dict[str, Any]:
    transports, rest = _bits(value, TRANSPORT)
    own, rest = _bits(rest, DEVICES.get(device.device_number, {}))
    return {"transports": transports, "dev-features": own} | ({"unknown-dev-features": rest} if rest else {})


def _devices(ctx: Context) -> Iterator[Any]:
    return (device for device in reversed(ctx.machine.devices) if hasattr(device, "device_number"))


def _device(ctx: Context, path: str) -> Any:
    for device in _devices(ctx):
        if ctx.machine.path_of(device) == path:
            return device
    raise CommandError(f"Path {path[:200]} is not a VirtIODevice")


def _name(device: Any) -> str:
    name: str = device.type_name
    return name.removesuffix("-device")


def _queue(ctx: Context, path: str, number: int) -> tuple[Any, Any]:
    device = _device(ctx, path)
    if not 0 <= number < len(device.queues):
        raise CommandError(f"Invalid virtqueue number {number}")
    return device, device.queues[number]


@command("info virtio", help="List all available virtio devices", qmp="x-query-virtio", returns="[VirtioInfo]",
         render=lambda found: "".join(f"{each['path']} [{each['name']}]\n" for each in found) or "No VirtIO devices\n")
def query_virtio(ctx: Context) -> list[dict[str, str]]:
    return [{"path": ctx.machine.path_of(device), "name": _name(device)} for device in _devices(ctx)]


# ---- the device -------------------------------------------------------------------------------------------------------


@qmp_command("x-query-virtio-status", "path: str", returns="VirtioStatus", help="status and features of a virtio device")
def query_virtio_status(ctx: Context, path: str) -> dict[str, Any]:
    device = _device(ctx, path)
    function = device.transport
    statuses, rest = _bits(device.status, STATUS)
    # There is no vhost, no endianness but little, and a device starts when its driver says so, not at the first kick.
    return {"name": _name(device), "device-id": device.device_number, "vhost-started": False, "device-endian": "little",
            "guest-features": _features(device, device.features), "host-features": _features(device, function.offered()),
            "backend-features": _features(device, 0), "num-vqs": len(device.queues),
            "status": {"statuses": statuses} | ({"unknown-statuses": rest} if rest else {}),
            "isr": function.isr, "queue-sel": function.queue_select, "vm-running": ctx.machine.status == "running",
            "broken": bool(device.status & 0x40), "disabled": not function.is_master and bool(device.status),
            "use-started": device.use_started, "started": bool(device.status & 4), "start-on-kick": False,
            "disable-legacy-check": device.x_disable_legacy_check,
            "bus-name": device.buses[0].name if device.buses else "", "use-guest-notifier-mask": True}


@command("info virtio-status", "path:s", params="path", help="Display status of a given virtio device")
def info_virtio_status(ctx: Context, path: str) -> str:
    return f"{path}:\n" + _show_status(query_virtio_status(ctx, path))


def _show_features(title: str, features: dict[str, Any]) -> str:
    # The list of the device's own begins behind a line end without a comma.
    groups = [",\n".join(f"\t{name}" for name in features[key]) for key in ("transports", "dev-features")]
    text = f"  {title}:\n" + "".join(group + "\n" for group in groups if group)
    if not any(groups):
        text += "\n"
    if "unknown-dev-features" in features:
        text += f"  unknown-features(0x{features['unknown-dev-features']:016x})\n"
    return text


def _show_status(status: dict[str, Any]) -> str:
    words = {True: "true", False: "false"}
    text = ""
    for name, value in (
        ("device_name", f"{status['name']} "), ("device_id", status["device-id"]), ("vhost_started", status["vhost-started"]),
        ("bus_name", status["bus-name"] or "(null)"), ("broken", status["broken"]), ("disabled", status["disabled"]),
        ("disable_legacy_check", status["disable-legacy-check"]), ("started", status["started"]),
        ("use_started", status["use-started"]), ("start_on_kick", status["start-on-kick"]),
        ("use_guest_notifier_mask", status["use-guest-notifier-mask"]), ("vm_running", status["vm-running"]),
        ("num_vqs", status["num-vqs"]), ("queue_sel", status["queue-sel"]), ("isr", status["isr"]),
        ("endianness", status["device-endian"]),
    ):  # fmt: skip
        text += f"  {name + ':':<24} {words[value] if isinstance(value, bool) else value}\n"
    text += "  status:\n" + ",\n".join(f"\t{name}" for name in status["status"]["statuses"]) + "\n"
    if "unknown-statuses" in status["status"]:
        text += f"  unknown-statuses(0x{status['status']['unknown-statuses']:04x})\n"
    for title, key in (("Guest features", "guest-features"), ("Host features", "host-features"),
                       ("Backend features", "backend-features")):
        text += _show_features(title, status[key])
    return text


# ---- queues -----------------------------------------------------------------------------------------------------------


@qmp_command("x-query-virtio-queue-status", "path: str, queue: int", returns="VirtQueueStatus",
             help="where a queue of a virtio device is, and how far device and driver are")
def query_virtio_queue_status(ctx: Context, path: str, queue: int) -> dict[str, Any]:
    device, found = _queue(ctx, path, queue)
    status = {"name": _name(device), "queue-index": queue, "inuse": 0, "vring-num": found.size,
              "vring-num-default": found.max_size, "vring-align": 4096, "vring-desc": found.desc,
              "vring-avail": found.driver_area, "vring-used": found.device_area, "last-avail-idx": 0,
              "shadow-avail-idx": 0, "used-idx": 0, "signalled-used": 0, "signalled-used-valid": False}
    if found.ring is not None:
        at = found.ring.position()
        available = at["next_avail"] if device.has(device.F_PACKED) else _half(ctx, found.driver_area + 2)
        status |= {"inuse": found.ring.in_flight, "last-avail-idx": at["next_avail"], "shadow-avail-idx": available,
                   "used-idx": at["next_used"], "signalled-used": at["signalled"],
                   "signalled-used-valid": at["signalled_valid"]}
    return status


@command("info virtio-queue-status", "path:s,queue:i", params="path queue", help="Display status of a given virtio queue")
def info_virtio_queue_status(ctx: Context, path: str, queue: int) -> str:
    return f"{path}:\n" + _show_queue(query_virtio_queue_status(ctx, path, queue))


def _show_queue(status: dict[str, Any]) -> str:
    text = ""
    for key in ("name", "queue-index", "inuse", "used-idx", "signalled-used", "signalled-used-valid", "last-avail-idx",
                "shadow-avail-idx"):
        name = "device_name" if key == "name" else key.replace("-", "_")
        value = status[key]
        text += f"  {name + ':':<21} {str(value).lower() if isinstance(value, bool) else value}\n"
    text += "  VRing:\n"
    text += "".join(f"    {name + ':':<13} {status[key]}\n"
                    for name, key in (("num", "vring-num"), ("num_default", "vring-num-default"), ("align", "vring-align")))
    return text + "".join(f"    {name + ':':<13} 0x{status[f'vring-{name}']:016x}\n" for name in ("desc", "avail", "used"))


# ---- a ring -----------------------------------------------------------------------------------------------------------


def _read(ctx: Context, address: int, size: int) -> bytes:
    data = read_physical(ctx.machine, address, size)
    if data is None:
        raise CommandError(f"Cannot read the ring: there is no RAM at {address:#x}")
    return data


def _half(ctx: Context, address: int) -> int:
    value: int = unpack("<H", _read(ctx, address, 2))[0]
    return value


@qmp_command("x-query-virtio-queue-element", "path: str, queue: int, index?: int", returns="VirtioQueueElement",
             help="a chain of descriptors: the next one the device will take, or what is in a place of the ring")
def query_virtio_queue_element(ctx: Context, path: str, queue: int, index: int | None = None) -> dict[str, Any]:
    device, found = _queue(ctx, path, queue)
    if device.has(device.F_PACKED):
        raise CommandError("Packed ring not supported")
    if found.ring is None:
        raise CommandError("Region caches not initialized")
    size = found.size
    slot = (found.ring.position()["next_avail"] if index is None else index) % size
    head = _half(ctx, found.driver_area + 4 + 2 * slot)
    return {"name": _name(device), "index": head, "descs": list(_descriptors(ctx, found, head)),
            "avail": {"flags": _half(ctx, found.driver_area), "idx": _half(ctx, found.driver_area + 2), "ring": head},
            "used": {"flags": _half(ctx, found.device_area), "idx": _half(ctx, found.device_area + 2)}}


def _descriptors(ctx: Context, queue: Any, head: int) -> Iterator[dict[str, Any]]:
    """A chain, in the guest's memory; at most as long as its table, whatever the driver wrote there."""
    table, size, at = queue.desc, queue.size, head
    inside = False
    left = size
    while left:
        if at >= size:
            raise CommandError(f"Invalid descriptor number {at} in a table of {size}")
        ((address, length, flags, following),) = iter_unpack("<QIHH", _read(ctx, table + DESC_SIZE * at, DESC_SIZE))
        if flags & INDIRECT and not inside:
            if length % DESC_SIZE or not length:
                raise CommandError(f"Invalid size for indirect buffer table: {length}")
            table, size, at, inside = address, length // DESC_SIZE, 0, True
            left = min(size, queue.max_size)
            continue
        names = [name for bit, name in RING_FLAGS.items() if flags >> bit & 1]
        yield {"addr": address, "len": length, "flags": names}
        if not flags & NEXT:
            return
        at = following
        left -= 1


@command("info virtio-queue-element", "path:s,queue:i,index:i?", params="path queue [index]",
         help="Display element of a given virtio queue")
def info_virtio_queue_element(ctx: Context, path: str, queue: int, index: int | None) -> str:
    return f"{path}:\n" + _show_element(query_virtio_queue_element(ctx, path, queue, index))


def _show_element(element: dict[str, Any]) -> str:
    text = f"  device_name: {element['name']}\n  index:   {element['index']}\n  desc:\n    descs:\n"
    for desc in element["descs"]:
        flags = f" ({', '.join(desc['flags'])})" if desc["flags"] else ""
        text += f"        addr 0x{desc['addr']:x} len {desc['len']}{flags}\n"
    avail, used = element["avail"], element["used"]
    text += f"  avail:\n    flags: {avail['flags']}\n    idx:   {avail['idx']}\n    ring:  {avail['ring']}\n"
    return text + f"  used:\n    flags: {used['flags']}\n    idx:   {used['idx']}\n"
