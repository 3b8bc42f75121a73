"""PS/2 keyboard and mouse: commands, scan code sets, key types, packets, wheel protocols."""

from __future__ import annotations

from typing import Any

import pytest

from pcemu.hw.input.ps2 import Ps2Keyboard, Ps2Mouse
from pcemu.hw.input.scancodes import CODES, KEYS
from pcemu.testing.harness import TestMachine


def drain(device: Any) -> list[int]:
    out = []
    while device.irq.level:
        out.append(device.read())
    return out


def say(device: Any, *values: int) -> list[int]:
    for value in values:
        device.write(value)
    return drain(device)


def press(kbd: Any, *keys: str) -> str:
    """Codes of keys going down; `-key` goes up."""
    for key in keys:
        kbd.key_event(key.removeprefix("-"), not key.startswith("-"))
    return bytes(drain(kbd)).hex()


@pytest.fixture
def kbd() -> Any:
    return TestMachine().add(Ps2Keyboard)


@pytest.fixture
def mouse() -> Any:
    return TestMachine().add(Ps2Mouse)


# -- keyboard --------------------------------------------------------------------------------------------------


def test_starts_silent_and_scanning(kbd: Any) -> None:
    assert not kbd.irq.level
    assert press(kbd, "a", "-a") == "1cf01c"


@pytest.mark.parametrize(
    ("number", "key", "down", "up"),
    [
        (1, "a", "1e", "9e"), (2, "a", "1c", "f01c"), (3, "a", "1c", ""),
        (1, "up", "e048", "e0c8"), (2, "up", "e075", "e0f075"), (3, "up", "63", ""),
        (3, "shift", "12", "f012"), (3, "f1", "07", ""), (3, "ctrl_r", "58", ""),
        (1, "print", "e02ae037", "e0b7e0aa"), (2, "print", "e012e07c", "e0f07ce0f012"), (3, "print", "57", ""),
        (1, "pause", "e11d45e19dc5", ""), (2, "pause", "e11477e1f014f077", ""), (3, "pause", "62", ""),
        (2, "lang1", "f2", ""), (2, "kp_divide", "e04a", "e0f04a"), (3, "kp_divide", "77", ""),
    ],
)  # fmt: skip
def test_codes(kbd: Any, number: int, key: str, down: str, up: str) -> None:
    say(kbd, 0xF0, number)
    assert press(kbd, key) == down
    assert press(kbd, "-" + key) == up


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_two_keys_share_a_code(number: int) -> None:
    same = [{"menu", "compose"}, {"hiragana", "katakanahiragana"}, {"asterisk", "kp_multiply"}, {"print", "sysrq"}]
    seen: dict[int, str] = {}
    for key, code in CODES[number].items():
        other = seen.setdefault(code, key)
        assert other == key or {other, key} in same


def test_print_screen_with_others(kbd: Any) -> None:
    press(kbd, "shift")
    assert press(kbd, "print", "-print") == "e07ce0f07c"
    press(kbd, "-shift", "ctrl_r")
    assert press(kbd, "print", "-print") == "e07ce0f07c"
    press(kbd, "-ctrl_r", "alt")
    assert press(kbd, "print", "-print") == "84f084", "SysRq"
    press(kbd, "-alt")
    assert press(kbd, "print", "print") == "e012e07ce07c", "repeats without the shift"
    press(kbd, "-print", "ctrl")
    assert press(kbd, "pause", "-pause") == "e07ee0f07e", "Break"
    say(kbd, 0xF0, 1)
    assert press(kbd, "pause") == "e046e0c6"
    assert press(kbd, "pause", "-pause") == ""


def test_repeat(kbd: Any) -> None:
    assert press(kbd, "a", "a", "a") == "1c1c1c"
    assert press(kbd, "pause", "pause") == "e11477e1f014f077"


def test_unknown_key(kbd: Any) -> None:
    assert kbd.key_event("any", True) is False
    assert all(kbd.key_event(key, True) for key in KEYS)


def test_release_all(kbd: Any) -> None:
    press(kbd, "a", "shift")
    kbd.release_all()
    assert bytes(drain(kbd)).hex() == "f01cf012"


