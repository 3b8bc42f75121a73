"""SMBIOS 2.8 tables: what dmidecode prints about the machine (DMTF DSP0134, version 2.8.0).

Types 0, 1, 3, 4, 16, 17, 19, 32 and 127, with the contents of QEMU's, and 2 and 11 on demand; `-smbios type=N,...` sets
their fields, `-smbios file=F` replaces or adds a structure.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import uuids
from .errors import LoaderError
from .images import read_image
from .platform import FOUR_GIB, Platform

OPTION = "-smbios"
_MAX_FILE = 64 << 10
_END = 127
_MAX_DIMM = 16 << 30  # QEMU splits RAM into DIMMs of 16 GiB

# Fields a user may set, by structure type.
FIELDS: dict[int, tuple[str, ...]] = {
    0: ("vendor", "version", "date", "release", "uefi"),
    1: ("manufacturer", "product", "version", "serial", "uuid", "sku", "family"),
    2: ("manufacturer", "product", "version", "serial", "asset", "location"),
    3: ("manufacturer", "version", "serial", "asset", "sku"),
    4: ("sock_pfx", "manufacturer", "version", "serial", "asset", "part", "max-speed", "current-speed"),
    11: ("value", "path"),
    17: ("loc_pfx", "bank", "manufacturer", "serial", "asset", "part", "speed"),
}


class SmbiosConfig:
    """What -smbios said: fields by type, OEM strings, structures read from files by type."""

    def __init__(self) -> None:
        self.fields: dict[int, dict[str, str]] = {}
        self.oem_strings: list[str] = []
        self.files: dict[int, list[bytes]] = {}

    def get(self, kind: int, name: str, default: str = "") -> str:
        return self.fields.get(kind, {}).get(name, default)

    def has(self, kind: int) -> bool:
        return kind in self.fields


class Identity(NamedTuple):
    """What the board calls itself."""

    manufacturer: str
    product: str
    version: str
    uuid: bytes  # 16 bytes, in the order people write
    cpu_signature: int = 0
    cpu_features: int = 0
    cpus: int = 1


def parse_options(options: Sequence[Mapping[str, str]]) -> SmbiosConfig:
    """Check the -smbios options; later ones override earlier ones."""
    config = SmbiosConfig()
    for option in options:
        given = dict(option)
        if "file" in given:
            _add_file(config, given)
            continue
        text = given.pop("type", "")
        if not text.isdigit():
            raise LoaderError(OPTION, "", "type=NUMBER or file=FILE is needed")
        kind = int(text)
        if kind not in FIELDS:
            raise LoaderError(OPTION, f"type={kind}", "this type cannot be set; those that can: "
                              + ", ".join(str(known) for known in FIELDS))  # fmt: skip
        known = FIELDS[kind]
        for name, value in given.items():
            if name not in known:
                raise LoaderError(OPTION, f"type={kind}", f"no field '{name}'; there are {', '.join(known)}")
            _check(kind, name, value)
            if kind == 11:
                config.oem_strings.append(value if name == "value" else _text_file(value))
        config.fields.setdefault(kind, {}).update(given)
    return config


def _check(kind: int, name: str, value: str) -> None:
    try:
        if name == "uuid":
            uuids.parse(value)
        elif name == "release":
            major, minor = (int(part) for part in value.split("."))
            if not (0 <= major <= 255 and 0 <= minor <= 255):
                raise ValueError
        elif name in ("max-speed", "current-speed", "speed"):
            if not 0 <= int(value, 0) <= 0xFFFF:
                raise ValueError
        elif name == "uefi" and value not in ("on", "off"):
            raise ValueError
    except ValueError:
        raise LoaderError(OPTION, f"type={kind},{name}={value}", "invalid value") from None


def _text_file(name: str) -> str:
    return read_image(OPTION, name, _MAX_FILE).decode("utf-8", "replace").rstrip("\x00\n")


def _add_file(config: SmbiosConfig, given: dict[str, str]) -> None:
    name = given.pop("file")
    if given:
        raise LoaderError(OPTION, f"file={name}", f"nothing may go with it, but there is '{next(iter(given))}'")
    data = read_image(OPTION, name, _MAX_FILE)
    if len(data) < 4 or data[1] < 4 or data[1] > len(data):
        raise LoaderError(OPTION, name, "not an SMBIOS structure")
    length = data[1]
    strings = data[length:]
    if not strings.endswith(b"\x00\x00"):
        strings = strings.rstrip(b"\x00") + b"\x00\x00"
    config.files.setdefault(data[0], []).append(data[:length] + strings)


class _Structures:
    """A growing table: structures one after the other, each followed by its strings."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0
        self.largest = 0

    def add_raw(self, structure: bytes) -> None:
        self.data += structure
        self.count += 1
        self.largest = max(self.largest, len(structure))

    def add(self, kind: int, handle: int, body: bytes, strings: Sequence[str]) -> None:
        text = b"".join(_encode(string) + b"\x00" for string in strings) or b"\x00"
        self.add_raw(struct.pack("<BBH", kind, 4 + len(body), handle) + body + text + b"\x00")


