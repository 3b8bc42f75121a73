"""PS/2 keyboard and mouse: the devices at the other end of the keyboard controller's two cables.

IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-key)" and "Mouse". The wheel and the two
extra buttons are Microsoft's IntelliMouse and IntelliMouse Explorer.
"""

from __future__ import annotations

from collections.abc import Callable

from pcemu.qom import IrqOut, State, SysBusDevice

from .scancodes import BREAK, CODES, KEYS, TYPEMATIC, set3_default_types

ACK, RESEND, BAT_OK = 0xFA, 0xFE, 0xAA
COMMANDS = 0xE0  # bytes from here on are commands, whatever was expected


def clamp(value: int, low: int, high: int) -> int:
    return low if value < low else high if value > high else value


class Ps2Device(SysBusDevice):
    """What both have in common: answers go first, then what has happened, and the host takes byte by byte."""

    type_name = ""

    answers = State("any", reset=list, help="bytes that answer a command")
    events = State("any", reset=list, help="bytes that tell what happened")
    expecting = State("u8", help="command whose parameter is awaited")
    last_sent = State("u8", help="what RESEND asks for")

    irq = IrqOut()  # to the controller: a byte waits

    def has_data(self) -> bool:
        return bool(self.answers or self.events)

    def read(self) -> int:
        """The controller clocks a byte in; with nothing to send it gets the last one again."""
        self._before_read()
        queue = self.answers or self.events
        if queue:
            self.last_sent = queue.pop(0)
        self._update()
        return self.last_sent

    def _before_read(self) -> None:
        pass

    def write(self, value: int) -> None:
        """The controller sends a byte."""
        self.answers.clear()  # the device stops what it was saying
        parameter_of = self.expecting
        self.expecting = 0
        if parameter_of and value < COMMANDS:
            self.parameter(parameter_of, value)
        else:
            self.command(value)
        self._update()

    def command(self, value: int) -> None:
        raise NotImplementedError

    def parameter(self, command: int, value: int) -> None:
        raise NotImplementedError

    def answer(self, *values: int) -> None:
        self.answers.extend(values)

    def _update(self) -> None:
        self.irq.set(self.has_data())