def test_overrun(kbd: Any) -> None:
    for _ in range(20):
        kbd.key_event("up", True)
    assert bytes(drain(kbd)).hex() == "e075" * 8 + "00"
    say(kbd, 0xF0, 1)
    for _ in range(20):
        kbd.key_event("a", True)
    assert bytes(drain(kbd)).hex() == "1e" * 16 + "ff"
    assert press(kbd, "b") == "30"


def test_identify_echo_and_unknown(kbd: Any) -> None:
    assert say(kbd, 0xF2) == [0xFA, 0xAB, 0x83]
    assert say(kbd, 0xEE) == [0xEE]
    for value in (0xEF, 0xF1, 0x00, 0x7F, 0xEC):
        assert say(kbd, value) == [0xFE]


def test_leds(kbd: Any) -> None:
    assert say(kbd, 0xED, 0x05) == [0xFA]
    assert kbd.leds == 5
    kbd.write(0xED)
    assert drain(kbd) == [0xFA]
    kbd.write(0x02)
    assert drain(kbd) == [0xFA] and kbd.leds == 2


def test_command_instead_of_parameter(kbd: Any) -> None:
    assert say(kbd, 0xED, 0xEE) == [0xEE]
    assert say(kbd, 0x05) == [0xFE], "no parameter is awaited any more"


def test_typematic(kbd: Any) -> None:
    assert say(kbd, 0xF3, 0x7F) == [0xFA] and kbd.typematic == 0x7F
    say(kbd, 0xF6)
    assert kbd.typematic == 0x2B


def test_scancode_set(kbd: Any) -> None:
    for number in (1, 3, 2):
        assert say(kbd, 0xF0) == [0xFA]
        assert say(kbd, number) == [0xFA]
        say(kbd, 0xF0)
        assert say(kbd, 0x00) == [0xFA, number]
    say(kbd, 0xF0)
    assert say(kbd, 0x04) == [0xFE]
    assert say(kbd, 0x03) == [0xFA], "it still waits for a good one"


def test_enable_and_disable(kbd: Any) -> None:
    kbd.key_event("a", True)
    assert say(kbd, 0xF5) == [0xFA]
    assert press(kbd, "b") == ""
    assert say(kbd, 0xF4) == [0xFA]
    assert press(kbd, "c") == "21"
    kbd.key_event("d", True)
    assert say(kbd, 0xF4) == [0xFA], "enabling clears the buffer"


def test_set_default_keeps_scanning(kbd: Any) -> None:
    say(kbd, 0xF0, 3)
    assert say(kbd, 0xF6) == [0xFA]
    assert kbd.scancode_set == 2 and press(kbd, "a") == "1c"
    say(kbd, 0xF5, 0xF6)
    assert press(kbd, "b") == ""


def test_reset_command(kbd: Any) -> None:
    say(kbd, 0xED, 7)
    say(kbd, 0xF0, 3)
    say(kbd, 0xF5)
    assert say(kbd, 0xFF) == [0xFA, 0xAA]
    assert (kbd.leds, kbd.scancode_set, kbd.scanning) == (0, 2, True)


def test_resend(kbd: Any) -> None:
    say(kbd, 0xF2)
    assert say(kbd, 0xFE) == [0x83]
    assert press(kbd, "a") == "1c"
    assert say(kbd, 0xFE) == [0x1C]


def test_answers_go_before_keys(kbd: Any) -> None:
    kbd.key_event("a", True)
    assert say(kbd, 0xED) == [0xFA, 0x1C]


@pytest.mark.parametrize(
    ("command", "held", "up"), [(0xF7, "1c1c", ""), (0xF8, "1c", "f01c"), (0xF9, "1c", ""), (0xFA, "1c1c", "f01c")]
)
def test_all_key_types(kbd: Any, command: int, held: str, up: str) -> None:
    say(kbd, 0xF0, 3)
    assert say(kbd, command) == [0xFA]
    assert press(kbd, "a", "a") == held
    assert press(kbd, "-a") == up