def _encode(text: str) -> bytes:
    return text.replace("\x00", " ").encode("utf-8")


class _Strings:
    """The numbered strings of one structure; an empty one is number 0, 'not specified'."""

    def __init__(self) -> None:
        self.list: list[str] = []

    def __call__(self, text: str) -> int:
        if not text:
            return 0
        self.list.append(text)
        return len(self.list)


def build(platform: Platform, identity: Identity, config: SmbiosConfig, firmware: str = "") -> tuple[bytes, bytes]:
    """The tables and their entry point ('anchor'), whose table address is still 0.

    `firmware`: version for the BIOS structure when there is no other firmware to provide one.
    """
    out = _Structures()
    if config.has(0) or firmware:
        _bios(out, config, firmware)
    _system(out, identity, config)
    if config.has(2):
        _baseboard(out, identity, config)
    _chassis(out, identity, config)
    _processor(out, identity, config)
    if config.oem_strings:
        out.add(11, 0xE00, bytes([len(config.oem_strings)]), config.oem_strings)
    _memory(out, platform, config)
    _memory_arrays(out, platform)
    out.add(32, 0x2000, bytes(7), ())
    for structures in config.files.values():
        for structure in structures:
            out.add_raw(structure)
    out.add(_END, 0x7F00, b"", ())
    return bytes(out.data), _anchor(out)


def _anchor(out: _Structures) -> bytes:
    inner = struct.pack("<5sBHIHB", b"_DMI_", 0, len(out.data), 0, out.count, 0x28)
    return struct.pack("<4sBBBBHB5x", b"_SM_", 0, 0x1F, 2, 8, out.largest, 0) + inner


def place_anchor(anchor: bytes, address: int) -> bytes:
    """The entry point with the address of the tables and both checksums (5.2.1)."""
    data = bytearray(anchor)
    struct.pack_into("<I", data, 0x18, address)
    data[0x15] = -sum(data[0x10:0x1F]) & 0xFF
    data[4] = -sum(data) & 0xFF
    return bytes(data)


# -- structures, by section of the specification -------------------------------------------------------------


def _bios(out: _Structures, config: SmbiosConfig, firmware: str) -> None:
    """7.1 BIOS information."""
    s = _Strings()
    release = config.get(0, "release")
    major, minor = (int(part) for part in release.split(".")) if release else (0, 0)
    extension = 0x14 | (0x08 if config.get(0, "uefi") == "on" else 0)  # targeted content distribution, virtual machine
    vendor = s(config.get(0, "vendor", "pcemu" if firmware else ""))
    version = s(config.get(0, "version", firmware))
    date = s(config.get(0, "date", "04/01/2014" if firmware else ""))
    body = struct.pack("<BBHBBQBBBBBB", vendor, version, 0xE800, date, 0, 0x08, 0, extension, major, minor, 0xFF, 0xFF)
    out.add(0, 0, body, s.list)


def _system(out: _Structures, identity: Identity, config: SmbiosConfig) -> None:
    """7.2 System information. The UUID's first three fields are little-endian."""
    s = _Strings()
    names = [s(config.get(1, "manufacturer", identity.manufacturer)), s(config.get(1, "product", identity.product)),
             s(config.get(1, "version", identity.version)), s(config.get(1, "serial"))]  # fmt: skip
    given = config.get(1, "uuid")
    uuid = uuids.parse(given) if given else identity.uuid
    sku, family = s(config.get(1, "sku")), s(config.get(1, "family"))
    out.add(1, 0x100, bytes(names) + uuids.mixed_endian(uuid) + bytes([6, sku, family]), s.list)