class Ps2Keyboard(Ps2Device):
    """IBM enhanced keyboard with scan code sets 1, 2 and 3."""

    type_name = "ps2-kbd"
    desc = "PS/2 keyboard"
    user_creatable = False
    trace_events = ("ps2_keyboard_event", "ps2_write_keyboard")

    BUFFER = 16  # bytes; more is lost

    scancode_set = State("u8", reset=2)
    scanning = State("bool", reset=True)
    leds = State("u8")
    typematic = State("u8", reset=0x2B, help="rate and delay: 10.9 characters a second after half a second")
    types = State("u8[256]", reset=set3_default_types, help="set 3: key types by code")
    held = State("any", reset=list, help="keys that are down")
    overrun = State("bool", help="keys were lost, and the host was told")

    # -- keys -----------------------------------------------------------------------------------------------

    def key_event(self, qcode: str, down: bool) -> bool:
        """A key goes down (or repeats) or up; False when there is no such key."""
        if qcode not in KEYS:
            return False
        if self.tracing:
            self.trace("ps2_keyboard_event", key=qcode, down=down)
        repeat = qcode in self.held
        if down and not repeat:
            self.held.append(qcode)
        elif not down and repeat:
            self.held.remove(qcode)
        if self.scanning:
            self._send(self._codes(qcode, down, repeat))
        return True

    def release_all(self) -> None:
        for qcode in list(self.held):
            self.key_event(qcode, False)

    def _send(self, codes: bytes) -> None:
        if len(self.events) + len(codes) > self.BUFFER:
            if not self.overrun:
                self.overrun = True
                self.events.append(0xFF if self.scancode_set == 1 else 0x00)
        else:
            self.overrun = False
            self.events.extend(codes)
        self._update()

    def _is_held(self, *qcodes: str) -> bool:
        return any(qcode in self.held for qcode in qcodes)

    def _codes(self, qcode: str, down: bool, repeat: bool) -> bytes:
        """What the keyboard sends for a key."""
        if self.scancode_set == 3:
            return self._codes3(CODES[3].get(qcode, 0), down, repeat)
        if qcode == "pause":
            if not down or repeat:
                return b""  # it says all at once, and never repeats
            first = self.scancode_set == 1
            if self._is_held("ctrl", "ctrl_r"):  # Break
                code = 0xE046 if first else 0xE07E
                return self._code(code, True) + self._code(code, False)
            return bytes.fromhex("e11d45e19dc5" if first else "e11477e1f014f077")
        if qcode in ("print", "sysrq"):
            return self._print_screen(down, repeat)
        return self._code(CODES[self.scancode_set].get(qcode, 0), down)

    def _print_screen(self, down: bool, repeat: bool) -> bytes:
        """Alone as if with Shift; with Alt it is SysRq, a key of its own."""
        first = self.scancode_set == 1
        if self._is_held("alt", "alt_r"):
            return self._code(0x54 if first else 0x84, down)
        code = self._code(0xE037 if first else 0xE07C, down)
        if (repeat and down) or self._is_held("ctrl", "ctrl_r", "shift", "shift_r"):
            return code
        shift = self._code(0xE02A if first else 0xE012, down)
        return shift + code if down else code + shift

    def _code(self, code: int, down: bool) -> bytes:
        """A code of set 1 or 2 as bytes."""
        if not code:
            return b""
        if code in (0xF1, 0xF2):
            return bytes((code,)) if down else b""  # Korean keys say only that they were pressed
        prefix = b"\xe0" if code > 0xFF else b""
        code &= 0xFF
        if down:
            return prefix + bytes((code,))
        return prefix + (bytes((code | 0x80,)) if self.scancode_set == 1 else bytes((0xF0, code)))

    def _codes3(self, code: int, down: bool, repeat: bool) -> bytes:
        kind = self.types[code]
        if not code or (repeat and down and not kind & TYPEMATIC) or (not down and not kind & BREAK):
            return b""
        return bytes((code,)) if down else bytes((0xF0, code))

    # -- commands -------------------------------------------------------------------------------------------

    def _defaults(self) -> None:
        self.events.clear()
        self.overrun = False
        self.scancode_set = 2
        self.typematic = 0x2B
        self.types = set3_default_types()

    def command(self, value: int) -> None:
        if self.tracing:
            self.trace("ps2_write_keyboard", value=value)
        handler = self._COMMANDS.get(value)
        if handler is None:
            self.answer(RESEND)
        else:
            handler(self, value)

    def _wait_parameter(self, command: int) -> None:
        self.expecting = command
        self.answer(ACK)

    def _echo(self, command: int) -> None:
        self.answer(0xEE)

    def _identify(self, command: int) -> None:
        self.answer(ACK, 0xAB, 0x83)

    def _enable(self, command: int) -> None:
        self.events.clear()
        self.overrun = False
        self.scanning = True
        self.answer(ACK)

    def _default_disable(self, command: int) -> None:
        self._defaults()
        self.scanning = False
        self.answer(ACK)

    def _set_default(self, command: int) -> None:
        self._defaults()
        self.answer(ACK)

    def _set_all_types(self, command: int) -> None:
        kinds = {0xF7: TYPEMATIC, 0xF8: BREAK, 0xF9: 0, 0xFA: TYPEMATIC | BREAK}
        self.types = bytearray([kinds[command]]) * 256
        self.events.clear()
        self.answer(ACK)

    def _set_key_type(self, command: int) -> None:
        self.events.clear()
        self.scanning = False
        self._wait_parameter(command)

    def _resend(self, command: int) -> None:
        self.answer(self.last_sent)

    def _reset_command(self, command: int) -> None:
        self._defaults()
        self.leds = 0
        self.scanning = True
        self.answer(ACK, BAT_OK)

    _COMMANDS: dict[int, Callable[[Ps2Keyboard, int], None]] = {
        0xED: _wait_parameter,  # LEDs
        0xEE: _echo,
        0xF0: _wait_parameter,  # scan code set
        0xF2: _identify,
        0xF3: _wait_parameter,  # typematic rate and delay
        0xF4: _enable,
        0xF5: _default_disable,
        0xF6: _set_default,
        **dict.fromkeys((0xF7, 0xF8, 0xF9, 0xFA), _set_all_types),
        **dict.fromkeys((0xFB, 0xFC, 0xFD), _set_key_type),
        0xFE: _resend,
        0xFF: _reset_command,
    }

    def parameter(self, command: int, value: int) -> None:
        if command == 0xED:
            self.leds = value & 7
        elif command == 0xF3:
            self.typematic = value & 0x7F
        elif command == 0xF0:
            if value == 0:
                self.answer(ACK, self.scancode_set)
                return
            if value > 3:
                self.expecting = command
                self.answer(RESEND)
                return
            self.events.clear()
            self.scancode_set = value
        else:
            self.types[value] = {0xFB: TYPEMATIC, 0xFC: BREAK, 0xFD: 0}[command]
            self.expecting = command  # more keys may follow
        self.answer(ACK)


