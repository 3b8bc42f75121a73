"""JSON values out of a stream of bytes that nobody vouches for.

Values follow each other with or without white space between them, arrive in pieces of any size, and may be wrong.
The splitter looks at every byte once, whatever the pieces are, keeps at most MAX_SIZE bytes, and lets no value nest
deeper than MAX_NESTING. After an error it skips the rest of the line (or up to a byte 0xFF, which clients that lost
track send): one wrong line is one error.

Strings in single quotes are taken too, as QEMU does: they are what people type where the shell has the double ones.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

MAX_SIZE = 1 << 20              # of one value
MAX_NESTING = 256
RESET = 0xFF                    # never part of UTF-8: forget what came before

_STRUCTURE = re.compile(rb"[\[\]{}\"'\xff\n]")
_IN_STRING = {quote: re.compile(b"[\\\\\xff" + bytes((quote,)) + b"]") for quote in b"\"'"}
_END_OF_LINE = re.compile(rb"[\n\xff]")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'""", re.DOTALL)
_INNER = re.compile(r"""\\.|\"""", re.DOTALL)
_SPACE = b" \t\r\n"
# Zero bytes end strings in the host's interfaces, and half a surrogate pair is no character.
_NOT_TEXT = re.compile(r"(?<!\\)(?:\\\\)*\\u(?:0000|[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|"
                       r"(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u)[dD][c-fC-F])")


class ParseError(ValueError):
    """What is wrong with the input, for the client."""


class Splitter:
    """`feed()` it bytes; iterate over what it yields: values' text as bytes, or a ParseError."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._at = 0                    # looked at up to here
        self._depth = 0
        self._quote = 0                 # inside a string with this quote
        self._escaped = False           # the next byte belongs to a backslash
        self._skipping = False          # an error: to the end of the line

    @property
    def pending(self) -> int:
        """Bytes of a value that is not whole yet."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[bytes | ParseError]:
        if self._data and len(self._data) + len(data) > MAX_SIZE:
            self._at = len(self._data)
            yield self._fail(f"JSON message size limit of {MAX_SIZE} bytes exceeded")
        self._data += data
        while self._at < len(self._data):
            found = self._step()
            if found is not None:
                yield found

    def _fail(self, text: str) -> ParseError:
        # What is left of the line is thrown away; the line may end in what is here already.
        del self._data[:self._at]
        self._at = self._depth = self._quote = 0
        self._escaped = False
        self._skipping = True
        return ParseError(text)

    def _step(self) -> bytes | ParseError | None:
        """Go on to the next byte that means something."""
        data = self._data
        if self._skipping:
            end = _END_OF_LINE.search(data, self._at)
            if end is None:
                data.clear()
                self._at = 0
            else:
                self._skipping = False
                del data[:end.end()]
                self._at = 0
            return None
        if self._quote:
            self._string()
            return None
        found = _STRUCTURE.search(data, self._at)
        if found is None:
            self._at = len(data)
            return None
        byte = data[found.start()]
        self._at = found.end()
        if byte == RESET:
            del data[:self._at]
            self._at = self._depth = 0
        elif byte in b"\"'":
            self._quote = byte
        elif byte in b"[{":
            if not self._depth and bytes(data[:found.start()]).strip(_SPACE):
                return self._rest_is_wrong(data[:found.start()])
            self._depth += 1
            if self._depth > MAX_NESTING:
                return self._fail("JSON nesting depth limit exceeded")
        elif byte in b"]}":
            self._depth -= 1
            if self._depth < 0:
                return self._fail("JSON parse error, expecting value")
            if not self._depth:
                return self._take(self._at)
        elif not self._depth:                                   # a line without brackets
            line = bytes(data[:self._at]).strip(_SPACE)
            del data[:self._at]
            self._at = 0
            return line or None
        return None

    def _rest_is_wrong(self, before: bytearray) -> ParseError:
        word = bytes(before).strip(_SPACE)[:40].decode("utf-8", "replace")
        return self._fail(f"JSON parse error, stray '{word}'")

    def _string(self) -> None:
        data = self._data
        if self._escaped:
            self._escaped = False
            self._at += 1
            return
        found = _IN_STRING[self._quote].search(data, self._at)
        if found is None:
            self._at = len(data)
            return
        self._at = found.end()
        byte = data[found.start()]
        if byte == RESET:
            del data[:self._at]
            self._at = self._depth = self._quote = 0
        elif byte == ord("\\"):
            self._escaped = True
        else:
            self._quote = 0

    def _take(self, end: int) -> bytes:
        value = bytes(self._data[:end])
        del self._data[:end]
        self._at = 0
        return value


def parse(text: bytes) -> Any:
    """One JSON value (RFC 8259, and strings in single quotes). Raises ParseError."""
    try:
        shown = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ParseError(f"JSON parse error, invalid UTF-8 at byte {error.start}") from None
    if "'" in shown:
        shown = _QUOTED.sub(_double_quotes, shown)
    if _NOT_TEXT.search(shown):
        raise ParseError("JSON parse error, invalid Unicode sequence")
    try:
        return _DECODER.decode(shown)
    except ParseError:
        raise
    except RecursionError:
        raise ParseError("JSON nesting depth limit exceeded") from None
    except ValueError as error:
        text_of_it = str(error).partition(": line")[0]
        raise ParseError(f"JSON parse error, {text_of_it[:1].lower() + text_of_it[1:]}") from None


def _double_quotes(found: re.Match[str]) -> str:
    inner = found[1]
    if inner is None:
        return found[0]
    return '"' + _INNER.sub(lambda part: {"\\'": "'", '"': '\\"'}.get(part[0], part[0]), inner) + '"'


def _no_constant(name: str) -> Any:
    raise ParseError(f"JSON parse error, invalid keyword '{name}'")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ParseError("JSON parse error, number too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 25:
        raise ParseError("JSON parse error, number too large")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ParseError("JSON parse error, duplicate key")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite,
                            parse_int=_integer)
