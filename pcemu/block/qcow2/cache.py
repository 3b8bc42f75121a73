"""Tables of big-endian numbers that are in memory: L2 tables and refcount blocks."""

from __future__ import annotations

import sys
from array import array
from collections import OrderedDict
from collections.abc import Iterator

SWAP = sys.byteorder == "little"


def unpack64(data: bytes | bytearray) -> array[int]:
    numbers = array("Q", bytes(data))
    if SWAP:
        numbers.byteswap()
    return numbers


def pack64(numbers: array[int]) -> bytes:
    if SWAP:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


class Table:
    """One table; `data` holds native numbers. Elements from `low` to below `high` are newer than the file's."""

    __slots__ = ("data", "high", "low", "new", "offset", "writing")

    def __init__(self, offset: int, data: array[int]) -> None:
        self.offset = offset
        self.data = data
        self.low = self.high = 0
        self.new = False  # nothing in the file points to it yet
        self.writing = 0  # being written: must not be dropped

    def touch(self, first: int, last: int) -> None:
        """Elements `first` to `last` have been changed."""
        if self.high == 0:
            self.low, self.high = first, last + 1
        else:
            self.low, self.high = min(self.low, first), max(self.high, last + 1)

    @property
    def dirty(self) -> bool:
        return self.high > 0


class TableCache:
    """Tables by their offset in the file, the longest unused first. Changed ones are never dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = max(4, limit)  # tables
        self.tables: OrderedDict[int, Table] = OrderedDict()

    def get(self, offset: int) -> Table | None:
        table = self.tables.get(offset)
        if table is not None:
            self.tables.move_to_end(offset)
        return table

    def add(self, table: Table) -> None:
        self.tables[table.offset] = table
        if len(self.tables) > self.limit:
            self._shrink()

    def _shrink(self) -> None:
        for _ in range(len(self.tables)):
            if len(self.tables) <= self.limit:
                return
            offset, table = self.tables.popitem(last=False)
            if table.high or table.writing:
                self.tables[offset] = table  # to the other end

    @property
    def crowded(self) -> bool:
        """Too much of it is changed: time to write."""
        if len(self.tables) > self.limit:
            self._shrink()
        return len(self.tables) > self.limit

    def drop(self, offset: int) -> None:
        self.tables.pop(offset, None)

    def clear(self) -> None:
        self.tables.clear()

    def dirty(self) -> Iterator[Table]:
        return (table for table in self.tables.values() if table.high)