class Ps2Mouse(Ps2Device):
    """PS/2 mouse: two or three buttons, or with a wheel (id 3), or with five buttons (id 4)."""

    type_name = "ps2-mouse"
    desc = "PS/2 mouse"
    pointer_name = "QEMU PS/2 Mouse"  # as `info mice` has it
    user_creatable = False
    trace_events = ("ps2_mouse_event", "ps2_write_mouse")

    LEFT, RIGHT, MIDDLE, SIDE, EXTRA = 1, 2, 4, 8, 16
    FAR = 1 << 15  # movement that nobody fetches is not kept beyond this

    mouse_id = State("u8", help="0 plain, 3 wheel, 4 wheel and five buttons")
    rates = State("u8[3]", help="the last sample rates set: sequences of them ask for the wheel")
    reporting = State("bool")
    remote = State("bool", help="packets only when asked for")
    wrap = State("bool", help="everything is echoed")
    scaling = State("bool", help="2:1")
    resolution = State("u8", reset=2, help="counts a millimetre: 1, 2, 4 or 8")
    sample_rate = State("u8", reset=100)
    dx = State("s32")
    dy = State("s32")
    dz = State("s32")
    buttons = State("u8")
    reported = State("u8", help="buttons as the host knows them")

    # -- movement -------------------------------------------------------------------------------------------

    def mouse_event(self, dx: int = 0, dy: int = 0, dz: int = 0, buttons: int = 0) -> None:
        """Movement (right and down are positive, so is a wheel turned towards the user) and buttons now down."""
        if self.tracing:
            self.trace("ps2_mouse_event", dx=dx, dy=dy, dz=dz, buttons=buttons)
        self.buttons = buttons & 0x1F
        if self.reporting or self.remote:
            far = self.FAR
            self.dx = clamp(self.dx + dx, -far, far)
            self.dy = clamp(self.dy - dy, -far, far)
            if self.mouse_id:
                self.dz = clamp(self.dz + dz, -far, far)
        self._update()

    def _visible_buttons(self) -> int:
        return self.buttons if self.mouse_id == 4 else self.buttons & 7

    def _something_new(self) -> bool:
        return bool(self.dx or self.dy or self.dz) or self._visible_buttons() != self.reported

    def has_data(self) -> bool:
        if self.answers or self.events:
            return True
        return self.reporting and not self.remote and not self.wrap and self._something_new()

    def _before_read(self) -> None:
        # A packet is made when the host comes for its first byte: it then has all movement up to now.
        if not self.answers and not self.events and self.has_data():
            self.events.extend(self._packet(self.scaling))

    def _packet(self, scaled: bool) -> list[int]:
        dx, dy = clamp(self.dx, -255, 255), clamp(self.dy, -255, 255)
        self.dx -= dx
        self.dy -= dy
        if scaled:
            dx, dy = self._scale(dx), self._scale(dy)
        buttons = self._visible_buttons()
        self.reported = buttons
        packet = [0x08 | buttons & 7 | (dx < 0) << 4 | (dy < 0) << 5, dx & 0xFF, dy & 0xFF]
        if self.mouse_id:
            dz = clamp(self.dz, -8, 7)
            self.dz -= dz
            packet.append(dz & 0xFF if self.mouse_id == 3 else dz & 0x0F | buttons << 1 & 0x30)
        return packet

    @staticmethod
    def _scale(value: int) -> int:
        size = abs(value)
        size = (0, 1, 1, 3, 6, 9)[size] if size < 6 else min(2 * size, 255)
        return -size if value < 0 else size

    def _forget_movement(self) -> None:
        self.dx = self.dy = self.dz = 0
        self.events.clear()

    # -- commands -------------------------------------------------------------------------------------------

    def _defaults(self) -> None:
        self._forget_movement()
        self.reporting = self.remote = self.wrap = self.scaling = False
        self.resolution = 2
        self.sample_rate = 100

    def write(self, value: int) -> None:
        if self.tracing:
            self.trace("ps2_write_mouse", value=value)
        if self.wrap and value not in (0xEC, 0xFF):
            self.answers.clear()
            self.answer(value)
            self._update()
            return
        self.events.clear()  # a packet half sent is given up
        super().write(value)

    def command(self, value: int) -> None:
        handler = self._COMMANDS.get(value)
        if handler is None:
            self.answer(RESEND)
        else:
            self.answer(ACK)
            handler(self, value)

    def _scaling_command(self, command: int) -> None:
        self.scaling = command == 0xE7

    def _wait_parameter(self, command: int) -> None:
        self.expecting = command

    def _status(self, command: int) -> None:
        left, right, middle = self.buttons & 1, self.buttons >> 1 & 1, self.buttons >> 2 & 1
        self.answer(
            self.remote << 6 | self.reporting << 5 | self.scaling << 4 | left << 2 | middle << 1 | right,
            self.resolution,
            self.sample_rate,
        )

    def _mode(self, command: int) -> None:
        """Stream, remote and wrap mode."""
        self._forget_movement()
        if command in (0xEA, 0xF0):
            self.remote = command == 0xF0
        self.wrap = command == 0xEE

    def _read_data(self, command: int) -> None:
        self.answer(*self._packet(False))

    def _identify(self, command: int) -> None:
        self.answer(self.mouse_id)

    def _enable(self, command: int) -> None:
        self.reporting = command == 0xF4
        self._forget_movement()
        self.reported = self._visible_buttons()

    def _set_defaults(self, command: int) -> None:
        self._defaults()

    def _resend(self, command: int) -> None:
        self.answers[:] = [self.last_sent]

    def _reset_command(self, command: int) -> None:
        self._defaults()
        self.mouse_id = 0
        self.rates = bytearray(3)
        self.answer(BAT_OK, self.mouse_id)

    _COMMANDS: dict[int, Callable[[Ps2Mouse, int], None]] = {
        0xE6: _scaling_command,
        0xE7: _scaling_command,
        0xE8: _wait_parameter,  # resolution
        0xE9: _status,
        0xEA: _mode,
        0xEB: _read_data,
        0xEC: _mode,
        0xEE: _mode,
        0xF0: _mode,
        0xF2: _identify,
        0xF3: _wait_parameter,  # sample rate
        0xF4: _enable,
        0xF5: _enable,
        0xF6: _set_defaults,
        0xFE: _resend,
        0xFF: _reset_command,
    }

    def parameter(self, command: int, value: int) -> None:
        if command == 0xE8:
            if value > 3:
                self.expecting = command
                self.answer(RESEND)
                return
            self.resolution = value
        else:
            self.sample_rate = value
            self.rates = bytearray((*self.rates[1:], value))
            if self.rates == b"\xc8\x64\x50":  # 200, 100, 80
                self.mouse_id = 3
            elif self.rates == b"\xc8\xc8\x50":  # 200, 200, 80
                self.mouse_id = 4
        self.answer(ACK)
