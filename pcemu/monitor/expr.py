"""The monitor's expressions: 64-bit integers, + - * / % & | ^ ~, parentheses, 'c' and $register.

As in QEMU, & | ^ bind closer than + and -, and an expression ends where nothing fits any more, so that
`o 0x80 1` is two of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .errors import ArgumentError

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")
_REGISTER = re.compile(r"[A-Za-z0-9_.]*")
MASK = (1 << 64) - 1
MOST_NESTED = 64
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'"}


def signed(value: int) -> int:
    """A 64-bit pattern as a signed number."""
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


class Expression:
    """Evaluates one expression of `text` from `position`; afterwards `position` is behind it."""

    def __init__(self, text: str, position: int, register: Callable[[str], int]) -> None:
        self.text = text
        self.position = position
        self._register = register
        self._depth = 0

    def value(self) -> int:
        """The expression's value, signed."""
        self._skip()
        return signed(self._sum())

    def _skip(self) -> None:
        text, position = self.text, self.position
        while position < len(text) and text[position].isspace():
            position += 1
        self.position = position

    def _peek(self) -> str:
        return self.text[self.position:self.position + 1]

    def _next(self) -> None:
        self.position += 1
        self._skip()

    def _sum(self) -> int:
        value = self._logic()
        while (operator := self._peek()) and operator in "+-":
            self._next()
            other = self._logic()
            value = signed(value + other if operator == "+" else value - other)
        return value

    def _logic(self) -> int:
        value = self._product()
        while (operator := self._peek()) and operator in "&|^":
            self._next()
            other = self._product()
            value = value & other if operator == "&" else value | other if operator == "|" else value ^ other
        return value

    def _product(self) -> int:
        value = self._unary()
        while (operator := self._peek()) and operator in "*/%":
            self._next()
            other = self._unary()
            if operator == "*":
                value = signed(value * other)
            elif other == 0:
                raise ArgumentError("division by zero")
            else:                       # towards zero, as C does
                quotient = abs(value) // abs(other) * (1 if (value < 0) == (other < 0) else -1)
                value = signed(quotient) if operator == "/" else value - quotient * other
        return value

    def _unary(self) -> int:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise ArgumentError("expression is nested too deeply")
        value = self._operand()
        self._depth -= 1
        return value

    def _operand(self) -> int:
        char = self._peek()
        match char:
            case "":
                raise ArgumentError("unexpected end of expression")
            case "+":
                self._next()
                return self._unary()
            case "-":
                self._next()
                return signed(-self._unary())
            case "~":
                self._next()
                return ~self._unary()
            case "(":
                self._next()
                value = self._sum()
                if self._peek() != ")":
                    raise ArgumentError("')' expected")
                self._next()
                return value
            case "'":
                return self._character()
            case "$":
                return self._named()
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            raise ArgumentError(f"invalid char '{char}' in expression")
        self.position = match.end()
        self._skip()
        digits = match[0]
        if len(digits) > 64:
            raise ArgumentError("number too large")
        number = int(digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10)
        if number > MASK:
            raise ArgumentError("number too large")
        return signed(number)

    def _character(self) -> int:
        self.position += 1
        char = self._peek()
        if not char:
            raise ArgumentError("character constant expected")
        if char == "\\" and self.text[self.position + 1:self.position + 2] in _ESCAPES:
            self.position += 1
            char = _ESCAPES[self._peek()]
        self.position += 1
        if self._peek() != "'":
            raise ArgumentError("missing terminating ' character")
        self._next()
        return ord(char) & 0xFF

    def _named(self) -> int:
        match = _REGISTER.match(self.text, self.position + 1)
        assert match is not None
        self.position = match.end()
        self._skip()
        return signed(self._register(match[0]))
