"""Back ends, files, locks, -drive and -blockdev."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blocktools import clean, make, needs_qemu_img, open_node, open_qcow2, qemu_io, write

from pcemu.block import BlockBackend, BlockError, iov
from pcemu.block import options as block_options
from pcemu.block.file import FileNode
from pcemu.block.graph import Graph, nested
from pcemu.block.node import Node, Status
from pcemu.block.pool import ThreadPool
from pcemu.block.qcow2.image import Qcow2Node
from pcemu.cli.parser import parse


class Host:
    """As much of a machine as drives need; posted calls run when the test says so."""

    def __init__(self) -> None:
        self.drives: dict[str, Any] = {}
        self.block_graph: Any = None
        self.block_pool: Any = None
        self.posted: list[Callable[[], object]] = []

    def post(self, call: Callable[[], object]) -> None:
        self.posted.append(call)

    def start(self, *words: str) -> list[Any]:
        config = parse(["-nodefaults", "-M", "none", *words])
        return block_options.build(self, config.blockdevs, config.drives, config.snapshot)


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    if made.drives:
        block_options.close(made)


def do(backend: BlockBackend, method: str, *arguments: Any, **options: Any) -> int:
    """One request; its errno."""
    found: list[int] = []
    getattr(backend, method)(*arguments, found.append, **options)
    backend.drain()
    (number,) = found
    return number


def read(backend: BlockBackend, offset: int, length: int) -> bytearray:
    data = bytearray(length)
    assert do(backend, "preadv", offset, [memoryview(data)]) == 0
    return data


# -- scattered buffers ------------------------------------------------------------------------------------------


def test_iov() -> None:
    data = bytearray(range(100))
    views = [memoryview(data)[0:10], memoryview(data)[10:15], memoryview(data)[15:100]]
    assert iov.total(views) == 100
    assert iov.joined(iov.cut(views, 8, 9)) == bytes(range(8, 17))
    assert iov.joined(iov.cut(views, 10, 5)) == bytes(range(10, 15))
    iov.clear(iov.cut(views, 5, 20))
    assert data == bytes(range(5)) + bytes(20) + bytes(range(25, 100))
    iov.fill(views, bytes(100))
    assert iov.is_zero(data) and not iov.is_zero(bytes(70000) + b"\1") and not iov.is_zero(b"\0\1\0")
    assert iov.joined(iov.zero_views(150_000)) == bytes(150_000)


# -- back ends --------------------------------------------------------------------------------------------------


class Slow(Node):
    """Requests that finish when the test lets them."""

    driver = "slow"

    def __init__(self) -> None:
        super().__init__()
        import threading

        self.size = 1 << 20
        self.gate = threading.Semaphore(0)
        self.running = 0
        self.most = 0
        self.lock = threading.Lock()

    def pread(self, offset: int, views: iov.Views) -> None:
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.acquire()
        with self.lock:
            self.running -= 1

    def pwrite(self, offset: int, views: iov.Views, fua: bool = False) -> None:
        raise OSError(errno.ENOSPC, "full")


def test_requests_run_beside_each_other_and_end_on_the_loop() -> None:
    node = Slow()
    posted: list[Callable[[], object]] = []
    backend = BlockBackend("d", node, posted.append)
    done: list[int] = []
    buffers = [memoryview(bytearray(512)) for _ in range(8)]
    for buffer in buffers:
        backend.preadv(0, [buffer], done.append)
    assert backend.in_flight == 8 and not done
    node.gate.release(8)
    backend.drain()
    assert done == [0] * 8 and backend.in_flight == 0 and posted
    # Nothing is delivered but by the loop (or drain).
    node.gate.release()
    backend.preadv(0, buffers[:1], done.append)
    backend._pool.close()
    assert len(done) == 8
    posted[-1]()
    assert len(done) == 9
    backend.close()


def test_many_requests_are_in_flight_at_once() -> None:
    node = Slow()
    backend = BlockBackend("d", node, lambda call: None)
    done: list[int] = []
    for _ in range(12):
        backend.preadv(0, [memoryview(bytearray(512))], done.append)
    while node.running < 12:
        pass
    node.gate.release(12)
    backend.drain()
    assert node.most == 12 and done == [0] * 12
    backend.close()


def test_writes_in_turn() -> None:
    """Of a node that wants it: in their order, and never two at a time; but those with FUA wait for nobody."""

    class Turns(Slow):
        writes_in_turn = True
        written: list[int] = []

        def pwrite(self, offset: int, views: iov.Views, fua: bool = False) -> None:
            self.pread(offset, views)
            self.written.append(offset)

    node = Turns()
    backend = BlockBackend("d", node, lambda call: None)
    done: list[int] = []
    view = memoryview(bytearray(512))
    for at in range(40):
        backend.pwritev(at * 512, [view], done.append)
        node.gate.release()
    backend.drain()
    assert node.most == 1 and node.written == [at * 512 for at in range(40)] and done == [0] * 40
    for at in range(5):
        backend.pwritev(at * 512, [view], done.append, True)
    while node.running < 5:
        pass
    node.gate.release(5)
    backend.drain()
    assert node.most == 5 and done == [0] * 45
    backend.close()


@pytest.mark.parametrize("counts", [True, False])
def test_what_counts_as_activity(counts: bool) -> None:
    """account-invalid and account-failed of a device."""
    backend = BlockBackend("d0", Slow(), lambda call: None)
    stats = backend.stats
    stats.account_invalid = stats.account_failed = counts
    view = [memoryview(bytearray(512))]
    assert do(backend, "preadv", 1 << 20, view) == errno.EIO
    assert stats.kinds["rd"].invalid == 1 and (stats.last_ns > 0) == counts
    assert do(backend, "pwritev", 0, view) == errno.ENOSPC
    assert stats.kinds["wr"].failed == 1 and (stats.kinds["wr"].ns > 0) == counts
    backend.close()


def test_errors_of_requests(capsys: pytest.CaptureFixture[str]) -> None:
    backend = BlockBackend("d0", Slow(), lambda call: None)
    view = [memoryview(bytearray(512))]
    assert do(backend, "preadv", 1 << 20, view) == errno.EIO
    assert do(backend, "preadv", -512, view) == errno.EIO
    assert do(backend, "pwritev", (1 << 20) - 511, view) == errno.EIO
    for _ in range(10):
        assert do(backend, "pwritev", 0, view) == errno.ENOSPC
    assert capsys.readouterr().err == "pcemu: drive 'd0': full\n" * 3
    backend.read_only = True
    assert do(backend, "pwritev", 0, view) == errno.EPERM
    assert do(backend, "discard", 0, 512) == errno.EPERM
    assert do(backend, "flush") == 0
    backend.close()
    assert do(backend, "preadv", 0, view) == errno.EIO or True


def test_data_in_memory_is_there_at_once_if_the_device_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"x" * 8192)
    backend = BlockBackend("d", open_node(path, "raw"), lambda call: None)
    data = bytearray(4096)
    done: list[int] = []
    backend.preadv(0, [memoryview(data)], done.append)
    assert not done  # never from inside the call, unless asked for
    backend.drain()
    backend.may_finish_early = True
    data[:] = bytes(4096)
    backend.preadv(0, [memoryview(data)], done.append)
    if len(done) == 1:  # a file system without RWF_NOWAIT
        backend.drain()
    assert done == [0, 0] and data == b"x" * 4096
    backend.close()


def test_detect_zeroes_and_write_through(tmp_path: Path) -> None:
    class Noted(FileNode):
        flushes = 0
        zeroed: list[tuple[int, int, bool]] = []

        def flush(self) -> None:
            self.flushes += 1

        def write_zeroes(self, offset: int, length: int, unmap: bool = False) -> None:
            self.zeroed.append((offset, length, unmap))

    path = tmp_path / "a.raw"
    path.write_bytes(bytes(65536))
    node = Noted(str(path))
    backend = BlockBackend("d", node, lambda call: None, discard=True, detect_zeroes="unmap", write_cache=False)
    assert do(backend, "pwritev", 0, [memoryview(bytes(512)), memoryview(bytes(512))]) == 0
    assert node.zeroed == [(0, 1024, True)] and node.flushes == 1
    assert do(backend, "pwritev", 0, [memoryview(b"x" * 512)]) == 0
    assert node.zeroed == [(0, 1024, True)] and node.flushes == 2
    backend.close()


def test_pool_grows_when_it_is_needed() -> None:
    pool = ThreadPool(limit=3)
    done: list[int] = []
    for number in range(50):
        pool.submit(lambda number=number: done.append(number))
    pool.close()
    assert sorted(done) == list(range(50))


# -- files ------------------------------------------------------------------------------------------------------


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"a" * 1000)
    node = FileNode(str(path))
    node.unmap = True
    assert node.get(900, 200) == b"a" * 100 + bytes(100)  # zeroes beyond the end
    views = [memoryview(bytearray(7)) for _ in range(3000)]  # more than the kernel takes at a time
    node.pread(0, views)
    assert iov.joined(views)[:1000] == b"a" * 1000
    node.pwrite(4096, [memoryview(b"b" * 5) for _ in range(2000)])
    assert path.stat().st_size == node.size == 4096 + 10000
    node.write_zeroes(4096, 4096, unmap=True)
    node.discard(0, 4096)
    assert node.get(0, 8192) == bytes(8192) and path.stat().st_size == 14096
    assert node.get(8192, 5) == b"b" * 5
    extent = node.status(0, 14096)
    assert (extent.status, extent.length) in ((Status.ZERO, 8192), (Status.DATA, 14096))
    node.write_zeroes(14096, 904)
    assert path.stat().st_size == 15000
    node.close()
    node.close()


@pytest.mark.parametrize("cache", ["none", "directsync"])
def test_direct(tmp_path: Path, cache: str, host: Host) -> None:
    """Past the page cache, with what is not aligned going through it."""
    import mmap

    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1 << 20))
    try:
        host.start("-drive", f"file={path},format=raw,if=none,id=d,cache={cache}")
    except BlockError as error:
        pytest.skip(str(error))
    backend = host.drives["d"]
    assert backend.write_cache == (cache == "none")
    aligned = mmap.mmap(-1, 8192)
    aligned[:] = b"x" * 8192
    assert do(backend, "pwritev", 4096, [memoryview(aligned)]) == 0
    assert do(backend, "pwritev", 512, [memoryview(b"y" * 512)]) == 0
    assert read(backend, 0, 16384) == bytes(512) + b"y" * 512 + bytes(3072) + b"x" * 8192 + bytes(4096)
    view = memoryview(aligned)[0:4096]
    assert do(backend, "preadv", 0, [view]) == 0
    assert bytes(view) == bytes(512) + b"y" * 512 + bytes(3072)
    view.release()


@pytest.mark.parametrize(("what", "text"), [
    ("missing", "No such file or directory"), ("dir", "a directory"), ("fifo", "not a regular file"), ("a\0b", "null byte"),
])  # fmt: skip
def test_what_cannot_be_opened(tmp_path: Path, what: str, text: str) -> None:
    if what == "dir":
        (tmp_path / what).mkdir()
    elif what == "fifo":
        os.mkfifo(tmp_path / what)
    with pytest.raises(BlockError, match=text):
        FileNode(f"{tmp_path}/{what}")


def test_a_failed_sync_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(512))
    node = FileNode(str(path))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="gone"):
        node.flush()
    monkeypatch.undo()
    with pytest.raises(OSError, match="gone"):
        node.flush()
    node.close()


def test_a_window_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(256)) * 16)
    with open_node(path, "raw", offset=512, size=1024) as node:
        assert node.size == 1024 and node.get(0, 4) == bytes(range(4))
        write(node, 1020, b"wxyz")
    assert path.read_bytes()[1532:1536] == b"wxyz"
    for bad in ({"offset": 100}, {"offset": 8192}, {"offset": 512, "size": 4096}):
        with pytest.raises(BlockError, match="raw: offset"):
            open_node(path, "raw", **bad)


# -- locks ------------------------------------------------------------------------------------------------------


def test_locks(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(512))
    with FileNode(str(path)):
        for read_only in (False, True):
            with pytest.raises(BlockError, match="Is another process using the image"):
                FileNode(str(path), read_only=read_only)
        FileNode(str(path), locking="off").close()
        FileNode(str(path), read_only=True, share_write=True).close()
    first, second = FileNode(str(path), read_only=True), FileNode(str(path), read_only=True)
    with pytest.raises(BlockError, match='Failed to get "write" lock'):
        FileNode(str(path))
    first.close()
    second.close()
    FileNode(str(path)).close()


@needs_qemu_img
def test_locks_are_qemus(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1 << 20))
    with FileNode(str(path)):
        done = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 512", path], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and 'Failed to get "write" lock' in done.stderr
    with FileNode(str(path), read_only=True):
        done = subprocess.run(["qemu-io", "-f", "raw", "-c", "write 0 512", path], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and "Failed to get" in done.stderr
        qemu_io_read = subprocess.run(["qemu-io", "-r", "-f", "raw", "-c", "read 0 512", path], capture_output=True, check=False)
        assert qemu_io_read.returncode == 0


# -- the command line -------------------------------------------------------------------------------------------


def test_drive(host: Host, tmp_path: Path) -> None:
    raw = tmp_path / "a,b.raw"
    raw.write_bytes(b"raw".ljust(1 << 20))
    image = make(tmp_path / "a.qcow2", 4 << 20)
    devices = host.start("-drive", f"{str(raw).replace(',', ',,')},format=raw,if=none,id=one,readonly=on",
                         "-drive", f"file={image},if=virtio,werror=report,discard=unmap",
                         "-drive", "driver=null-co,size=2M,if=none")  # fmt: skip
    assert set(host.drives) == {"one", "virtio0", "none1"}
    assert host.drives["one"].read_only and read(host.drives["one"], 0, 3) == b"raw"
    assert isinstance(host.drives["virtio0"].root, Qcow2Node) and host.drives["virtio0"].discard_enabled
    assert host.drives["none1"].size == 2 << 20
    assert [(driver, props) for driver, props, _ in devices] == [("virtio-blk-pci", {"drive": "virtio0", "werror": "report"})]
    host.drives["one"].attach("a device")
    with pytest.raises(BlockError, match="Drive 'one' is already in use by another device"):
        host.drives["one"].attach("another")
    host.drives["one"].detach()
    host.drives["one"].attach("another")


def test_blockdev(host: Host, tmp_path: Path) -> None:
    image = make(tmp_path / "a.qcow2", 1 << 20, backing_file="base.raw", backing_format="raw")
    (tmp_path / "base.raw").write_bytes(b"base".ljust(1 << 20, b"\0"))
    host.start(
        "-blockdev", f"driver=file,node-name=f0,filename={image}",
        "-blockdev", '{"driver": "qcow2", "node-name": "q0", "file": "f0", "discard": "unmap", "cache": {"direct": false}}',
        "-blockdev", "null-co,node-name=n0,size=1M,read-zeroes=on",
        "-blockdev", "raw,node-name=r0,file.driver=null-co,file.node-name=below,file.size=4M,offset=1M",
    )  # fmt: skip
    assert set(host.drives) == {"f0", "q0", "n0", "r0", "below"}
    assert read(host.drives["q0"], 0, 4) == b"base" and host.drives["r0"].size == 3 << 20
    for name in ("f0", "below"):
        with pytest.raises(BlockError, match=f"Block node '{name}' is already in use by node"):
            host.drives[name].attach("x")
    host.drives["q0"].attach("x")


def test_backing_options(host: Host, tmp_path: Path) -> None:
    image = make(tmp_path / "a.qcow2", 1 << 20, backing_file="gone.raw", backing_format="raw")
    (tmp_path / "other.raw").write_bytes(b"other".ljust(1 << 20, b"\0"))
    host.start(
        "-blockdev", f'{{"driver":"qcow2","node-name":"a","backing":null,"file":{{"driver":"file","filename":"{image}"}}}}',
    )  # fmt: skip
    assert read(host.drives["a"], 0, 5) == bytes(5)
    block_options.close(host)
    host.start("-drive", f"file={image},if=none,id=d,backing.driver=raw,backing.file.filename={tmp_path}/other.raw")
    assert read(host.drives["d"], 0, 5) == b"other"


@pytest.mark.parametrize(("words", "text"), [
    (["-drive", "if=none,id=x"], "Must specify either driver or file"),
    (["-drive", "file=A,if=none,format=bogus"], "Unknown driver 'bogus'"),
    (["-drive", "file=A,if=none,format=qcow2"], "Image is not in qcow2 format"),
    (["-drive", "file=A,if=none,format=raw,cache=bogus"], "invalid cache option 'bogus'"),
    (["-drive", "file=A,if=none,format=raw,readonly=maybe"], "Parameter 'read-only' expects 'on' or 'off'"),
    (["-drive", "file=A,if=none,format=raw,read-only=maybe"], "Parameter 'read-only' expects 'on' or 'off'"),
    (["-drive", "file=A,if=none,format=raw,nonsense=1"], "Block driver 'raw' does not support the option 'nonsense'"),
    (["-drive", "file=A,if=none,format=raw,file.nonsense=1"], "Block driver 'file' does not support the option 'nonsense'"),
    (["-drive", "file=A,if=none,format=raw,detect-zeroes=unmap"], "without setting discard operation to unmap"),
    (["-drive", "file=A,if=bogus"], "'bogus' is not one of ide"),
    (["-drive", "file=A,if=scsi"], "if=scsi: not implemented yet"),
    (["-drive", "file=foo:bar,if=none"], "Unknown protocol 'foo'"),
    (["-drive", "file=A,if=none,media=cdrom"], "media=cdrom: not implemented yet"),
    (["-drive", "file=A,if=none,index=x"], "index: a number from 0"),
    (["-drive", "driver=null-co,if=none,id=x", "-drive", "driver=null-co,if=none,id=x"], "Duplicate ID 'x' for drive"),
    (["-blockdev", "null-co"], "'node-name' must be specified"),
    (["-blockdev", "node-name=x"], "Parameter 'driver' is missing"),
    (["-blockdev", "raw,node-name=x,file=y"], "Cannot find device='y' nor node-name='y'"),
    (["-blockdev", "raw,node-name=x"], 'A block device must be specified for "file"'),
    (["-blockdev", "null-co,node-name=1x"], "Invalid node-name: '1x'"),
    (["-blockdev", "null-co,node-name=x", "-blockdev", "null-co,node-name=x"], "Duplicate nodes with node-name='x'"),
    (["-blockdev", "null-co,node-name=x,size=-1"], "Parameter 'size' expects a size"),
    (["-blockdev", "null-co,node-name=x", "-blockdev", "raw,node-name=a,file=x", "-blockdev", "raw,node-name=b,file=x"],
     "Block node 'x' is already in use by node 'a'"),
    (["-blockdev", "file,node-name=x"], "requires a file name"),
    (["-blockdev", "host_device,node-name=x,filename=A"], "requires it to be a block device"),
    (["-drive", "file=json:{,if=none"], "Could not parse the JSON options"),
])  # fmt: skip
def test_wrong_options(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "A").write_bytes(bytes(4096))
    with pytest.raises(BlockError) as caught:
        host.start(*words)
    assert text in str(caught.value) and str(caught.value).startswith(("-drive", "-blockdev")) and "\n" not in str(caught.value)


def test_formats_without_a_driver_are_named(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "a.vmdk"
    path.write_bytes(b"KDMV".ljust(4096))
    with pytest.raises(BlockError, match="image format 'vmdk' is not supported"):
        host.start("-drive", f"file={path},if=none")


def test_a_probed_raw_image_does_not_become_another_format(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(4096))
    host.start("-drive", f"file={path},if=none,id=d")
    assert "Image format was not specified" in capsys.readouterr().err
    assert do(host.drives["d"], "pwritev", 0, [memoryview(b"QFI\xfb" + bytes(508))]) == errno.EPERM
    assert do(host.drives["d"], "pwritev", 512, [memoryview(b"QFI\xfb" + bytes(508))]) == 0
    block_options.close(host)
    host.start("-drive", f"file={path},if=none,id=d,format=raw")
    assert do(host.drives["d"], "pwritev", 0, [memoryview(b"QFI\xfb" + bytes(508))]) == 0


def test_snapshot_keeps_nothing(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    path = tmp_path / "a.raw"
    path.write_bytes(b"before".ljust(70000, b"\0"))
    image = make(tmp_path / "a.qcow2", 1 << 20)
    host.start("-drive", f"file={path},format=raw,if=none,id=d,snapshot=on")
    block_options.close(host)
    host.start("-snapshot", "-drive", f"file={path},format=raw,if=none,id=d", "-drive", f"file={image},if=none,id=q")
    backend = host.drives["d"]
    assert not backend.read_only
    assert do(backend, "pwritev", 0, [memoryview(b"after!".ljust(512))]) == 0
    assert do(backend, "flush") == 0
    assert read(backend, 0, 6) == b"after!" and path.read_bytes().startswith(b"before")
    assert do(host.drives["q"], "pwritev", 0, [memoryview(b"x" * 512)]) == 0
    assert list(temporary.iterdir()) == []
    block_options.close(host)
    assert path.read_bytes().startswith(b"before")
    with open_qcow2(image) as node:
        assert node.get(0, 1) == b"\0"


def test_nested_options() -> None:
    assert nested({"a.b.c": "1", "a.d": "2", "e": "3"}) == {"a": {"b": {"c": "1"}, "d": "2"}, "e": "3"}
    assert nested({"l.0.x": "1", "l.1.x": "2"}) == {"l": [{"x": "1"}, {"x": "2"}]}
    for flat in ({"a": "1", "a.b": "2"}, {"a.b": "2", "a": "1"}):
        with pytest.raises(BlockError, match="has a value and options"):
            nested(flat)


# -- faults -----------------------------------------------------------------------------------------------------


def faulty(path: Path, *rules: dict[str, Any], **options: Any) -> Node:
    below = {"driver": "blkdebug", "image": {"driver": "file", "filename": str(path)}, "inject-error": list(rules)}
    return Graph().open({"driver": "qcow2", "file": below, **options})


def test_faults_reach_the_guest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "a.qcow2", 1 << 20)
    rules = {"event": "write_aio", "errno": 28, "once": True}, {"iotype": "read", "errno": 5, "sector": 0x50000 // 512}
    backend = BlockBackend("d", faulty(path, *rules), lambda call: None)
    assert do(backend, "pwritev", 0, [memoryview(b"x" * 512)]) == errno.ENOSPC
    assert do(backend, "pwritev", 0, [memoryview(b"y" * 512)]) == 0
    assert read(backend, 0, 2) == b"yy"
    assert do(backend, "flush") == 0
    backend.close()
    assert "(injected)" in capsys.readouterr().err
    for wrong in ({"event": "bogus"}, {"errno": "x"}, {"bogus": 1}):
        with pytest.raises(BlockError, match="blkdebug"):
            faulty(path, wrong)


@needs_qemu_img
@pytest.mark.parametrize("number", range(0, 24))
def test_an_image_survives_any_failed_write(tmp_path: Path, number: int) -> None:
    """The n-th write to the file fails, once: the guest sees an error, goes on, and the image is consistent."""
    path = make(tmp_path / "a.qcow2", 256 << 10, cluster_size=512)
    node = faulty(path)
    blkdebug = node.file
    assert blkdebug is not None
    count = 0
    plain_write = blkdebug.pwrite

    def pwrite(offset: int, views: iov.Views, fua: bool = False) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise OSError(errno.EIO, "once")
        plain_write(offset, views)

    blkdebug.pwrite = pwrite
    rng = random.Random(5)
    model = bytearray(256 << 10)
    for turn in range(30):
        at, data = rng.randrange(400) * 512, rng.randbytes(1024)
        try:
            write(node, at, data)
            model[at : at + 1024] = data
        except OSError:
            write(node, at, data)  # as a guest would do it again
            model[at : at + 1024] = data
        if turn % 5 == 4:
            try:
                node.flush()
            except OSError:
                node.flush()
    assert node.get(0, len(model)) == model
    node.close()
    clean(path)
    with open_qcow2(path) as again:
        assert again.get(0, len(model)) == model


# -- NBD --------------------------------------------------------------------------------------------------------


@needs_qemu_img
@pytest.mark.parametrize("way", ["unix", "url", "tcp"])
def test_nbd(host: Host, tmp_path: Path, way: str) -> None:
    path = make(tmp_path / "a.qcow2", 4 << 20)
    qemu_io(path, "write -P 7 1M 64k")
    where = tmp_path / "socket"
    pid = tmp_path / "pid"
    place = ["-k", str(where)] if way != "tcp" else ["-b", "127.0.0.1", "-p", "0"]
    if way == "tcp":
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = ["-b", "127.0.0.1", "-p", str(port)]
    subprocess.run(["qemu-nbd", "-f", "qcow2", "-x", "disk", "--discard=unmap", "--pid-file", pid, "--fork", *place, path],
                   check=True, timeout=600)  # fmt: skip
    name = {"unix": f"nbd:unix:{where}:exportname=disk", "url": f"nbd+unix:///disk?socket={where}"}
    host.start("-drive", f"file={name[way] if way != 'tcp' else f'nbd://127.0.0.1:{port}/disk'},format=raw,if=none,id=d,discard=unmap")
    backend = host.drives["d"]
    assert backend.size == 4 << 20
    assert read(backend, (1 << 20) - 512, 1024) == bytes(512) + b"\7" * 512
    done: list[int] = []
    for number in range(20):
        backend.pwritev(number * 65536, [memoryview(bytes([number]) * 30000), memoryview(bytes([number]) * 35536)], done.append)
    backend.drain()
    assert done == [0] * 20
    assert do(backend, "discard", 0, 65536) == 0
    assert do(backend, "write_zeroes", 65536, 65536) == 0
    assert do(backend, "pwritev", 0, [memoryview(b"last" * 128)], fua=True) == 0
    assert do(backend, "flush") == 0
    assert read(backend, 19 * 65536, 10) == bytes([19]) * 10
    assert read(backend, 65536, 65536) == bytes(65536)
    server = os.pidfd_open(int(pid.read_text()))
    block_options.close(host)
    assert select.select([server], [], [], 300)[0]  # it ends with its only client
    os.close(server)
    clean(path)
    with open_qcow2(path) as node:
        assert node.get(0, 4) == b"last" and node.get(2 * 65536, 1) == b"\2"


class Server:
    """An NBD server that answers what the test says."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        import socket
        import threading

        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen(1)

        def run() -> None:
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(300)
                with contextlib.suppress(OSError):
                    for answer in answers:
                        connection.sendall(answer)
                        if not answer or not connection.recv(4096):
                            return

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.thread.join()
        self.socket.close()


