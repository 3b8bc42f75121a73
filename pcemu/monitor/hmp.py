"""The human monitor on a character device."""

from __future__ import annotations

from typing import Any

import pcemu
from pcemu.chardev import Chardev

from .editline import LineEditor
from .shell import Shell

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
        self.chardev.on_event = self._event
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

    def _input(self, data: bytes) -> None:
        self.editor.feed(data)

    def _line(self, line: str) -> None:
        self.print(self.shell.run(line))
        if not self.shell.ctx.ended:
            self.editor.show_prompt()

    def _event(self, event: str) -> None:
        match event:
            case "opened":
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
