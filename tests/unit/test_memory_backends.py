"""Guest RAM from -object memory-backend-*, -mem-path and -mem-prealloc."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostmemory import mappings

from pcemu.cli.parser import parse
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell
from pcemu.qom.errors import PcemuError

engine = pytest.importorskip("pcemu._core.engine")
QUIET = ["-nodefaults", "-display", "none", "-S"]


def machine(*words: str) -> Machine:
    made = Machine(parse([*QUIET, *words]))
    try:
        return made.build()
    except BaseException:
        made.close()
        raise


def test_ram_of_a_backend() -> None:
    with machine("-object", "memory-backend-ram,id=big,size=48M", "-machine", "pc,memory-backend=big") as vm:
        assert vm.ram_size == 48 << 20 and vm.ram is not None and vm.ram.name == "big"
        shell = Shell(vm)
        assert "memory backend: big\n  size:  50331648\n" in shell.run("info memdev")
        assert "base memory: 50331648" in shell.run("info memory_size_summary")
    with machine("-m", "32", "-object", "memory-backend-memfd,id=m,size=32M,share=on", "-machine", "memory-backend=m") as vm:
        vm.memory.write(0x100000, b"there")
        assert vm.memory.read(0x100000, 5) == b"there"


def test_prealloc() -> None:
    for words, low, high in (((), 0, 10 << 10), (("-mem-prealloc",), 19 << 10, 30 << 10)):
        with machine("-m", "20", *words) as vm:
            resident = sum(int(each["Rss"].split()[0]) for each in mappings(vm))        # KiB
            assert low <= resident < high


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ram"
    line = ("-machine", "pc,memory-backend=f", "-object", f"memory-backend-file,id=f,size=16M,mem-path={path},share=on")
    with machine(*line) as vm:
        vm.memory.write(0x200000, b"what the guest wrote")
    data = path.read_bytes()
    assert len(data) == 16 << 20 and data[0x200000:][:20] == b"what the guest wrote"
    with machine(*line) as vm:
        assert vm.memory.read(0x200000, 20) == b"what the guest wrote", "and it is there the next time"
    private = (*line[:-1], line[-1].replace("share=on", "readonly=on"))
    with machine(*private) as vm:
        assert vm.memory.read(0x200000, 4) == b"what"
        vm.memory.write(0x200000, b"gone")
    assert path.read_bytes() == data


def test_a_guest_runs_in_a_file(tmp_path: Path) -> None:
    config = parse([*QUIET[:-1], "-m", "16", "-mem-path", str(tmp_path), "-kernel", "builtin:tour", "-serial", "null"])
    with Machine(config).build() as vm:
        vm.cont()
        assert vm.step(20_000) == 20_000
    assert list(tmp_path.iterdir()) == [], "it has no name"


@pytest.mark.parametrize(("words", "text"), [
    (["-machine", "memory-backend=x"], "there is no memory backend of that name"),
    (["-object", "rng-builtin,id=x", "-machine", "memory-backend=x"], "there is no memory backend of that name"),
    (["-m", "64", "-object", "memory-backend-ram,id=x,size=32M", "-machine", "memory-backend=x"], "must match its size"),
    (["-object", "memory-backend-ram,id=x"], "can't create backend with size 0"),
    (["-object", "memory-backend-file,id=x,size=1M"], "Parameter 'mem-path' is missing"),
    (["-object", "memory-backend-file,id=x,size=1M,mem-path=/nowhere/x"], "can't open backing store /nowhere/x"),
    (["-object", "memory-backend-file,id=x,size=1M,mem-path=FILE"], "backing store size 0x1000 does not match"),
    (["-object", "memory-backend-memfd,id=x,size=1M,hugetlb=on"], "hugetlb=on: not implemented yet"),
    (["-object", "memory-backend-ram,id=x,size=1M,policy=bind"], "policy=bind: not implemented yet"),
    (["-mem-path", "/tmp", "-machine", "memory-backend=x"], "can't be used together"),
])  # fmt: skip
def test_what_cannot_be(tmp_path: Path, words: list[str], text: str) -> None:
    (tmp_path / "short").write_bytes(bytes(4096))
    with pytest.raises(PcemuError, match=text):
        machine(*(word.replace("FILE", str(tmp_path / "short")) for word in words))
