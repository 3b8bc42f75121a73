"""Intel 8042 keyboard controller, with the mouse port of the PS/2.

IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller"; for the bits that only
the AT has, IBM PC AT Technical Reference. Port 0x60 is the data buffer, port 0x64 status and commands.
"""

from __future__ import annotations

from collections.abc import Callable

from pcemu.hw.isa.bus import IsaDevice
from pcemu.qom import IrqIn, IrqOut, PortWindow, Property, State, Timer

from .ps2 import Ps2Keyboard, Ps2Mouse
from .scancodes import TRANSLATION

# Status register.
OBF, SYSTEM_FLAG, COMMAND, NOT_LOCKED, AUX_OBF = 0x01, 0x04, 0x08, 0x10, 0x20
# Command byte, byte 0 of the controller's RAM.
KBD_INT, AUX_INT, SYS, KBD_DISABLE, AUX_DISABLE, TRANSLATE = 0x01, 0x02, 0x04, 0x10, 0x20, 0x40
# Output port P2.
NOT_RESET, A20, KBD_FULL, AUX_FULL = 0x01, 0x02, 0x10, 0x20
P2_REST = 0xCC  # clock and data lines idle

INPUT_PORT = 0x80  # P1: the keyboard is not locked
THROTTLE_NS = 1_000_000

# Commands whose parameter comes through port 0x60.
WRITE_P2, WRITE_KBD_BUFFER, WRITE_AUX_BUFFER, WRITE_AUX, LOAD_PASSWORD = 0xD1, 0xD2, 0xD3, 0xD4, 0xA5


