"""The binary trace file (-trace ...,file=FILE,format=binary), its writer and its reader.

    python -m pcemu.debug.tracefile FILE [PATTERN ...]     print the events that match, a line each
    python -m pcemu.debug.tracefile --json FILE            ... as JSON objects
    python -m pcemu.debug.tracefile --count FILE           how many there are of each

The format. A file begins with the eight bytes of MAGIC. Everything behind it is numbers, 7 bits a byte, lowest first, the top bit
saying that more follow (LEB128); signed ones are folded, 0 -1 1 -2 ... as 0 1 2 3. A text is its length in bytes, then UTF-8.
Each record begins with a number:

    0           a text, which has the next number from 0 on
    1           a shape, with the next number from 0 on: event, device and the number of fields, then of each field the name and
                0 (a signed number) or 1 (a text). Names are numbers of texts
    2 + shape   an event: nanoseconds of virtual time since the one before (signed), then the value of each field
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from pcemu.qom.errors import PcemuError

from .log import with_pid
from .trace import shown

MAGIC = b"pcemutr\x01"
FLUSH_SIZE = 1 << 16
MOST_TEXT = 1 << 16         # bytes; a longer one is cut
MOST_FIELDS = 64
MOST_BITS = 128             # of a number
TEXT, SHAPE, FIRST_EVENT = 0, 1, 2


class TraceFileError(PcemuError):
    """A file that is not a trace, or is damaged."""


def _fold(value: int) -> int:
    return value << 1 if value >= 0 else ~value << 1 | 1


def _put(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


class BinarySink:
    """Writes events into a file."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self._out = bytearray(MAGIC)
        self._texts: dict[str, int] = {}
        self._shapes: dict[tuple[object, ...], tuple[int, tuple[bool, ...]]] = {}
        self._time = 0
        self._lost = False

    def event(self, device: Any, event: str, fields: dict[str, object]) -> None:
        out = self._out
        kinds = tuple(isinstance(value, int) for value in fields.values())
        label = device.id or device.type_name
        key = (event, label, *fields, kinds)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = (self._define(label, event, fields, kinds), kinds)
        now = device.machine.clock.now()
        _put(out, FIRST_EVENT + shape[0])
        _put(out, _fold(now - self._time))
        self._time = now
        for value, number in zip(fields.values(), kinds, strict=True):
            if number:
                _put(out, _fold(int(value)))    # type: ignore[call-overload]
            else:
                self._put_text(str(value))
        if len(out) >= FLUSH_SIZE:
            self.flush()

    def _define(self, label: str, event: str, fields: dict[str, object], kinds: tuple[bool, ...]) -> int:
        names = [self._text(name) for name in (event, label, *fields)]
        out = self._out
        for value in (SHAPE, names[0], names[1], len(fields)):
            _put(out, value)
        for name, number in zip(names[2:], kinds, strict=True):
            _put(out, name)
            _put(out, 0 if number else 1)
        return len(self._shapes)

    def _text(self, text: str) -> int:
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            _put(self._out, TEXT)
            self._put_text(text)
        return self._texts[text]

    def _put_text(self, text: str) -> None:
        data = text.encode("utf-8", "replace")[:MOST_TEXT]
        _put(self._out, len(data))
        self._out += data

    def flush(self) -> None:
        """A host that takes no more is no reason to end the machine: the trace ends."""
        if not self._lost:
            try:
                self.stream.write(self._out)
                self.stream.flush()
            except OSError as error:
                self._lost = True
                print(f"pcemu: warning: -trace file={self.stream.name}: {error.strerror}: the trace ends here", file=sys.stderr)
        self._out.clear()

    def close(self) -> None:
        self.flush()
        with contextlib.suppress(OSError):
            self.stream.close()


def open_sink(path: str) -> BinarySink:
    """-trace file=PATH,format=binary."""
    try:
        return BinarySink(open(with_pid(path), "wb"))
    except OSError as error:
        raise PcemuError(f"-trace file={path}: {error.strerror}") from None


