"""dump-guest-memory: what gdb and readelf find in the file."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu.machine.config import MachineConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell

pytest.importorskip("pcemu._core.engine", reason="the core is not built")
needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")

RAM = 4 << 20
TEXT = b"a sentence in the guest's memory"
HIGH = 0xFFFF800000000000


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine(MachineConfig(machine="none", ram_size=RAM, cpu="max")).build()
    made.memory.write(0x5000, TEXT)
    yield made
    made.close()


def long_mode(machine: Machine) -> None:
    """Page 5 of memory is mapped at HIGH, nothing else."""
    for table, index, entry in ((0x1000, 256, 0x2003), (0x2000, 0, 0x3003), (0x3000, 0, 0x4003), (0x4000, 0, 0x5003)):
        machine.memory.write(table + 8 * index, struct.pack("<Q", entry))
    cpu = machine.cpu
    for name, value in (("cr3", 0x1000), ("cr4", 1 << 5), ("efer", 0x500), ("cr0", 0x80000001), ("cs", 0x10),
                        ("rip", HIGH + 0x10), ("rax", 0x1122334455667788), ("r15", 0xCAFE)):  # fmt: skip
        cpu.set(name, value)


def gdb(core: Path, *commands: str) -> str:
    arguments = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(["gdb", "-nx", "-q", "-batch", *arguments, str(core)], capture_output=True, text=True, timeout=600)
    return done.stdout


@needs_gdb
def test_real_mode(machine: Machine, tmp_path: Path) -> None:
    machine.cpu.set("rbx", 0x1234)
    core = tmp_path / "core"
    assert Shell(machine).run(f"dump-guest-memory {core}") == ""
    assert Shell(machine).run("info dump") == "Status: completed\n"
    said = gdb(core, f"core-file {core}", "info registers eip ebx", "x/s 0x5000")
    assert "0xfff0" in said and "0x1234" in said and TEXT.decode() in said


@needs_gdb
def test_long_mode_with_paging(machine: Machine, tmp_path: Path) -> None:
    long_mode(machine)
    core = tmp_path / "core"
    assert Shell(machine).run(f"dump-guest-memory -p {core}") == ""
    said = gdb(core, "set architecture i386:x86-64", f"core-file {core}", "info registers rip rax r15", f"x/s {HIGH:#x}")
    assert f"{HIGH + 0x10:#x}" in said and "0x1122334455667788" in said and "0xcafe" in said
    assert TEXT.decode() in said


def headers(core: Path) -> tuple[int, list[tuple[int, ...]]]:
    """(machine, program headers) of an ELF64 file."""
    data = core.read_bytes()
    assert data[:5] == b"\x7fELF\2"
    machine, = struct.unpack_from("<H", data, 18)
    start, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    return machine, [struct.unpack_from("<IIQQQQQQ", data, start + size * n) for n in range(count)]


def test_every_byte_of_ram_is_there_once(machine: Machine, tmp_path: Path) -> None:
    long_mode(machine)
    core = tmp_path / "core"
    Shell(machine).run(f"dump-guest-memory -p {core}")
    number, found = headers(core)
    assert number == 62
    loads = sorted((physical, size, offset, virtual) for kind, _, offset, virtual, physical, size, _, _ in found if kind == 1)
    at = 0
    for physical, size, offset, _ in loads:
        assert physical == at
        assert core.read_bytes()[offset:offset + size] == bytes(machine.memory.read(physical, size))
        at += size
    assert at == RAM
    assert [virtual for physical, _, _, virtual in loads if physical == 0x5000] == [HIGH]


def test_a_part(machine: Machine, tmp_path: Path) -> None:
    shell, core = Shell(machine), tmp_path / "core"
    assert shell.run(f"dump-guest-memory {core} 0x5000 0x20") == ""
    assert core.read_bytes().endswith(TEXT)
    assert "expects an address that is in RAM" in shell.run(f"dump-guest-memory {core} 0x80000000 16")
    assert "'length' is missing" in shell.run(f"dump-guest-memory {core} 0x5000")
    assert "Could not open" in shell.run(f"dump-guest-memory {tmp_path}/no/file")


def test_detached(machine: Machine, tmp_path: Path) -> None:
    from pcemu import chardev, monitor

    stream: Any = chardev.create(machine, {"backend": "ringbuf", "id": "q", "size": "1M"})
    monitor.create(machine, stream, mode="control")
    machine.cont()
    stream.feed(b'{"execute":"qmp_capabilities"}{"execute":"dump-guest-memory","arguments":{"paging":false,"detach":true,'
                b'"protocol":"file:' + str(tmp_path / "core").encode() + b'"}}{"execute":"query-dump"}')
    text = b""
    for _ in range(100):
        machine.loop.call_soon(machine.loop.stop)
        machine.loop.run_forever()
        text += stream.read_ring(1 << 20)
        if b"DUMP_COMPLETED" in text:
            break
    assert b'"status": "active"' in text and b'"status": "completed", "completed": %d, "total": %d' % (RAM, RAM) in text
    assert machine.status == "running"