class I8042(IsaDevice):
    """Intel 8042 keyboard controller."""

    type_name = "i8042"
    desc = "keyboard controller"
    category = "input"
    trace_events = ("pckbd_kbd_read_data", "pckbd_kbd_read_status", "pckbd_kbd_write_command", "pckbd_kbd_write_data")

    extended_state = Property(bool, default=True, help="a byte on its way is in a snapshot", inert="there are no saved states")
    kbd_throttle = Property(bool, help="a millisecond between keyboard bytes, as on the cable")
    kbd_irq = Property("u8", default=1, max=15, help="ISA interrupt line of the keyboard")
    mouse_irq = Property("u8", default=12, max=15, help="ISA interrupt line of the mouse")

    status = State("u8", reset=COMMAND | NOT_LOCKED)
    ram = State("u8[32]", reset=[KBD_INT | AUX_INT] + [0] * 31, help="byte 0 is the command byte")
    p2 = State("u8", reset=NOT_RESET | A20 | P2_REST, help="output port, without its buffer-full bits")
    data = State("u8", help="output buffer")
    from_kbd = State("bool", help="the byte in the buffer came from the keyboard")
    answers = State("any", reset=list, help="(byte, for the mouse port?) that answer commands, in turn")
    expecting = State("u8", help="command whose parameter is awaited")
    break_prefix = State("bool", help="translation: 0xf0 came, the next code is a release")
    polled = State("any", reset=None, help="nibble of the input port that the status shows (commands 0xc1, 0xc2)")
    throttled = State("bool", help="too early for the next keyboard byte")

    mouse_in = IrqIn(1, "on_device", name="ps2-mouse-input-irq")
    kbd_in = IrqIn(1, "on_device", name="ps2-kbd-input-irq")
    irq = IrqOut(2)  # keyboard, mouse
    a20 = IrqOut(name="a20")
    data_port = PortWindow(0x60, 1, "data_read", "data_write", access=(1, 1), name="i8042-data")
    command_port = PortWindow(0x64, 1, "status_read", "command_write", access=(1, 1), name="i8042-cmd")

    def realize(self) -> None:
        self.kbd = Ps2Keyboard(self.machine)
        self.mouse = Ps2Mouse(self.machine)
        for device, pins in ((self.kbd, self.kbd_in), (self.mouse, self.mouse_in)):
            device.realize_now()
            device.irq.connect(pins[0])
        self.connect_irq(self.irq[0], self.kbd_irq)
        self.connect_irq(self.irq[1], self.mouse_irq)
        self._timer: Timer = self.machine.clock.timer(self._on_throttle)

    def reset(self) -> None:
        super().reset()
        self._timer.cancel()
        self.a20.set(1)

    @property
    def mode(self) -> int:
        """The command byte."""
        value: int = self.ram[0]
        return value

    # -- output buffer --------------------------------------------------------------------------------------

    def on_device(self, pin: int, level: int) -> None:
        if level:
            self._fill()

    def _on_throttle(self) -> None:
        self.throttled = False
        self._fill()

    def _fill(self) -> None:
        """Put the next byte into the output buffer if it is empty: answers first, then keyboard, then mouse."""
        if self.status & OBF:
            return
        mode = self.ram[0]
        aux = self.from_kbd = False
        # OBF first: taking a byte from a device calls back here.
        if self.answers:
            self.status |= OBF
            self.data, aux = self.answers.pop(0)
        elif self.kbd.has_data() and not mode & KBD_DISABLE and not self.throttled:
            self.status |= OBF
            self.from_kbd = True
            self.data = self.kbd.read()
            if mode & TRANSLATE and not self._translate():
                self.status &= ~OBF
                self._fill()
                return
        elif self.mouse.has_data() and not mode & AUX_DISABLE:
            self.status |= OBF
            self.data = self.mouse.read()
            aux = True
        self.status = self.status | AUX_OBF if aux else self.status & ~AUX_OBF
        self._update_irq()

    def _translate(self) -> bool:
        """Set 2 to set 1, in which a release is not a prefix but bit 7; False when there is nothing to give yet."""
        code = self.data
        if code == 0xF0:
            self.break_prefix = True
            return False
        if code < len(TRANSLATION):
            code = TRANSLATION[code]
        self.data = code | 0x80 if self.break_prefix else code
        self.break_prefix = False
        return True

    def _update_irq(self) -> None:
        full = self.status & (OBF | AUX_OBF)
        self.irq[0].set(full == OBF and self.ram[0] & KBD_INT)
        self.irq[1].set(full == OBF | AUX_OBF and self.ram[0] & AUX_INT)

    def _answer(self, *values: int, aux: bool = False) -> None:
        """An answer to a command; one that was not fetched yet is lost."""
        self.answers[:] = [(value, aux) for value in values]

    # -- ports ----------------------------------------------------------------------------------------------

    def data_read(self, offset: int, size: int) -> int:
        value: int = self.data
        if self.status & OBF:
            self.status &= ~(OBF | AUX_OBF)
            self._update_irq()  # a new byte is a new edge
            if self.kbd_throttle and self.from_kbd:
                self.throttled = True
                self._timer.arm_in(THROTTLE_NS)
            self._fill()
        if self.tracing:
            self.trace("pckbd_kbd_read_data", value=value)
        return value

    def status_read(self, offset: int, size: int) -> int:
        value: int = self.status
        if self.polled is not None:
            value = value & 0x0F | self.polled << 4
        if self.tracing:
            self.trace("pckbd_kbd_read_status", value=value)
        return value

    def data_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("pckbd_kbd_write_data", value=value)
        self.status &= ~COMMAND
        command, self.expecting = self.expecting, 0
        if not command:
            self.ram[0] &= ~KBD_DISABLE  # sending to the keyboard enables it
            self.kbd.write(value)
        elif command < 0x80:
            self._write_ram(command & 0x1F, value)
        elif command == WRITE_AUX:
            self.ram[0] &= ~AUX_DISABLE
            self.mouse.write(value)
        elif command == WRITE_P2:
            self._write_p2(value)
        elif command == LOAD_PASSWORD:
            self.expecting = command if value else 0  # up to a zero
        else:
            self._answer(value, aux=command == WRITE_AUX_BUFFER)
        self._fill()

    def _write_ram(self, index: int, value: int) -> None:
        self.ram[index] = value
        if index == 0:
            self.status = self.status | SYSTEM_FLAG if value & SYS else self.status & ~SYSTEM_FLAG
            if not value & TRANSLATE:
                self.break_prefix = False
            self._update_irq()

    def _write_p2(self, value: int) -> None:
        self.p2 = value & ~(KBD_FULL | AUX_FULL)
        self.a20.set(value & A20)
        if not value & NOT_RESET:
            self.machine.request_reset("guest-reset")

    # -- commands -------------------------------------------------------------------------------------------

    def command_write(self, offset: int, value: int, size: int) -> None:
        if self.tracing:
            self.trace("pckbd_kbd_write_command", value=value)
        self.status |= COMMAND
        self.expecting = 0
        self.polled = None
        handler = self._COMMANDS.get(value)
        if handler is None:
            self.log_guest_error("unknown command %#x", value)
        else:
            handler(self, value)
        self._fill()

    def _read_ram(self, command: int) -> None:
        self._answer(self.ram[command & 0x1F])

    def _expect(self, command: int) -> None:
        self.expecting = command

    def _password(self, command: int) -> None:
        if command == 0xA4:
            self._answer(0xF1)  # none is installed

    def _gate(self, command: int) -> None:
        """Interfaces off and on."""
        bit, off = {
            0xA7: (AUX_DISABLE, True), 0xA8: (AUX_DISABLE, False), 0xAD: (KBD_DISABLE, True), 0xAE: (KBD_DISABLE, False),
        }[command]  # fmt: skip
        self.ram[0] = self.ram[0] | bit if off else self.ram[0] & ~bit

    def _test_interface(self, command: int) -> None:
        self._answer(0x00)  # clock and data lines are fine

    def _self_test(self, command: int) -> None:
        self.status |= SYSTEM_FLAG
        self._answer(0x55)

    def _read_input_port(self, command: int) -> None:
        self._answer(INPUT_PORT)

    def _poll_input_port(self, command: int) -> None:
        self.polled = INPUT_PORT & 0x0F if command == 0xC1 else INPUT_PORT >> 4

    def _read_p2(self, command: int) -> None:
        full = self.status & (OBF | AUX_OBF)
        self._answer(self.p2 | (KBD_FULL if full == OBF else AUX_FULL if full else 0))

    def _a20(self, command: int) -> None:
        """Vendors' short cut."""
        self._write_p2(self.p2 | A20 if command == 0xDF else self.p2 & ~A20)

    def _read_test_inputs(self, command: int) -> None:
        """T0 and T1, the clock lines: a disabled interface holds its line low."""
        mode = self.ram[0]
        self._answer((0 if mode & KBD_DISABLE else 1) | (0 if mode & AUX_DISABLE else 2))

    def _pulse(self, command: int) -> None:
        """Pulses those of P2's bits 0 to 3 low that are 0 in the command; bit 0 is the processor's reset."""
        if not command & NOT_RESET:
            self.machine.request_reset("guest-reset")

    _COMMANDS: dict[int, Callable[[I8042, int], None]] = {
        **dict.fromkeys(range(0x20, 0x40), _read_ram),
        **dict.fromkeys(range(0x60, 0x80), _expect),
        **dict.fromkeys((0xA4, 0xA6), _password),
        **dict.fromkeys((0xA7, 0xA8, 0xAD, 0xAE), _gate),
        **dict.fromkeys((0xA9, 0xAB), _test_interface),
        0xAA: _self_test,
        0xC0: _read_input_port,
        **dict.fromkeys((0xC1, 0xC2), _poll_input_port),
        0xD0: _read_p2,
        **dict.fromkeys((WRITE_P2, WRITE_KBD_BUFFER, WRITE_AUX_BUFFER, WRITE_AUX, LOAD_PASSWORD), _expect),
        **dict.fromkeys((0xDD, 0xDF), _a20),
        0xE0: _read_test_inputs,
        **dict.fromkeys(range(0xF0, 0x100), _pulse),
    }
