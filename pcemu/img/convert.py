"""convert: copy the contents of images into a new one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial

from pcemu.block.node import Node
from pcemu.block.pool import ThreadPool
from pcemu.block.qcow2 import snapshot as shots
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.cli import optstr
from pcemu.qom.units import parse_size

from .common import Arguments, ImgError, Progress, UsageError, need_qcow2, open_image
from .create import OPTIONS, Wanted, create, look_at_backing, options_help, parse_options
from .mapping import runs

CHUNK = 2 << 20  # bytes at a time
_ZEROES = bytes(CHUNK)


def run(args: Arguments) -> int:
    target_fmt = args.get("O") or "raw"
    texts = args.all("o")
    if any(optstr.wants_help(text) for text in texts) and target_fmt in OPTIONS:
        print(options_help(target_fmt))
        return 0
    if len(args.words) < 2:
        raise ImgError("Must specify image file name")
    for name in ("bitmaps",):
        if args.has(name):
            raise ImgError(f"--{name}: not implemented yet")
    *sources, target = args.words
    options = _Options(args, target_fmt)
    if target_fmt not in OPTIONS and not options.no_create:
        raise ImgError(f"Unknown file format '{target_fmt}'")
    opened: list[Node] = []
    try:
        for source in sources:
            opened.append(_open_source(source, args))
        size = sum(-(-node.size // 512) * 512 if node is not opened[-1] else node.size for node in opened)
        if not options.no_create:
            _create(args, target, target_fmt, texts, size, sources)
        _copy_all(opened, target, target_fmt, size, options)
    finally:
        for node in opened:
            node.close()
    return 0


class _Options:
    def __init__(self, args: Arguments, target_fmt: str) -> None:
        self.compressed = args.has("c")
        if self.compressed and target_fmt != "qcow2":
            raise ImgError("Compression not supported for this file format")
        self.no_create = args.has("n")
        self.has_backing = args.get("B") is not None
        self.target_is_zero = args.has("target-is-zero")
        if self.target_is_zero and not self.no_create:
            raise ImgError("--target-is-zero requires use of -n flag")
        self.salvage = args.has("salvage")
        self.cache = args.get("t") or "unsafe"
        self.progress = Progress(args.has("p") and not args.has("q"))
        try:
            self.sparse = parse_size(args.get("S") or "4k")
            self.threads = int(args.get("m") or "8")
        except ValueError:
            raise ImgError("Invalid buffer size for sparse output or number of threads specified.") from None
        if self.sparse % 512 or self.sparse > CHUNK:
            raise ImgError(f"Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to {CHUNK}.")
        if not 1 <= self.threads <= 16:
            raise ImgError("Invalid number of coroutines. Allowed number of coroutines is between 1 and 16")


def _open_source(filename: str, args: Arguments) -> Node:
    node = open_image(filename, args.get("f"), image_opts=args.has("image-opts"), cache=args.get("T") or "writeback",
                      share=args.has("U"))  # fmt: skip
    key = args.get("l")
    if key is not None:
        image = need_qcow2(node, "Failed to load snapshot: the format has none")
        pairs = optstr.parse(key)
        wanted = pairs.get("snapshot.id") or pairs.get("snapshot.name") or key
        try:
            shots.open_at(image, wanted)
        except BaseException:
            node.close()
            raise
    return node


def _create(args: Arguments, target: str, fmt: str, texts: list[str], size: int, sources: list[str]) -> None:
    for source in sources:
        if os.path.exists(source) and os.path.exists(target) and os.path.samefile(source, target):
            raise ImgError(f"'{target}' is a source and the target")
    options = parse_options(target, fmt, texts)
    options.setdefault("size", size)
    if options["size"] < size:
        raise ImgError(f"{target}: size={options['size']} is smaller than the source, {size} bytes")
    for letter, name in (("B", "backing_file"), ("F", "backing_fmt")):
        if args.get(letter) is not None:
            options[name] = args.get(letter)
    if args.has("c") and options.get("preallocation", "off") != "off":
        raise ImgError("Compression and preallocation not supported at the same time")
    wanted = Wanted(target, fmt, options)
    look_at_backing(wanted)
    create(wanted)


def _copy_all(opened: list[Node], target: str, fmt: str, size: int, options: _Options) -> None:
    progress = options.progress
    progress.show(0)
    # A target that was there before holds anything; one with a backing file shows that.
    zero = (not options.no_create or options.target_is_zero) and not options.has_backing
    with open_image(target, fmt, writable=True, cache=options.cache) as out:
        if out.size < size:
            raise ImgError(f"'{target}' is smaller than the source: {out.size} bytes instead of {size}")
        if options.compressed:
            if not isinstance(out, Qcow2Node):
                raise ImgError("Compression not supported for this file format")
            _compress(opened, out, size, options)
        else:
            if options.no_create and out.driver == "raw" and out.file is not None and out.file.size == 0:
                zero = True
            copier = _Copier(out, options, zero, size)
            base = 0
            for node in opened:
                copier.copy(node, base)
                base += -(-node.size // 512) * 512
            copier.finish()
        out.flush()
    progress.end()


class _Copier:
    """Pieces on several threads; the first failure ends it."""

    def __init__(self, out: Node, options: _Options, zero: bool, size: int) -> None:
        self.out = out
        self.options = options
        self.zero = zero
        self.size = max(size, 1)
        self.done = 0
        self.failure: BaseException | None = None
        self.pool = ThreadPool("convert", options.threads)
        self.room = threading.Semaphore(2 * options.threads)
        self.lock = threading.Lock()

    def copy(self, node: Node, base: int) -> None:
        for run in runs(node):
            if run.depth and self.options.has_backing:
                self.advance(run.length)  # the backing file's
                continue
            if self.options.sparse and (not run.data or run.zero):
                if not self.zero:
                    self.out.write_zeroes(base + run.start, run.length, unmap=True)
                self.advance(run.length)
                continue
            for start in range(run.start, run.start + run.length, CHUNK):
                count = min(CHUNK, run.start + run.length - start)
                self.room.acquire()
                if self.failure is not None:
                    return
                self.pool.submit(partial(self.piece, node, base, start, count))

    def advance(self, count: int) -> None:
        with self.lock:
            self.done += count
            self.options.progress.show(min(1.0, self.done / self.size))

    def piece(self, node: Node, base: int, at: int, count: int) -> None:
        try:
            if self.failure is None:
                data = self.read(node, at, count)
                view = memoryview(data)
                for start, length, zero in self.parts(data):
                    if not zero:
                        self.out.pwrite(base + at + start, [view[start : start + length]])
                    elif not self.zero:
                        self.out.write_zeroes(base + at + start, length, unmap=True)
                self.advance(count)
        except BaseException as failure:
            self.failure = self.failure or failure
        finally:
            self.room.release()

    def read(self, node: Node, at: int, count: int) -> bytearray:
        try:
            return node.get(at, count)
        except OSError:
            if not self.options.salvage:
                raise
        data = bytearray()
        for start in range(at, at + count, 512):
            length = min(512, at + count - start)
            try:
                data += node.get(start, length)
            except OSError as error:
                print(f"pcemu-img: warning: error while reading offset {start}: {error.strerror}")
                data += bytes(length)
        return data

    def parts(self, data: bytearray) -> Iterator[tuple[int, int, bool]]:
        """(start, length, is zero): zeroes count from -S bytes on, aligned."""
        step, size = self.options.sparse, len(data)
        if not step:
            yield 0, size, False
            return
        start, last = 0, False
        for at in range(0, size, step):
            count = min(step, size - at)
            zero = data[at] == 0 and data.startswith(_ZEROES[:count], at)
            if at and zero != last:
                yield start, at - start, last
                start = at
            last = zero
        yield start, size - start, last

    def finish(self) -> None:
        self.pool.close()
        if self.failure is not None:
            if isinstance(self.failure, OSError):
                raise ImgError(f"error while converting: {self.failure.strerror or self.failure}") from None
            raise self.failure


def _compress(opened: list[Node], out: Qcow2Node, size: int, options: _Options) -> None:
    """Cluster by cluster, in order."""
    step = out.cluster_size
    if len(opened) != 1:
        raise UsageError("compressed output of several sources: not implemented yet")
    node = opened[0]
    for run in runs(node):
        if (run.depth and options.has_backing) or (options.sparse and (not run.data or run.zero)):
            continue
        first, last = run.start // step * step, run.start + run.length
        for at in range(first, last, step):
            data = node.get(at, min(step, node.size - at))
            if (not options.sparse or data.count(0) != len(data)) and not out.l2_entry(at // step)[0]:
                out.write_compressed(at, data)
            options.progress.show(at / max(size, 1))
