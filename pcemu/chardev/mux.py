"""Several front ends on one stream, switched from the keyboard with Ctrl-A."""

from __future__ import annotations

from typing import Any

from .base import Chardev, ChardevError

MAX_PORTS = 4
ESCAPE = 0x01       # Ctrl-A, unless -echr says otherwise

HELP = (
    "C-a h    this list\r\n"
    "C-a x    end pcemu\r\n"
    "C-a s    save the disks' changes (with -snapshot)\r\n"
    "C-a t    turn time stamps on or off\r\n"
    "C-a b    send a break (Linux: magic SysRq)\r\n"
    "C-a c    go on to the next of monitor and consoles\r\n"
    "C-a C-a  send a C-a\r\n"
)


class MuxPort(Chardev):
    """What one front end of a multiplexer sees."""

    backend = "mux-port"

    def __init__(self, mux: MuxChardev, owner: str) -> None:
        super().__init__(mux.machine, mux.id)
        self.mux = mux
        self.owner = owner
        self.plain_output()

    def plain_output(self) -> None:
        """Without time stamps output goes straight to the shared stream: no step more than an own stream has."""
        self.write = self.mux.chardev.write                 # type: ignore[method-assign]
        self.write_byte = self.mux.chardev.write_byte       # type: ignore[method-assign]
        self.room = self.mux.chardev.room                   # type: ignore[method-assign]

    def stamped_output(self) -> None:
        self.write = self._stamped_write                    # type: ignore[method-assign]
        self.write_byte = self._stamped_write_byte          # type: ignore[method-assign]
        self.room = self._stamped_room                      # type: ignore[method-assign]

    def _stamped_write(self, data: bytes) -> bool:
        self.mux.write_stamped(data)
        return not self.mux.chardev.blocked

    def _stamped_write_byte(self, value: int) -> bool:
        self.mux.write_stamped(bytes((value,)))
        return not self.mux.chardev.blocked

    def _stamped_room(self) -> int:
        return 1                            # each byte's time counts

    @property
    def blocked(self) -> bool:
        return self.mux.chardev.blocked

    @blocked.setter
    def blocked(self, _: bool) -> None:
        pass                                # the shared stream knows

    @property
    def unsent(self) -> int:
        return self.mux.chardev.unsent

    def flush(self) -> None:
        self.mux.chardev.flush()

    def drain(self, timeout: float | None = None) -> None:
        self.mux.chardev.drain(timeout)

    def describe(self) -> str:
        return "mux"

    def detach(self) -> None:
        super().detach()
        self.mux.drop(self)

    def deliver(self, data: bytes) -> None:
        self._receive(data)

    def event(self, name: str) -> None:
        self._event(name)

    def _watch_input(self, on: bool) -> None:
        if on:
            self.mux.port_ready()


