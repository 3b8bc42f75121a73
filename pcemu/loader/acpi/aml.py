"""AML, the byte code of ACPI tables, written with one small function for each ASL term.

Every function returns the bytes of its term; a block of terms is given as further arguments. Encodings: ACPI
specification 6.3, chapter 20 (AML) and section 6.4 (resource data types).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

Term = bytes

ZERO = b"\x00"
ONE = b"\x01"

# Address spaces of OperationRegion (20.2.5.2).
SYSTEM_MEMORY = 0
SYSTEM_IO = 1
PCI_CONFIG = 2

# Access, lock and update rules of Field, or-ed together (20.2.5.2).
BYTE_ACC = 1
WORD_ACC = 2
DWORD_ACC = 3
LOCK = 0x10
PRESERVE = 0x00
WRITE_AS_ONES = 0x20
WRITE_AS_ZEROS = 0x40


# -- names and lengths ---------------------------------------------------------------------------------------


def pkg_length(content: int) -> bytes:
    """PkgLength of a package with `content` bytes after it; the length counts itself (20.2.4)."""
    if content + 1 < 0x40:
        return bytes([content + 1])
    for extra in (1, 2, 3):
        total = content + 1 + extra
        if total < 1 << (4 + 8 * extra):
            return bytes([extra << 6 | total & 0xF]) + (total >> 4).to_bytes(extra, "little")
    raise ValueError(f"an AML package of {content} bytes is too long")


def _package(opcode: bytes, content: bytes) -> Term:
    return opcode + pkg_length(len(content)) + content


def name_seg(name: str) -> bytes:
    """Four characters, filled up with underscores (20.2.2)."""
    padded = name.ljust(4, "_").encode("ascii")
    if len(padded) != 4 or not name or name[0].isdigit() or not name.replace("_", "A").isalnum() or name != name.upper():
        raise ValueError(f"'{name}' is not an ACPI name")
    return padded


def path(text: str) -> bytes:
    """A name string: ``\\_SB.PCI0``, ``^ISA.PIRQ``, ``LNKA`` (20.2.2)."""
    rest = text.lstrip("\\^")
    prefix = text[: len(text) - len(rest)].encode("ascii")
    segments = [name_seg(part) for part in rest.split(".")] if rest else []
    if not segments:
        return prefix + b"\x00"
    if len(segments) == 1:
        return prefix + segments[0]
    if len(segments) == 2:
        return prefix + b"\x2e" + segments[0] + segments[1]
    return prefix + b"\x2f" + bytes([len(segments)]) + b"".join(segments)


# -- data ----------------------------------------------------------------------------------------------------


def integer(value: int) -> Term:
    """The shortest constant for `value` (20.2.3)."""
    if value < 0:
        raise ValueError("AML integers are unsigned")
    if value == 0:
        return ZERO
    if value == 1:
        return ONE
    for prefix, size in ((b"\x0a", 1), (b"\x0b", 2), (b"\x0c", 4), (b"\x0e", 8)):
        if value < 1 << (8 * size):
            return prefix + value.to_bytes(size, "little")
    raise ValueError(f"{value:#x} does not fit an AML integer")


def string(text: str) -> Term:
    return b"\x0d" + text.encode("ascii") + b"\x00"


def buffer(data: bytes) -> Term:
    return _package(b"\x11", integer(len(data)) + data)


def package(items: Iterable[Term]) -> Term:
    """A Package of at most 255 elements; a name among them is given as path()."""
    terms = list(items)
    return _package(b"\x12", bytes([len(terms)]) + b"".join(terms))


def eisaid(text: str) -> Term:
    """A compressed identifier such as PNP0A03: three letters in five bits each, four hex digits (19.6.36)."""
    letters = [ord(c) - 0x40 for c in text[:3]]
    if len(text) != 7 or not all(1 <= c <= 26 for c in letters):
        raise ValueError(f"'{text}' is not an EISA id")
    vendor = letters[0] << 10 | letters[1] << 5 | letters[2]
    # Big-endian on the wire, in a constant that is little-endian: always four bytes, even when it begins with 0.
    return b"\x0c" + struct.pack(">HH", vendor, int(text[3:], 16))


def arg(number: int) -> Term:
    return bytes([0x68 + number])


def local(number: int) -> Term:
    return bytes([0x60 + number])


# -- named objects -------------------------------------------------------------------------------------------


def name(where: str, value: Term) -> Term:
    return b"\x08" + path(where) + value


def scope(where: str, *terms: Term) -> Term:
    return _package(b"\x10", path(where) + b"".join(terms))


def device(where: str, *terms: Term) -> Term:
    return _package(b"\x5b\x82", path(where) + b"".join(terms))


def method(where: str, args: int, *terms: Term, serialized: bool = False) -> Term:
    return _package(b"\x14", path(where) + bytes([args | (8 if serialized else 0)]) + b"".join(terms))


def operation_region(where: str, space: int, offset: int, length: int) -> Term:
    return b"\x5b\x80" + path(where) + bytes([space]) + integer(offset) + integer(length)


def field(region: str, flags: int, *units: Term) -> Term:
    return _package(b"\x5b\x81", path(region) + bytes([flags]) + b"".join(units))


def field_unit(unit: str, bits: int) -> Term:
    return name_seg(unit) + _field_length(bits)


def field_gap(bits: int) -> Term:
    return b"\x00" + _field_length(bits)


def _field_length(bits: int) -> bytes:
    # A PkgLength encoding of a plain number: it does not count itself (20.2.5.2).
    if bits < 0x40:
        return bytes([bits])
    for extra in (1, 2, 3):
        if bits < 1 << (4 + 8 * extra):
            return bytes([extra << 6 | bits & 0xF]) + (bits >> 4).to_bytes(extra, "little")
    raise ValueError(f"a field of {bits} bits is too long")


def create_dword_field(source: Term, offset: int, unit: str) -> Term:
    return b"\x8a" + source + integer(offset) + path(unit)


def mutex(where: str) -> Term:
    return b"\x5b\x01" + path(where) + b"\x00"


# -- statements and operators --------------------------------------------------------------------------------


def store(value: Term, target: Term) -> Term:
    return b"\x70" + value + target


def and_(left: Term, right: Term, target: Term = ZERO) -> Term:
    return b"\x7b" + left + right + target


def or_(left: Term, right: Term, target: Term = ZERO) -> Term:
    return b"\x7d" + left + right + target


def shift_left(value: Term, count: Term, target: Term = ZERO) -> Term:
    return b"\x79" + value + count + target


def notify(device_name: Term, value: Term) -> Term:
    return b"\x86" + device_name + value


def acquire(name_of_mutex: str) -> Term:
    """Wait for it as long as it takes."""
    return b"\x5b\x23" + path(name_of_mutex) + b"\xff\xff"


def release(name_of_mutex: str) -> Term:
    return b"\x5b\x27" + path(name_of_mutex)


def call(method_path: str, *arguments: Term) -> Term:
    return path(method_path) + b"".join(arguments)


def if_(condition: Term, *terms: Term) -> Term:
    return _package(b"\xa0", condition + b"".join(terms))


def else_(*terms: Term) -> Term:
    return _package(b"\xa1", b"".join(terms))


def return_(value: Term) -> Term:
    return b"\xa4" + value


# -- resource descriptors (6.4) ------------------------------------------------------------------------------


def resource_template(*descriptors: bytes) -> Term:
    """The buffer that ASL calls ResourceTemplate; a checksum of 0 in the end tag means 'not computed'."""
    return buffer(b"".join(descriptors) + b"\x79\x00")


def io(base: int, length: int, align: int = 1) -> bytes:
    """A fixed range of ports, all 16 address bits decoded (6.4.2.5)."""
    return struct.pack("<BBHHBB", 0x47, 1, base, base, align, length)


def irq(*lines: int) -> bytes:
    """Edge-triggered, active-high ISA interrupts: IRQNoFlags (6.4.2.1)."""
    return struct.pack("<BH", 0x22, sum(1 << line for line in lines))


def dma(*channels: int) -> bytes:
    """8-bit ISA DMA channels, compatibility timing, no bus master (6.4.2.2)."""
    return struct.pack("<BBB", 0x2A, sum(1 << channel for channel in channels), 0)


def interrupt(*lines: int) -> bytes:
    """Level-triggered, active-high, shared interrupts of any number: extended interrupt (6.4.3.6)."""
    body = struct.pack("<BB", 0x01 | 0x08, len(lines)) + b"".join(struct.pack("<I", line) for line in lines)
    return b"\x89" + struct.pack("<H", len(body)) + body


INTERRUPT_NUMBER = 5  # offset of the first number in the descriptor above


def memory32_fixed(base: int, length: int, writable: bool = False) -> bytes:
    return struct.pack("<BHBII", 0x86, 9, int(writable), base, length)


# Address space descriptors (6.4.3.5): tag, pack format of the five numbers.
_WORD = (0x88, "<HHHHH")
_DWORD = (0x87, "<IIIII")
_QWORD = (0x8A, "<QQQQQ")
_MIN_MAX_FIXED = 0x0C
_CACHEABLE = 0x02
_READ_WRITE = 0x01
_ENTIRE_RANGE = 0x03


def _address_space(form: tuple[int, str], kind: int, type_flags: int, first: int, last: int) -> bytes:
    tag, layout = form
    body = struct.pack("<BBB", kind, _MIN_MAX_FIXED, type_flags)
    body += struct.pack(layout, 0, first, last, 0, last - first + 1)
    return bytes([tag]) + struct.pack("<H", len(body)) + body


def word_bus_number(first: int, last: int) -> bytes:
    return _address_space(_WORD, 2, 0, first, last)


def word_io(first: int, last: int) -> bytes:
    return _address_space(_WORD, 1, _ENTIRE_RANGE, first, last)


def dword_memory(first: int, last: int, cacheable: bool = False) -> bytes:
    return _address_space(_DWORD, 0, _READ_WRITE | (_CACHEABLE if cacheable else 0), first, last)


def qword_memory(first: int, last: int, cacheable: bool = True) -> bytes:
    return _address_space(_QWORD, 0, _READ_WRITE | (_CACHEABLE if cacheable else 0), first, last)
