"""Key names of `sendkey` and the scan codes they stand for."""

from __future__ import annotations

from typing import Any

from pcemu.qom.errors import PcemuError

# PC scan code set 1; 0xe000 marks the keys with the prefix byte.
_ROWS = (
    (0x01, "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl"),
    (0x1E, "a s d f g h j k l semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot slash shift_r"),
    (0x37, "asterisk alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock"),
    (0x47, "kp_7 kp_8 kp_9 kp_subtract kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq"),
    (0x56, "less f11 f12"),
)
_SINGLE = {
    "kp_multiply": 0x37, "kp_enter": 0xE01C, "kp_divide": 0xE035, "ctrl_r": 0xE01D, "alt_r": 0xE038, "home": 0xE047,
    "up": 0xE048, "pgup": 0xE049, "left": 0xE04B, "right": 0xE04D, "end": 0xE04F, "down": 0xE050, "pgdn": 0xE051,
    "insert": 0xE052, "delete": 0xE053, "meta_l": 0xE05B, "meta_r": 0xE05C, "menu": 0xE05D, "print": 0xE037,
    "pause": 0xE046,
}
KEYS: dict[str, int] = {name: base + at for base, row in _ROWS for at, name in enumerate(row.split())} | _SINGLE


class KeyNameError(PcemuError):
    """No such key; the text is QEMU's."""


def parse(text: str) -> list[int]:
    """`ctrl-alt-f1` or hexadecimal scan codes -> codes, in the order they are pressed."""
    names = text.split("-")
    if text == "-" or text.endswith("--"):      # `shift--`
        names[-2:] = ["minus"]
    return [_code(name) for name in names]


def _code(name: str) -> int:
    name = {"<": "less", "-": "minus"}.get(name, name)
    if name in KEYS:
        return KEYS[name]
    if name.startswith("0x"):
        try:
            value = int(name, 16)
        except ValueError:
            value = -1
        if 0 < value < 0x100:
            return 0xE000 | value & 0x7F if value & 0x80 else value
    raise KeyNameError(f"invalid parameter: {name}")


def send(machine: Any, codes: list[int], hold_ms: int) -> None:
    """Press the keys one after the other, release them in reverse order after `hold_ms` of the machine's time."""
    keyboard = machine.find("ps2-kbd")
    if keyboard is None or not hasattr(keyboard, "key_event"):
        raise PcemuError("there is no keyboard")
    for code in codes:
        keyboard.key_event(code, True)

    def release() -> None:
        for code in reversed(codes):
            keyboard.key_event(code, False)

    machine.clock.timer(release).arm_in(hold_ms * 1_000_000)
