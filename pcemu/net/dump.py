"""-object filter-dump: what passes a -netdev, as a pcap file (libpcap's format 2.4, link type Ethernet)."""

from __future__ import annotations

import sys
from struct import Struct
from typing import IO, ClassVar

from pcemu.qom import Property
from pcemu.qom.errors import PcemuError

from . import Frame, NetClient, Offload
from .filter import NetFilter

_FILE = Struct("<IHHiIII")
_RECORD = Struct("<IIII")
MAGIC, ETHERNET = 0xA1B2C3D4, 1


class FilterDump(NetFilter):
    """Frames are written as they pass: a TCP segment that the guest left to the card to cut up is one long frame.

    The time of a record is the machine's: what its clock showed at the start (-rtc), and virtual time from there.
    """

    type_name = "filter-dump"
    required: ClassVar[tuple[str, ...]] = ("netdev", "file")

    file = Property(str, help="the pcap file to write")
    maxlen = Property("size", default=65536, min=1, max=0xFFFFFFFF, help="write no more than this of each frame, in bytes")

    _out: IO[bytes] | None = None
    _start_us = 0

    def prepare(self) -> None:
        try:
            self._out = open(self.file, "wb")  # noqa: SIM115 - lives as long as the filter
        except OSError as error:
            raise PcemuError(f"net dump: can't open {self.file}: {error.strerror}") from None
        self._start_us = (self.machine.rtc_ns() - self.machine.clock.now()) // 1000
        self._write(_FILE.pack(MAGIC, 2, 4, 0, 0, self.maxlen, ETHERNET))

    def seen(self, sender: NetClient, frame: Frame, offload: Offload | None) -> bool:
        kept = min(len(frame), self.maxlen)
        micros = (self._start_us + self.machine.clock.now() // 1000) & 0xFFFFFFFFFFFFF
        self._write(_RECORD.pack(micros // 1_000_000 & 0xFFFFFFFF, micros % 1_000_000, kept, len(frame)) + bytes(frame[:kept]))
        return True

    def _write(self, data: bytes) -> None:
        if self._out is None:
            return
        try:
            self._out.write(data)
            self._out.flush()
        except OSError as error:
            # A full disk ends the recording, not the machine.
            print(f"pcemu: warning: net dump: {self.file}: {error.strerror}: nothing more is written", file=sys.stderr)
            self._out = None

    def close(self) -> None:
        super().close()
        if self._out is not None:
            self._out.close()
            self._out = None