def _baseboard(out: _Structures, identity: Identity, config: SmbiosConfig) -> None:
    """7.3 Baseboard."""
    s = _Strings()
    names = [s(config.get(2, "manufacturer", identity.manufacturer)), s(config.get(2, "product")),
             s(config.get(2, "version", identity.version)), s(config.get(2, "serial")), s(config.get(2, "asset"))]  # fmt: skip
    location = s(config.get(2, "location"))
    out.add(2, 0x200, bytes(names) + struct.pack("<BBHBB", 1, location, 0x300, 0x0A, 0), s.list)


def _chassis(out: _Structures, identity: Identity, config: SmbiosConfig) -> None:
    """7.4 System enclosure: type 'other', states 'safe'."""
    s = _Strings()
    maker = s(config.get(3, "manufacturer", identity.manufacturer))
    version = s(config.get(3, "version", identity.version))
    serial, asset, sku = s(config.get(3, "serial")), s(config.get(3, "asset")), s(config.get(3, "sku"))
    body = struct.pack("<9BIBBBBB", maker, 1, version, serial, asset, 3, 3, 3, 2, 0, 0, 0, 0, 0, sku)
    out.add(3, 0x300, body, s.list)


def _processor(out: _Structures, identity: Identity, config: SmbiosConfig) -> None:
    """7.5 Processor: one socket with all the cores."""
    s = _Strings()
    socket = s(f"{config.get(4, 'sock_pfx', 'CPU')} 0")
    maker = s(config.get(4, "manufacturer", identity.manufacturer))
    version = s(config.get(4, "version", identity.version))
    speed_max, speed = int(config.get(4, "max-speed", "2000"), 0), int(config.get(4, "current-speed", "2000"), 0)
    body = struct.pack("<BBBB", socket, 3, 0x01, maker)
    body += struct.pack("<II", identity.cpu_signature, identity.cpu_features)
    body += struct.pack("<BBHHHBB", version, 0, 0, speed_max, speed, 0x41, 0x01)
    body += struct.pack("<HHH", 0xFFFF, 0xFFFF, 0xFFFF)
    body += bytes([s(config.get(4, "serial")), s(config.get(4, "asset")), s(config.get(4, "part"))])
    cores = min(identity.cpus, 255)
    body += struct.pack("<BBBHH", cores, cores, cores, 0x02, 0x01)
    out.add(4, 0x400, body, s.list)


def _memory(out: _Structures, platform: Platform, config: SmbiosConfig) -> None:
    """7.17 Physical memory array and 7.18 memory devices: DIMMs of at most 16 GiB."""
    total = platform.low_ram + platform.high_ram
    count = max(1, -(-total // _MAX_DIMM))
    kib = total >> 10
    capacity = (kib, 0) if kib < 1 << 31 else (0x80000000, total)
    out.add(16, 0x1000, struct.pack("<BBBIHHQ", 1, 3, 6, capacity[0], 0xFFFE, count, capacity[1]), ())
    for number in range(count):
        size = min(_MAX_DIMM, total - number * _MAX_DIMM)
        s = _Strings()
        locator = s(f"{config.get(17, 'loc_pfx', 'DIMM')} {number}")
        bank = s(config.get(17, "bank"))
        maker = s(config.get(17, "manufacturer", "pcemu"))
        serial, asset, part = s(config.get(17, "serial")), s(config.get(17, "asset")), s(config.get(17, "part"))
        speed = int(config.get(17, "speed", "0"), 0)
        mib = size >> 20
        short, extended = (mib, 0) if mib < 0x7FFF else (0x7FFF, mib)
        body = struct.pack("<HHHHHBBBBBH", 0x1000, 0xFFFE, 0xFFFF, 0xFFFF, short, 9, 0, locator, bank, 7, 2)
        body += struct.pack("<HBBBBBIHHHH", speed, maker, serial, asset, part, 0, extended, speed, 0, 0, 0)
        out.add(17, 0x1100 + number, body, s.list)


def _memory_arrays(out: _Structures, platform: Platform) -> None:
    """7.20 Memory array mapped addresses: one range below and one above 4 GiB."""
    ranges = [(0, platform.low_ram)]
    if platform.high_ram:
        ranges.append((FOUR_GIB, platform.high_ram))
    for number, (start, size) in enumerate(ranges):
        first, last = start >> 10, (start + size - 1) >> 10
        if last < 0xFFFFFFFF:
            body = struct.pack("<IIHBQQ", first, last, 0x1000, 1, 0, 0)
        else:
            body = struct.pack("<IIHBQQ", 0xFFFFFFFF, 0xFFFFFFFF, 0x1000, 1, start, start + size - 1)
        out.add(19, 0x1300 + number, body, ())