@pytest.mark.parametrize(("command", "held", "up"), [(0xFB, "1c1c", ""), (0xFC, "1c", "f01c"), (0xFD, "1c", "")])
def test_single_key_types(kbd: Any, command: int, held: str, up: str) -> None:
    say(kbd, 0xF0, 3)
    kbd.write(command)
    assert drain(kbd) == [0xFA]
    kbd.write(0x1C)
    assert drain(kbd) == [0xFA]
    kbd.write(0x32)  # more keys may follow
    assert drain(kbd) == [0xFA]
    assert press(kbd, "a") == "", "scanning is off"
    assert say(kbd, 0xF4) == [0xFA]
    press(kbd, "-a")
    assert press(kbd, "a", "a") == held
    assert press(kbd, "-a") == up
    assert press(kbd, "c", "c", "-c") == "2121", "another key is as before"


def test_key_types_matter_only_in_set_3(kbd: Any) -> None:
    say(kbd, 0xF9)
    assert press(kbd, "a", "a", "-a") == "1c1cf01c"


def test_reading_nothing_repeats(kbd: Any) -> None:
    press(kbd, "a")
    assert kbd.read() == 0x1C


# -- mouse -----------------------------------------------------------------------------------------------------


def move(mouse: Any, dx: int = 0, dy: int = 0, dz: int = 0, buttons: int = 0) -> list[int]:
    mouse.mouse_event(dx, dy, dz, buttons)
    return drain(mouse)


def knock(mouse: Any, *rates: int) -> None:
    for rate in rates:
        assert say(mouse, 0xF3) == [0xFA]
        assert say(mouse, rate) == [0xFA]


def test_mouse_starts_silent(mouse: Any) -> None:
    assert move(mouse, 5, 5, 5, 7) == []
    assert say(mouse, 0xE9) == [0xFA, 0x07, 0x02, 100], "the status knows the buttons"


def test_mouse_reset(mouse: Any) -> None:
    say(mouse, 0xF4)
    knock(mouse, 200, 100, 80)
    say(mouse, 0xE7)
    assert say(mouse, 0xFF) == [0xFA, 0xAA, 0x00]
    assert say(mouse, 0xE9) == [0xFA, 0x00, 0x02, 100]
    assert say(mouse, 0xF2) == [0xFA, 0x00]


@pytest.mark.parametrize(
    ("dx", "dy", "buttons", "packet"),
    [
        (1, 0, 0, [0x08, 1, 0]), (-1, 0, 0, [0x18, 0xFF, 0]), (0, 1, 0, [0x28, 0, 0xFF]), (0, -1, 0, [0x08, 0, 1]),
        (255, -255, 0, [0x08, 255, 255]), (-255, 255, 0, [0x38, 1, 1]),
        (0, 0, 1, [0x09, 0, 0]), (0, 0, 2, [0x0A, 0, 0]), (0, 0, 4, [0x0C, 0, 0]), (0, 0, 0x1F, [0x0F, 0, 0]),
    ],
)  # fmt: skip
def test_packets(mouse: Any, dx: int, dy: int, buttons: int, packet: list[int]) -> None:
    say(mouse, 0xF4)
    assert move(mouse, dx, dy, 0, buttons) == packet
    assert not mouse.irq.level


def test_large_movement_comes_in_pieces(mouse: Any) -> None:
    say(mouse, 0xF4)
    assert move(mouse, 300, 0) == [0x08, 255, 0, 0x08, 45, 0]
    mouse.mouse_event(10**9, -(10**9), 0, 0)
    assert mouse.dx == mouse.FAR and mouse.dy == mouse.FAR
    mouse.mouse_event(-(10**9), 10**9, 0, 0)
    assert abs(mouse.dx) <= mouse.FAR


def test_movement_adds_up_until_fetched(mouse: Any) -> None:
    say(mouse, 0xF4)
    for _ in range(100):
        mouse.mouse_event(1, -1, 0, 0)
    assert drain(mouse) == [0x08, 100, 100]


def test_button_changes_alone(mouse: Any) -> None:
    say(mouse, 0xF4)
    assert move(mouse, buttons=1) == [0x09, 0, 0]
    assert move(mouse, buttons=1) == []
    assert move(mouse, buttons=0) == [0x08, 0, 0]
    assert move(mouse, buttons=0x08) == [], "a plain mouse has no side buttons"
    assert move(mouse, dz=3) == []