class MuxChardev(Chardev):
    """The multiplexer. Its id is the one the user gave; the stream below is `<id>-base`."""

    backend = "mux"

    def __init__(self, machine: Any, id: str, chardev: Chardev) -> None:
        super().__init__(machine, id)
        self.chardev = chardev.attach(f"mux '{id}'")
        self.ports: list[MuxPort] = []
        self.focus: MuxPort | None = None
        self._escape: int = getattr(getattr(machine, "config", None), "escape_char", ESCAPE)
        self._escaped = False
        self._stamps = False
        self._line_start = True
        self._stamp_origin = 0
        chardev.on_writable = self._room
        chardev.on_event = self._base_event
        chardev.can_receive = self._room_for_input

    # ---- front ends -----------------------------------------------------------------------------------------------

    def attach(self, owner: str = "", focus: bool = True) -> Chardev:
        """A new port. It gets the keyboard if it asks for it or if nobody has it."""
        if len(self.ports) >= MAX_PORTS:
            raise ChardevError(f"chardev '{self.id}': too many uses of a multiplexed chardev (at most {MAX_PORTS})")
        port = MuxPort(self, owner)
        if self._stamps:
            port.stamped_output()
        self.ports.append(port)
        if focus or self.focus is None:
            self.set_focus(port)
        if self.chardev.on_input is None:
            self.chardev.on_input = self._input
        return port

    def drop(self, port: MuxPort) -> None:
        if port in self.ports:
            self.ports.remove(port)
            if self.focus is port:
                self.focus = None
                if self.ports:
                    self.set_focus(self.ports[0])

    def set_focus(self, port: MuxPort) -> None:
        if self.focus is port:
            return
        if self.focus is not None:
            self.focus.event("mux-out")
        self.focus = port
        port.event("mux-in")
        self.chardev.accept_input()

    def port_ready(self) -> None:
        self.chardev.accept_input()

    def _room(self) -> None:
        for port in self.ports:
            if port.on_writable is not None:
                port.on_writable()

    def _base_event(self, name: str) -> None:
        if name == "break":
            if self.focus is not None:
                self.focus.event(name)
            return
        for port in self.ports:
            port.event(name)

    # ---- input ----------------------------------------------------------------------------------------------------

    def _room_for_input(self) -> int:
        # Keys for the multiplexer must get through even when the guest does not read; so take a little more
        # than the focussed front end has room for, and keep it for it.
        return 0 if self.focus is not None and len(self.focus._in) > 256 else 64

    def _input(self, data: bytes) -> None:
        run = bytearray()
        for byte in data:
            if self._escaped:
                self._escaped = False
                if byte == self._escape:
                    run.append(byte)
                    continue
                self._hand_over(run)
                self._key(byte)
            elif byte == self._escape:
                self._escaped = True
            else:
                run.append(byte)
        self._hand_over(run)

    def _hand_over(self, run: bytearray) -> None:
        if run and self.focus is not None:
            self.focus.deliver(bytes(run))
        run.clear()

    def _key(self, byte: int) -> None:
        action = {
            ord("h"): self._key_help, ord("?"): self._key_help, ord("x"): self._key_exit, ord("s"): self._key_save,
            ord("b"): self._key_break, ord("c"): self._key_next, ord("t"): self._key_stamps,
        }.get(byte)
        if action is not None:
            action()

    def _key_help(self) -> None:
        self.chardev.write(b"\r\n" + HELP.encode())

    def _key_exit(self) -> None:
        self.chardev.write(b"pcemu: Terminated\r\n")
        self.chardev.drain(1.0)
        self.machine.quit(0)

    def _key_save(self) -> None:
        commit = getattr(self.machine, "commit_disks", None)
        if commit is not None:
            commit()

    def _key_break(self) -> None:
        if self.focus is not None:
            self.focus.event("break")

    def _key_next(self) -> None:
        if self.focus is not None and len(self.ports) > 1:
            index = self.ports.index(self.focus)
            self.set_focus(self.ports[(index + 1) % len(self.ports)])

    def _key_stamps(self) -> None:
        self._stamps = not self._stamps
        self._stamp_origin = self.machine.clock.now()
        self._line_start = False
        for port in self.ports:
            if self._stamps:
                port.stamped_output()
            else:
                port.plain_output()

    # ---- output ---------------------------------------------------------------------------------------------------

    def write_stamped(self, data: bytes) -> None:
        """Every line begins with the machine's time since the stamps were turned on."""
        out = bytearray()
        for byte in data:
            if self._line_start:
                millis = (self.machine.clock.now() - self._stamp_origin) // 1_000_000
                seconds = millis // 1000
                out += b"[%02d:%02d:%02d.%03d] " % (seconds // 3600, seconds // 60 % 60, seconds % 60, millis % 1000)
                self._line_start = False
            out.append(byte)
            if byte == 10:
                self._line_start = True
        self.chardev.write(bytes(out))

    def write(self, data: bytes) -> bool:
        return self.chardev.write(data)

    def describe(self) -> str:
        return "mux"

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.chardev.close()
