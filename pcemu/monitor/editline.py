"""A line editor for a byte stream that may be a terminal: echo, editing keys, history, completion of names."""

from __future__ import annotations

from collections.abc import Callable

MOST = 4095             # characters of a line; more is not taken
_ARROWS = {"A": "previous", "B": "next", "C": "right", "D": "left", "H": "home", "F": "end"}
_TILDES = {"1": "home", "7": "home", "4": "end", "8": "end", "3": "delete"}
_CONTROLS = {1: "home", 2: "left", 4: "delete", 5: "end", 6: "right", 8: "backspace", 11: "kill_right", 14: "next",
             16: "previous", 21: "kill_left", 23: "kill_word", 127: "backspace", 3: "cancel", 9: "complete_line"}


class LineEditor:
    """Feed it bytes; it echoes through `write` and calls `done` with each finished line."""

    def __init__(self, write: Callable[[str], None], done: Callable[[str], None], history: list[str],
                 complete: Callable[[str], list[str]] | None = None) -> None:
        self.prompt = ""
        self._write = write
        self._done = done
        self._history = history
        self._complete = complete
        self._line = ""
        self._cursor = 0
        self._recall = 0                # how many lines back in the history we look
        self._draft = ""                # what was typed before looking there
        self._escape = ""
        self._after_return = False

    def show_prompt(self) -> None:
        self._line, self._cursor, self._recall = "", 0, 0
        self._write(self.prompt)

    def redraw(self) -> None:
        """Prompt and line again, after somebody else printed."""
        self._write(self.prompt + self._line)
        self._back(len(self._line) - self._cursor)

    def reset(self) -> None:
        self._line, self._cursor, self._recall, self._escape = "", 0, 0, ""

    def feed(self, data: bytes) -> None:
        for byte in data:
            self._byte(byte)

    def _byte(self, byte: int) -> None:
        if self._escape:
            self._escaped(chr(byte))
            return
        after_return, self._after_return = self._after_return, byte == 13
        if byte == 27:
            self._escape = "\x1b"
        elif byte == 13 or (byte == 10 and not after_return):
            self._finish()
        elif byte in _CONTROLS:
            getattr(self, "_" + _CONTROLS[byte])()
        elif byte >= 32:
            self._insert(chr(byte))

    def _escaped(self, char: str) -> None:
        self._escape += char
        sequence = self._escape
        if sequence in ("\x1b[", "\x1bO") or (sequence[:2] == "\x1b[" and char.isdigit() and len(sequence) < 6):
            return
        self._escape = ""
        if char == "~":
            action = _TILDES.get(sequence[2:-1], "")
        else:
            action = _ARROWS.get(char, "") if len(sequence) == 3 else ""
        if action:
            getattr(self, "_" + action)()

    def _finish(self) -> None:
        line = self._line
        self._write("\r\n")
        self.reset()
        if line.strip():
            if line in self._history:
                self._history.remove(line)
            self._history.append(line)
            del self._history[:-64]
        self._done(line)

    # ---- editing --------------------------------------------------------------------------------------------------

    def _insert(self, text: str) -> None:
        text = text[:MOST - len(self._line)]
        if not text:
            return
        tail = self._line[self._cursor:]
        self._line = self._line[:self._cursor] + text + tail
        self._cursor += len(text)
        self._write(text + tail)
        self._back(len(tail))

    def _back(self, count: int) -> None:
        if count:
            self._write("\b" * count)

    def _replace(self, line: str) -> None:
        self._back(self._cursor)
        self._write("\x1b[K" + line)
        self._line, self._cursor = line, len(line)

    def _cut(self, start: int, end: int) -> None:
        """Take out [start, end), the cursor going to `start`."""
        if end > start:
            self._back(self._cursor - start)
            tail = self._line[end:]
            self._line = self._line[:start] + tail
            self._cursor = start
            self._write("\x1b[K" + tail)
            self._back(len(tail))

    def _backspace(self) -> None:
        if self._cursor:
            self._cut(self._cursor - 1, self._cursor)

    def _delete(self) -> None:
        if self._cursor < len(self._line):
            self._cut(self._cursor, self._cursor + 1)

    def _kill_left(self) -> None:
        self._cut(0, self._cursor)

    def _kill_right(self) -> None:
        self._cut(self._cursor, len(self._line))

    def _kill_word(self) -> None:
        kept = self._line[:self._cursor].rstrip()
        start = kept.rfind(" ") + 1
        self._cut(start, self._cursor)

    def _cancel(self) -> None:
        self._write("\r\n")
        self.show_prompt()

    def _left(self) -> None:
        if self._cursor:
            self._cursor -= 1
            self._back(1)

    def _right(self) -> None:
        if self._cursor < len(self._line):
            self._write(self._line[self._cursor])
            self._cursor += 1

    def _home(self) -> None:
        self._back(self._cursor)
        self._cursor = 0

    def _end(self) -> None:
        self._write(self._line[self._cursor:])
        self._cursor = len(self._line)

    # ---- history and completion -----------------------------------------------------------------------------------

    def _previous(self) -> None:
        if self._recall < len(self._history):
            if not self._recall:
                self._draft = self._line
            self._recall += 1
            self._replace(self._history[-self._recall])

    def _next(self) -> None:
        if self._recall:
            self._recall -= 1
            self._replace(self._history[-self._recall] if self._recall else self._draft)

    def _complete_now(self, candidates: list[str], typed: str) -> None:
        if len(candidates) == 1:
            self._insert(candidates[0][len(typed):] + " ")
            return
        common = candidates[0]
        for other in candidates[1:]:
            while not other.startswith(common):
                common = common[:-1]
        if len(common) > len(typed):
            self._insert(common[len(typed):])
        else:
            self._write("\r\n" + "  ".join(candidates) + "\r\n")
            self.redraw()

    def _complete_line(self) -> None:
        if self._complete is None or self._cursor != len(self._line):
            return
        candidates = self._complete(self._line)
        if candidates:
            self._complete_now(candidates, self._line.rpartition(" ")[2])