def test_scaling(mouse: Any) -> None:
    say(mouse, 0xF4)
    say(mouse, 0xE7)
    assert say(mouse, 0xE9)[1] & 0x10
    assert [move(mouse, n)[1] for n in range(1, 9)] == [1, 1, 3, 6, 9, 12, 14, 16]
    assert move(mouse, -4) == [0x18, 0xFA, 0]
    assert move(mouse, 200)[1] == 255
    mouse.mouse_event(4)
    assert say(mouse, 0xEB) == [0xFA, 0x08, 4, 0], "not when asked for"
    say(mouse, 0xE6)
    assert move(mouse, 4) == [0x08, 4, 0]


def test_remote_mode(mouse: Any) -> None:
    say(mouse, 0xF0)
    assert move(mouse, 3, -4) == []
    assert say(mouse, 0xEB) == [0xFA, 0x08, 3, 4]
    assert say(mouse, 0xEB) == [0xFA, 0x08, 0, 0]
    assert say(mouse, 0xE9)[1] == 0x40
    say(mouse, 0xEA)
    say(mouse, 0xF4)
    assert move(mouse, 1) == [0x08, 1, 0]


def test_wrap_mode(mouse: Any) -> None:
    say(mouse, 0xF4)
    say(mouse, 0xEE)
    for value in (0x00, 0xF2, 0xEB, 0xEE):
        assert say(mouse, value) == [value]
    assert move(mouse, 5) == []
    assert say(mouse, 0xEC) == [0xFA]
    assert move(mouse, 5) == [0x08, 5, 0]
    say(mouse, 0xEE)
    assert say(mouse, 0xFF) == [0xFA, 0xAA, 0x00]


def test_resolution_and_rate(mouse: Any) -> None:
    for resolution in range(4):
        assert say(mouse, 0xE8) == [0xFA]
        assert say(mouse, resolution) == [0xFA]
        assert say(mouse, 0xE9)[2] == resolution
    say(mouse, 0xE8)
    assert say(mouse, 9) == [0xFE]
    assert say(mouse, 1) == [0xFA]
    knock(mouse, 40)
    assert say(mouse, 0xE9)[3] == 40
    assert say(mouse, 0xF6) == [0xFA]
    assert say(mouse, 0xE9) == [0xFA, 0, 2, 100]


def test_disable_and_defaults_stop_reports(mouse: Any) -> None:
    for command in (0xF5, 0xF6):
        say(mouse, 0xF4)
        assert move(mouse, 1) != []
        assert say(mouse, command) == [0xFA]
        assert move(mouse, 1) == []
    assert say(mouse, 0xF4) == [0xFA], "movement in between is forgotten"


def test_wheel(mouse: Any) -> None:
    knock(mouse, 200, 100, 80)
    assert say(mouse, 0xF2) == [0xFA, 3]
    say(mouse, 0xF4)
    assert move(mouse, 1, 0, 1) == [0x08, 1, 0, 1]
    assert move(mouse, dz=-2) == [0x08, 0, 0, 0xFE]
    assert move(mouse, dz=-10) == [0x08, 0, 0, 0xF8, 0x08, 0, 0, 0xFE]
    assert move(mouse, buttons=0x18) == []


def test_explorer(mouse: Any) -> None:
    knock(mouse, 200, 100, 80, 200, 200, 80)
    assert say(mouse, 0xF2) == [0xFA, 4]
    say(mouse, 0xF4)
    assert move(mouse, dz=-1) == [0x08, 0, 0, 0x0F]
    assert move(mouse, buttons=0x08) == [0x08, 0, 0, 0x10]
    assert move(mouse, buttons=0x11) == [0x09, 0, 0, 0x20]
    assert move(mouse, dz=7, buttons=0x18) == [0x08, 0, 0, 0x37]


def test_wrong_knock(mouse: Any) -> None:
    knock(mouse, 200, 80, 100)
    assert say(mouse, 0xF2) == [0xFA, 0]


def test_mouse_resend_and_unknown(mouse: Any) -> None:
    assert say(mouse, 0xE9) == [0xFA, 0, 2, 100]
    assert say(mouse, 0xFE) == [100]
    for value in (0xE0, 0xFD, 0x12):
        assert say(mouse, value) == [0xFE]


def test_command_gives_up_a_packet(mouse: Any) -> None:
    say(mouse, 0xF4)
    mouse.mouse_event(5, 0, 0, 0)
    assert mouse.read() == 0x08
    assert say(mouse, 0xE6) == [0xFA]
    assert move(mouse, 1) == [0x08, 1, 0]
