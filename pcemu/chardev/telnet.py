"""The few bytes of TELNET (RFC 854) a serial console over telnet needs."""

from __future__ import annotations

IAC, DONT, DO, WONT, WILL, SB, BREAK, SE = 255, 254, 253, 252, 251, 250, 243, 240
BINARY, ECHO, SUPPRESS_GO_AHEAD = 0, 1, 3

# We echo and send no go-aheads, so that the client goes into character mode; both directions are 8 bits clean.
GREETING = bytes((IAC, WILL, ECHO, IAC, WILL, SUPPRESS_GO_AHEAD, IAC, WILL, BINARY, IAC, DO, BINARY))


class Filter:
    """Takes commands out of what a client sends."""

    def __init__(self) -> None:
        self._state = ""

    def feed(self, data: bytes) -> tuple[bytes, int]:
        """The plain bytes, and how often a break was sent."""
        plain = bytearray()
        breaks = 0
        for byte in data:
            match self._state:
                case "":
                    self._plain(byte, plain)
                case "cr":
                    self._state = ""
                    if byte:                        # a NUL after CR is padding
                        self._plain(byte, plain)
                case "iac":
                    self._state = ""
                    if byte == IAC:
                        plain.append(IAC)
                    elif byte == BREAK:
                        breaks += 1
                    elif byte in (WILL, WONT, DO, DONT):
                        self._state = "option"
                    elif byte == SB:
                        self._state = "sub"
                case "option":                      # agreed or not: we go on as greeted
                    self._state = ""
                case "sub":
                    if byte == IAC:
                        self._state = "sub-iac"
                case "sub-iac":
                    self._state = "" if byte == SE else "sub"
        return bytes(plain), breaks

    def _plain(self, byte: int, plain: bytearray) -> None:
        if byte == IAC:
            self._state = "iac"
            return
        plain.append(byte)
        if byte == 13:
            self._state = "cr"


def plain_length(coded: bytes, count: int) -> int:
    """How many whole plain bytes the first `count` bytes of a coded stream hold."""
    return count - (coded[:count].count(IAC) + 1) // 2


def splits_pair(coded: bytes, count: int) -> bool:
    """Does a cut after `count` bytes go through a doubled 255?"""
    return coded[:count].count(IAC) % 2 == 1