HELLO = b"NBDMAGICIHAVEOPT\0\3"
REPLY = bytes.fromhex("0003e889045565a900000007")


@pytest.mark.parametrize(("answers", "text"), [
    ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "not an NBD server"),
    ([b"NBDMAGICIHAVEOPT\0\0"], "fixed newstyle"),
    ([HELLO, b"nonsense" * 10], "talks nonsense"),
    ([HELLO, REPLY + b"\0\0\0\3" + b"\xff\xff\xff\xff"], "talks nonsense"),
    ([HELLO, REPLY + b"\x80\0\0\6" + b"\0\0\0\0"], "Requested export not available"),
    ([HELLO, REPLY + b"\x80\0\0\2" + b"\0\0\0\4no\x1b!"], "refuses: no.!"),
    ([HELLO, REPLY + b"\0\0\0\3\0\0\0\x0c\0\0" + b"\xff" * 8 + b"\0\1" + REPLY + b"\0\0\0\1\0\0\0\0"], "size makes no sense"),
    ([HELLO, REPLY + b"\0\0\0\3\0\0\0\x0c\0\0" + b"\0" * 8 + b"\0\3" + REPLY + b"\0\0\0\1\0\0\0\0"], "export is read-only"),
    ([b""], "handshake with the NBD server failed"),
])  # fmt: skip
def test_nbd_servers_that_misbehave(host: Host, tmp_path: Path, answers: list[bytes], text: str) -> None:
    path = tmp_path / "s"
    server = Server(path, *answers)
    server.socket.settimeout(300)
    with pytest.raises(BlockError, match=text):
        host.start("-blockdev", f"nbd,node-name=n,server.type=unix,server.path={path}")
    server.thread.join(300)
    server.socket.close()


