"""UUIDs without the standard module, whose import costs more than everything that is done with them here."""

from __future__ import annotations

NIL = bytes(16)


def parse(text: str) -> bytes:
    """The 16 bytes in the order they are written; ValueError for anything else."""
    digits = text.strip("{}").replace("-", "")
    if len(digits) != 32 or not digits.isalnum():
        raise ValueError(f"'{text}' is not a UUID")
    return bytes.fromhex(digits)


def mixed_endian(value: bytes) -> bytes:
    """The first three fields little-endian, as SMBIOS 2.6 and later store them (DSP0134, 7.2.1)."""
    return value[3::-1] + value[5:3:-1] + value[7:5:-1] + value[8:]
