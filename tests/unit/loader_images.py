"""Small kernel images of every kind, made for the loader's tests."""

from __future__ import annotations

import struct


def bzimage(
    *,
    version: int = 0x20F,
    loadflags: int = 0x01,
    xloadflags: int = 0x01,
    setup_sectors: int = 1,
    initrd_max: int = 0x7FFFFFFF,
    cmdline_size: int = 2047,
    pref_address: int = 0x1000000,
    init_size: int = 0x800000,
    payload: bytes = b"\x90" * 0x1000,
) -> bytes:
    setup = bytearray(512 * (setup_sectors + 1))
    setup[0x1F1] = setup_sectors
    struct.pack_into("<I", setup, 0x1F4, (len(payload) + 15) // 16)
    struct.pack_into("<H", setup, 0x1FE, 0xAA55)
    setup[0x200:0x202] = b"\xeb\x6a"  # the header ends at 0x26c
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    setup[0x211] = loadflags
    struct.pack_into("<I", setup, 0x214, 0x100000)
    struct.pack_into("<I", setup, 0x22C, initrd_max)
    struct.pack_into("<I", setup, 0x230, 0x200000)
    setup[0x234] = 1
    struct.pack_into("<H", setup, 0x236, xloadflags)
    struct.pack_into("<I", setup, 0x238, cmdline_size)
    struct.pack_into("<Q", setup, 0x258, pref_address)
    struct.pack_into("<I", setup, 0x260, init_size)
    return bytes(setup) + payload


def elf32(segments: list[tuple[int, bytes, int]], entry: int, notes: bytes = b"", vaddr: int = 0, machine: int = 3) -> bytes:
    """`segments`: physical address, contents, size in memory; virtual addresses are `vaddr` higher."""
    rows = [(1, paddr, data, size) for paddr, data, size in segments]
    if notes:
        rows.append((4, 0, notes, len(notes)))
    at = 52 + 32 * len(rows)
    headers, body = b"", b""
    for kind, paddr, data, size in rows:
        headers += struct.pack("<8I", kind, at + len(body), paddr + vaddr, paddr, len(data), size, 7, 4)
        body += data
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, entry, 52, 0, 0, 52, 32, len(rows), 0, 0, 0)
    return head + headers + body


def elf64(segments: list[tuple[int, bytes, int]], entry: int, notes: bytes = b"", note_align: int = 4) -> bytes:
    rows = [(1, paddr, data, size, 0x1000) for paddr, data, size in segments]
    if notes:
        rows.append((4, 0, notes, len(notes), note_align))
    at = 64 + 56 * len(rows)
    headers, body = b"", b""
    for kind, paddr, data, size, align in rows:
        headers += struct.pack("<II6Q", kind, 7, at + len(body), paddr, paddr, len(data), size, align)
        body += data
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, len(rows), 0, 0, 0)
    return head + headers + body


def pvh_note(entry: int, size: int = 4, name: bytes = b"Xen\0", kind: int = 18) -> bytes:
    return struct.pack("<III", len(name), size, kind) + name + entry.to_bytes(size, "little")


def multiboot_header(flags: int, *addresses: int) -> bytes:
    magic = 0x1BADB002
    return struct.pack("<III", magic, flags, -(magic + flags) & 0xFFFFFFFF) + struct.pack(f"<{len(addresses)}I", *addresses)