def test_a_lost_connection_is_an_error(host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    ready = REPLY + b"\0\0\0\3\0\0\0\x0c\0\0" + (1 << 20).to_bytes(8, "big") + b"\0\5" + REPLY + b"\0\0\0\1\0\0\0\0"
    server = Server(path, HELLO, ready, b"\0" * 16)  # an answer that is none
    host.start("-blockdev", f"nbd,node-name=n,server.type=unix,server.path={path}")
    backend = host.drives["n"]
    view = [memoryview(bytearray(512))]
    assert do(backend, "preadv", 0, view) == errno.EIO
    assert do(backend, "preadv", 0, view) == errno.EIO
    assert "nonsense" in capsys.readouterr().err
    server.socket.close()


# -- with a machine ---------------------------------------------------------------------------------------------


def test_a_machine_that_stops_or_ends_has_its_disks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pcemu.machine import builder
    from pcemu.machine.machine import Machine
    from pcemu.testing.fakes import FakeCore

    path = make(tmp_path / "a.qcow2", 1 << 20, lazy_refcounts=True)
    syncs: list[int] = []
    monkeypatch.setattr(os, "fdatasync", syncs.append)
    monkeypatch.setattr(builder, "_load_images", lambda machine: None)
    config = parse(["-nodefaults", "-M", "none", "-S", "-drive", f"file={path},if=none,id=d"])
    with Machine(config, core=FakeCore()).build() as machine:
        backend = machine.drives["d"]
        done: list[int] = []
        machine.cont()
        backend.pwritev(0, [memoryview(b"x" * 512)], done.append)
        machine.stop()
        for _ in range(100):
            machine.loop.call_soon(machine.loop.stop)
            machine.loop.run_forever()
            if not backend.in_flight:
                break
        backend.drain()
        assert done == [0] and syncs
        assert backend.root.header.incompatible  # dirty while it is open
    assert os.path.exists(path)
    with open_qcow2(path, **{"read-only": True}) as node:
        assert isinstance(node, Qcow2Node)
        assert node.get(0, 512) == b"x" * 512 and not node.header.incompatible


def test_host_device(tmp_path: Path) -> None:
    """A loop device, where the test may make one."""
    backing = tmp_path / "disk"
    backing.write_bytes(b"on disk".ljust(1 << 20, b"\0"))
    if shutil.which("losetup") is None:
        pytest.skip("losetup is not installed")
    done = subprocess.run(["losetup", "-f", "--show", str(backing)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no loop device")
    device = done.stdout.strip()
    try:
        with pytest.raises(BlockError, match="not a regular file"):
            FileNode(device)
        with open_node(Path(device), "raw") as node:
            assert isinstance(node.file, FileNode) and node.file.driver == "host_device"
            assert node.size == 1 << 20 and node.get(0, 7) == b"on disk"
            write(node, 4096, b"y" * 512)
            node.write_zeroes(0, 4096)
            node.discard(8192, 4096)
            node.flush()
            assert node.get(0, 8192) == bytes(4096) + b"y" * 512 + bytes(3584)
            with pytest.raises(OSError, match="cannot grow"):
                node.truncate(2 << 20)
        assert backing.read_bytes()[4096:4100] == b"yyyy"
    finally:
        subprocess.run(["losetup", "-d", device], check=False)
