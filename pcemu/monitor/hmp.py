"""The human monitor on a character device.

As QMP does, it takes no input from a client that does not take its output, and gives the commands of one turn of the
machine's loop TURN_NS: what comes faster waits.
"""

from __future__ import annotations

import time
from typing import Any

import pcemu
from pcemu.chardev import Chardev

from .editline import LineEditor
from .shell import TURN_NS, Shell, client_first

CHUNK = 4096            # bytes taken at once
PROMPT = "(qemu) "      # expect scripts and people's fingers know this one
BANNER = f"pcemu {pcemu.__version__} monitor - type 'help' for more information\n"


class HmpMonitor:
    """Reads lines from a chardev, runs them, prints what they say."""

    def __init__(self, machine: Any, chardev: Chardev) -> None:
        self.machine = machine
        self.shell = Shell(machine)
        self.shell.ctx.monitor = self
        self._hidden = ""                   # output while another front end has the multiplexer's focus
        self._shown = False
        self.chardev = chardev.attach("a monitor", focus=False)
        self.editor = LineEditor(self._echo, self._line, self.shell.ctx.history, self._completions)
        self.editor.prompt = PROMPT
        mux = getattr(self.chardev, "mux", None)
        self._focused = mux is None or mux.focus is self.chardev
        self._waiting = b""                 # input that is yet to be looked at
        self._scheduled = False
        self.chardev.can_receive = self._room
        self.chardev.on_event = self._event
        self.chardev.on_writable = self._go_on
        self.chardev.on_input = self._input
        loop = getattr(machine, "loop", None)
        if mux is None or loop is None:
            self._greet_if_alone()
        else:
            loop.call_soon(self._greet_if_alone)    # a console made later may take the focus

    # ---- output ---------------------------------------------------------------------------------------------------

    def print(self, text: str) -> None:
        """Show text; lines end in CR LF, for terminals in raw mode."""
        text = text.replace("\n", "\r\n")
        if self._focused:
            self.chardev.write(text.encode("utf-8", "replace"))
        else:
            self._hidden += text

    def _echo(self, text: str) -> None:
        self.chardev.write(text.encode("utf-8", "replace"))

    def _greet_if_alone(self) -> None:
        if self._focused and self.chardev.connected and not self._shown:
            self._greet()

    def _greet(self) -> None:
        self._shown = True
        self.print(BANNER)
        self.editor.show_prompt()

    # ---- input ----------------------------------------------------------------------------------------------------

    def _room(self) -> int:
        return 0 if self._waiting or self.chardev.blocked else CHUNK

    def _input(self, data: bytes) -> None:
        self._waiting += data
        if not self._scheduled:
            self._work()

    def _go_on(self) -> None:
        self._schedule()
        self.chardev.accept_input()

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self.machine.loop.call_soon(self._scheduled_work)

    def _scheduled_work(self) -> None:
        self._scheduled = False
        self._work()

    def _work(self) -> None:
        """Line by line, as much as fits a turn."""
        end = time.monotonic_ns() + TURN_NS
        while self._waiting and not self.chardev.blocked:
            end_of_line = next((at + 1 for at, byte in enumerate(self._waiting) if byte in b"\r\n"), len(self._waiting))
            line, self._waiting = self._waiting[:end_of_line], self._waiting[end_of_line:]
            self.editor.feed(line)
            if self._waiting and time.monotonic_ns() > end:
                self._schedule()
                return
        if not self._waiting:
            self.chardev.accept_input()

    def _line(self, line: str) -> None:
        self.print(self.shell.run(line))
        if not self.shell.ctx.ended:
            self.editor.show_prompt()
            self.chardev.flush()        # now, and not after another slice of the guest's time
            client_first(self.machine)

    def _event(self, event: str) -> None:
        match event:
            case "opened":
                self._waiting = b""
                self.editor.reset()
                self._greet()
            case "closed":
                self.editor.reset()
            case "mux-in":
                self._focused = True
                if not self._shown:
                    self._greet()
                    return
                self.chardev.write(self._hidden.encode("utf-8", "replace"))
                self._hidden = ""
                self.editor.redraw()
            case "mux-out":
                self._focused = False
                if self._shown:
                    self.chardev.write(b"\r\n")

    def _completions(self, line: str) -> list[str]:
        from .completion import candidates

        return candidates(self.machine, line)