@dataclass(frozen=True)
class Event:
    """One event as read back; `time` in ns of virtual time."""

    time: int
    device: str
    name: str
    fields: dict[str, int | str]

    def line(self) -> str:
        return f"{self.time // 10**9}.{self.time % 10**9:09} {self.device}: {shown(self.name, self.fields)}"


@dataclass(frozen=True)
class _Shape:
    name: str
    device: str
    fields: tuple[tuple[str, bool], ...]        # name, is it a number


class Reader:
    """Iterates over the events of a file; TraceFileError where it is damaged. `cut` says afterwards that it ends in a record."""

    def __init__(self, data: bytes) -> None:
        if not data.startswith(MAGIC):
            raise TraceFileError("not a trace file (-trace ...,format=binary)")
        self._data = data
        self._at = len(MAGIC)
        self.cut = False

    def _number(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self._at]         # IndexError: the end of the file
            self._at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > MOST_BITS:
                raise TraceFileError(f"damaged at byte {self._at}: a number of more than {MOST_BITS} bits")

    def _signed(self) -> int:
        value = self._number()
        return ~(value >> 1) if value & 1 else value >> 1

    def _text(self) -> str:
        size = self._number()
        if size > MOST_TEXT:
            raise TraceFileError(f"damaged at byte {self._at}: a text of {size} bytes")
        if self._at + size > len(self._data):
            raise IndexError
        self._at += size
        return self._data[self._at - size:self._at].decode("utf-8", "replace")

    def __iter__(self) -> Iterator[Event]:
        texts: list[str] = []
        shapes: list[_Shape] = []
        time = 0
        try:
            while self._at < len(self._data):
                start = self._at
                tag = self._number()
                if tag == TEXT:
                    texts.append(self._text())
                elif tag == SHAPE:
                    shapes.append(self._shape(texts, start))
                elif tag - FIRST_EVENT >= len(shapes):
                    raise TraceFileError(f"damaged at byte {start}: no shape {tag - FIRST_EVENT}")
                else:
                    shape = shapes[tag - FIRST_EVENT]
                    time += self._signed()
                    values = {name: self._signed() if number else self._text() for name, number in shape.fields}
                    yield Event(time, shape.device, shape.name, values)
        except IndexError:
            self.cut = True

    def _shape(self, texts: list[str], start: int) -> _Shape:
        def name() -> str:
            number = self._number()
            if number >= len(texts):
                raise TraceFileError(f"damaged at byte {start}: no text {number}")
            return texts[number]

        event, device, count = name(), name(), self._number()
        if count > MOST_FIELDS:
            raise TraceFileError(f"damaged at byte {start}: {count} fields")
        return _Shape(event, device, tuple((name(), self._number() == 0) for _ in range(count)))


def chosen(events: Iterable[Event], patterns: list[str]) -> Iterator[Event]:
    return (event for event in events if not patterns or any(fnmatchcase(event.name, pattern) for pattern in patterns))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pcemu.debug.tracefile", description="Show a binary trace file.")
    parser.add_argument("file", type=Path)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="only events whose names match (default: all)")
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument("--count", action="store_true", help="how many there are of each event")
    args = parser.parse_args(arguments)
    try:
        data = args.file.read_bytes()
    except OSError as error:
        sys.exit(f"tracefile: {args.file}: {error.strerror}")
    try:
        reader = Reader(data)
        events = chosen(reader, args.patterns)
        if args.count:
            for name, count in Counter(event.name for event in events).most_common():
                print(f"{count:>10} {name}")
        else:
            for event in events:
                print(json.dumps(vars(event)) if args.json else event.line())
        if reader.cut:
            print(f"tracefile: {args.file}: the last record is not complete", file=sys.stderr)
        sys.stdout.flush()
    except BrokenPipeError:     # whoever reads has seen enough; the interpreter is not to complain at its end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except TraceFileError as error:
        sys.exit(f"tracefile: {args.file}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
