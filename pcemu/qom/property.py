"""Typed device properties: declared once, used by -device, -global, help texts and `info qtree`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import PropertyError
from .units import format_size, parse_bool, parse_int, parse_size

# kind -> (smallest, largest, name in help)
INT_KINDS: dict[str, tuple[int, int, str]] = {
    "u8": (0, 0xFF, "uint8"),
    "u16": (0, 0xFFFF, "uint16"),
    "u32": (0, 0xFFFFFFFF, "uint32"),
    "u64": (0, 0xFFFFFFFFFFFFFFFF, "uint64"),
    "s32": (-(2**31), 2**31 - 1, "int32"),
    "s64": (-(2**63), 2**63 - 1, "int64"),
}
# Properties whose value names another object, and where the machine keeps such objects.
LINK_KINDS: dict[str, str] = {"chardev": "chardevs", "drive": "drives", "link": "by_id", "netdev": "netdevs", "object": "objects"}
LABELS = {"bool": "bool", "str": "str", "size": "size", "devfn": "int32"}


@dataclass
class PropertyDecl:
    """What a class says about one property. At run time the value is a plain attribute of the device."""

    kind: str
    default: Any
    min: int | None
    max: int | None
    choices: Sequence[str]
    fmt: str
    help: str
    label: str
    hidden: bool
    name: str
    inert: str = ""
    so: Any = None
    attr: str = field(default="")

    def __set_name__(self, owner: type, attr: str) -> None:
        self.attr = attr
        if not self.name:
            self.name = attr.replace("_", "-")

    def complaint(self, owner: str, value: Any) -> str:
        """What a user is told who has set a property that nothing reads; "" if there is nothing to tell."""
        if not self.inert or (self.so is not None and self.convert(owner, value) == self.so):
            return ""
        return f"{owner}.{self.name} has no effect: {self.inert}"

    def limits(self) -> tuple[int, int]:
        low, high, _ = INT_KINDS.get(self.kind, INT_KINDS["u64"])
        return (low if self.min is None else self.min, high if self.max is None else self.max)

    def allowed(self) -> str:
        """What a value may be, in words for an error message."""
        if self.kind in INT_KINDS:
            low, high = self.limits()
            if self.fmt == "hex":
                return f"an integer from {low:#x} to {high:#x}"
            return f"an integer from {low} to {high}"
        if self.kind == "size":
            low, high = self.limits()
            if self.min is None and self.max is None:
                return "a size such as 64K, 512M or 2G"
            return f"a size from {low} to {high}"
        if self.kind == "enum":
            return "one of " + ", ".join(self.choices)
        return {"bool": "'on' or 'off'", "chardev": "the id of a character device",
                "drive": "the id of a drive or the name of a block node",
                "link": "the id of an object", "object": "the id of an object", "netdev": "the id of a -netdev",
                "mac": "a MAC address such as 52:54:00:12:34:56", "devfn": "SLOT or SLOT.FUNCTION, in hexadecimal"}.get(
                    self.kind, "a string")  # fmt: skip

    def convert(self, owner: str, value: Any) -> Any:
        """Check `value` (text from a user, or already typed) and return it typed."""
        try:
            return self._convert(value)
        except (ValueError, TypeError):
            raise PropertyError(
                f"{owner}.{self.name}: {_show(value)} is not {self.allowed()}"
            ) from None

    def _convert(self, value: Any) -> Any:
        kind = self.kind
        if kind in INT_KINDS or kind == "size":
            if isinstance(value, str):
                value = parse_size(value) if kind == "size" else parse_int(value)
            elif isinstance(value, bool) or not isinstance(value, int):
                raise TypeError
            low, high = self.limits()
            # QEMU's users write -1 for "not set" in unsigned properties.
            if value == -1 and low == 0 and self.max is None and self.default in (-1, 0xFFFFFFFF):
                return self.default
            if value != self.default and not low <= value <= high:
                raise ValueError
            return value
        if kind == "bool":
            if isinstance(value, bool):
                return value
            if isinstance(value, int) and value in (0, 1):
                return bool(value)
            return parse_bool(value)
        if kind == "enum":
            if isinstance(value, bool) and "on" in self.choices:
                value = "on" if value else "off"
            elif "on" in self.choices and value not in self.choices and isinstance(value, str):
                value = "on" if parse_bool(value) else "off"
            if value not in self.choices:
                raise ValueError
            return value
        if kind == "devfn":
            return parse_devfn(value) if isinstance(value, str) else int(value)
        if kind == "mac":
            return parse_mac(value) if isinstance(value, str) else _six_bytes(value)
        if kind == "str":
            if value is not None and not isinstance(value, str):
                raise TypeError
            return value
        return value  # links are resolved when the device is realized

    def type_label(self) -> str:
        """The type as `-device T,help` shows it."""
        if self.label:
            return self.label
        if self.kind in INT_KINDS:
            return INT_KINDS[self.kind][2]
        if self.kind == "enum" and set(self.choices) == {"on", "off", "auto"}:
            return "OnOffAuto"
        return LABELS.get(self.kind, "str")

    def format_default(self) -> str | None:
        """The default as `-device T,help` shows it, None when there is none."""
        if self.default is None or self.kind in LINK_KINDS:
            return None
        if self.kind == "bool":
            return "true" if self.default else "false"
        if self.kind == "str":
            return f'"{self.default}"' if self.default else None
        if self.kind == "enum":
            return f'"{self.default}"'
        return str(self.default)

    def format(self, value: Any) -> str:
        """The value as `info qtree` shows it."""
        if self.kind == "devfn":
            return "<unset>" if value < 0 else f"{value >> 3:02x}.{value & 7:x}"
        if self.kind == "mac" and value is not None:
            return f'"{format_mac(value)}"'
        if self.kind == "size":
            return f"{value} ({format_size(value)})"
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind in INT_KINDS:
            return "" if value is None else f"{value} ({value & 0xFFFFFFFFFFFFFFFF:#x})"
        if value is None:
            return '""'
        shown = next((name for attr in ("id", "node_name", "name") if (name := getattr(value, attr, None))), value)
        return f'"{shown}"'


def Property(
    kind: type | str = str,
    *,
    default: Any = None,
    name: str = "",
    min: int | None = None,
    max: int | None = None,
    choices: Sequence[str] = (),
    fmt: str = "",
    help: str = "",
    label: str = "",
    hidden: bool = False,
    inert: str = "",
    so: Any = None,
) -> Any:
    """Declare a property.

    kind     int, bool, str, or one of "u8" "u16" "u32" "u64" "s32" "s64" "size" "enum" "devfn" "mac" (six bytes, or None), or
             of the kinds whose value is an object named by its id: "chardev" "drive" "link" (a device) "netdev" "object"
    name     QEMU's name; by default the attribute's with '-' for '_'
    fmt      "hex": limits are shown in hexadecimal
    label    type name in help, where it is not the kind's own
    hidden   not listed by `info qtree`
    inert    why nothing reads it; a user who sets it is warned
    so       ... unless it is set to this, which is so anyway
    """
    if choices or (isinstance(kind, type) and hasattr(kind, "__members__")):
        if not choices:
            choices = [str(member.value) for member in kind.__members__.values()]  # type: ignore[union-attr]
        resolved = "enum"
    elif kind is int:
        signed = (min is not None and min < 0) or (isinstance(default, int) and default < 0)
        resolved = "s32" if signed else "u32"
    elif isinstance(kind, type):
        resolved = {bool: "bool", str: "str"}[kind]
    else:
        resolved = kind
    if default is None and resolved == "bool":
        default = False
    if default is None and resolved in INT_KINDS:
        default = 0
    if default is None and resolved == "devfn":
        default = -1
    return PropertyDecl(resolved, default, min, max, tuple(choices), fmt, help, label, hidden, name, inert, so)


def parse_devfn(text: str) -> int:
    """``1e``, ``01.2`` or ``0x1.0x2`` -> slot << 3 | function."""
    slot_text, _, fn_text = text.partition(".")
    slot, fn = int(slot_text, 16), int(fn_text, 16) if fn_text else 0
    if not (0 <= slot <= 31 and 0 <= fn <= 7):
        raise ValueError
    return slot << 3 | fn


def parse_mac(text: str) -> bytes:
    """``52:54:00:12:34:56`` (or with '-') -> six bytes; raises ValueError."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or not all(1 <= len(part) <= 2 for part in parts):
        raise ValueError("not a MAC address")
    return bytes(int(part, 16) for part in parts)


def format_mac(mac: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in mac)


def _six_bytes(value: Any) -> bytes | None:
    if value is not None and (not isinstance(value, bytes) or len(value) != 6):
        raise ValueError
    return value


def _show(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else repr(value)
