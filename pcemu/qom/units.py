"""Numbers, sizes and booleans as users write them on a QEMU-style command line, and back."""

from __future__ import annotations

import math
import re

_TRUE = frozenset(("on", "yes", "true", "y"))
_FALSE = frozenset(("off", "no", "false", "n"))
_SHIFTS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?|\.\d+)([a-zA-Z]?)")
_INT = re.compile(r"([+-]?)(?:0[xX]([0-9a-fA-F]+)|(\d+))")


def parse_bool(text: str) -> bool:
    """on/off, yes/no, true/false, y/n; anything else is a ValueError."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("'on' or 'off'")


def parse_int(text: str) -> int:
    """Decimal, 0x hexadecimal or 0-prefixed octal, with an optional sign."""
    match = _INT.fullmatch(text.strip())
    if match is None:
        raise ValueError("an integer")
    sign, hexa, digits = match.groups()
    if hexa is not None:
        value = int(hexa, 16)
    elif digits[0] == "0" and len(digits) > 1:
        try:
            value = int(digits, 8)
        except ValueError:
            raise ValueError("an integer") from None
    else:
        value = int(digits)
    return -value if sign == "-" else value


def parse_size(text: str, default_suffix: str = "b") -> int:
    """A byte count such as ``512``, ``64K``, ``1.5G`` or ``0x1000``; a bare number is in `default_suffix` units."""
    match = _SIZE.fullmatch(text.strip())
    suffix = (match[2] or default_suffix).lower() if match else ""
    if match is None or suffix not in _SHIFTS:
        raise ValueError("a size such as 64K, 512M or 2G")
    number = match[1]
    if number[:2].lower() == "0x":
        # In hexadecimal 'b' and 'e' are digits, never suffixes; the pattern has already taken them.
        return int(number, 16) << _SHIFTS[suffix]
    if "." in number:
        exact = float(number) * (1 << _SHIFTS[suffix])
        return math.floor(exact)
    return int(number) << _SHIFTS[suffix]


def format_size(value: int) -> str:
    """The short form QEMU shows behind a size: ``2 GiB``, ``512 B``."""
    names = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
    exponent = 0
    # QEMU rounds 4294967295 up to 4 GiB: three significant digits are what it shows.
    while exponent < len(names) - 1 and value / (1 << (10 * exponent)) >= 1000:
        exponent += 1
    return f"{value / (1 << (10 * exponent)):.3g} {names[exponent]}"
