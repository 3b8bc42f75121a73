"""A file that keeps a log of what is done to it, and what a power cut could have left of that."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from pcemu.block.file import FileNode
from pcemu.block.iov import Views, joined

FEW = 3
SECTOR = 512  # what a disk writes as a whole


@dataclass
class Op:
    """`at` and `data`: a write (None: the file gets the size `at`). `stable`: the log's length when a flush covered it."""

    at: int
    data: bytes | None
    stable: int = 1 << 60


@dataclass
class Log:
    first: bytes  # the file at the start
    ops: list[Op] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.ops)

    def add(self, op: Op) -> None:
        with self.lock:
            self.ops.append(op)

    def cuts(self, end: int, rng: random.Random) -> Iterator[bytearray]:
        """What a power cut after `end` operations may leave: everything possible if that is little, else a sample."""
        loose = [op for op in self.ops[:end] if op.stable > end]
        if len(loose) > FEW:
            yield from (self.after(end, rng) for _ in range(2))
            return
        for chosen in product((False, True), repeat=len(loose)):
            contents = bytearray(self.first)
            keep = iter(chosen)
            for op in self.ops[:end]:
                if op.stable <= end or next(keep):
                    _do(contents, op)
            yield contents

    def after(self, end: int, rng: random.Random | None = None) -> bytearray:
        """The file after `end` operations: all of them (the process was killed), or with `rng` after a power cut, when
        of those that no flush had covered any may be missing, torn, or done in another order."""
        contents = bytearray(self.first)
        sure = [op for op in self.ops[:end] if rng is None or op.stable <= end]
        loose = [] if rng is None else [op for op in self.ops[:end] if op.stable > end]
        for op in sure:
            _do(contents, op)
        if rng is not None and loose:
            rng.shuffle(loose)
            for op in loose[: rng.randrange(len(loose) + 1)]:
                if op.data is not None and len(op.data) > SECTOR and rng.random() < 0.3:
                    cut = rng.randrange(0, len(op.data), SECTOR)
                    op = Op(op.at + cut, op.data[cut:]) if rng.random() < 0.5 else Op(op.at, op.data[: cut or SECTOR])
                _do(contents, op)
        return contents


def _do(contents: bytearray, op: Op) -> None:
    if op.data is None:
        if op.at > len(contents):
            contents.extend(bytes(op.at - len(contents)))
        else:
            del contents[op.at :]
        return
    end = op.at + len(op.data)
    if end > len(contents):
        contents.extend(bytes(end - len(contents)))
    contents[op.at : end] = op.data


class LoggedFile(FileNode):
    """A file whose changes are logged; flushes take no time."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.log = Log(path.read_bytes())
        self.unmap = True

    def pwrite(self, offset: int, views: Views, fua: bool = False) -> None:
        super().pwrite(offset, views)
        self.log.add(Op(offset, joined(views)))

    def truncate(self, size: int) -> None:
        super().truncate(size)
        self.log.add(Op(size, None))

    def discard(self, offset: int, length: int) -> None:
        super().discard(offset, length)
        length = min(length, self._measure() - offset)
        if length > 0:
            self.log.add(Op(offset, bytes(length)))

    def flush(self) -> None:
        with self.log.lock:
            covered = [op for op in self.log.ops if op.stable == 1 << 60]
        self.log.add(Op(0, b""))  # so that there is a moment before the flush is done
        with self.log.lock:
            for op in covered:
                op.stable = len(self.log.ops)
