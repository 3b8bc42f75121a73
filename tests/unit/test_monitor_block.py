"""QMP and the human monitor about disks and networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pcemu import chardev, monitor
from pcemu.block.file import FileNode
from pcemu.block.qcow2.create import format_file, new_header
from pcemu.machine.config import DeviceConfig, MachineConfig, NetdevConfig
from pcemu.machine.machine import Machine
from pcemu.monitor import Shell, commands_block
from pcemu.monitor.introspect import schema
from pcemu.testing.fakes import FakeCore

pytest.importorskip("pcemu._core.ring", reason="virtio's queues need the core")


class Driver:
    """QMP and a shell for one machine whose loop the test turns."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.shell = Shell(machine)
        self.stream: Any = chardev.create(machine, {"backend": "ringbuf", "id": "qmp", "size": "4M"})
        monitor.create(machine, self.stream, mode="control")
        self.events: list[dict[str, Any]] = []
        self.ask("qmp_capabilities")

    def ask(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        request = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.stream.feed(json.dumps({"execute": name, "arguments": request}).encode())
        for _ in range(3):
            self.machine.loop.call_soon(self.machine.loop.stop)
            self.machine.loop.run_forever()
        found = [json.loads(line) for line in self.stream.read_ring(1 << 22).decode().split("\r\n") if line]
        self.events += [each for each in found if "event" in each]
        answers: list[dict[str, Any]] = [each for each in found if "event" not in each and "QMP" not in each]
        return answers[-1]

    def run(self, name: str, /, **arguments: Any) -> Any:
        answer = self.ask(name, **arguments)
        assert "return" in answer, answer
        schema().results[name].check(answer["return"], name)
        return answer["return"]

    def error(self, name: str, /, **arguments: Any) -> str:
        text: str = self.ask(name, **arguments)["error"]["desc"]
        return text


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    config = MachineConfig(
        ram_size=1 << 20,
        blockdevs=[{"driver": "raw", "node-name": "n0", "file.driver": "file", "file.filename": str(tmp_path / "disk")}],
        drives=[{"if": "none", "id": "dr", "driver": "null-co", "size": "1M", "readonly": "on"}],
        netdevs=[NetdevConfig([("type", "hubport"), ("id", "h0"), ("hubid", "1")])],
        devices=[DeviceConfig("virtio-blk-pci", {"drive": "n0", "id": "d0"}),
                 DeviceConfig("virtio-net-pci", {"netdev": "h0", "id": "nic0", "mac": "52:54:00:11:22:33"})],
    )  # fmt: skip
    made = Machine(config, core=FakeCore()).build()
    yield made
    made.close()


@pytest.fixture
def driver(machine: Machine) -> Driver:
    return Driver(machine)


def test_disks(driver: Driver, tmp_path: Path) -> None:
    drive, disk = sorted(driver.run("query-block"), key=lambda entry: not entry["device"])
    assert (drive["device"], drive["inserted"]["ro"], "qdev" in drive) == ("dr", True, False)
    assert (disk["device"], disk["qdev"], disk["io-status"]) == ("", "/machine/peripheral/d0/virtio-backend", "ok")
    inserted = disk["inserted"]
    assert (inserted["node-name"], inserted["drv"], inserted["file"]) == ("n0", "raw", str(tmp_path / "disk"))
    assert inserted["image"]["virtual-size"] == 1 << 20
    assert driver.shell.run("info block n0").splitlines() == [
        f"n0: {tmp_path}/disk (raw)", "    Attached to:      /machine/peripheral/d0/virtio-backend",
        "    Cache mode:       writeback"]
    assert "(null-co, read-only)\n" in driver.shell.run("info block dr")
    assert driver.run("query-block-jobs") == driver.run("query-jobs") == []
    assert [node["node-name"] for node in driver.run("query-named-block-nodes", flat=True)] == ["n0"]


def test_a_qcow2_image(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.touch()
    with FileNode(str(path)) as file:
        format_file(file, new_header(1 << 20, compression_type="zlib"))
    driver.run("blockdev-add", driver="qcow2", node_name="q", file={"driver": "file", "filename": str(path)})
    (image,) = (node["image"] for node in driver.run("query-named-block-nodes") if node["node-name"] == "q")
    data = image["format-specific"]["data"]
    assert (data["compat"], data["refcount-bits"], data["corrupt"]) == ("1.1", 16, False)
    assert "Format specific information:\n    compat: 1.1\n    compression type: zlib\n" in commands_block._show_images(image)


def test_statistics(driver: Driver) -> None:
    backend = driver.machine.drives["n0"]
    ended: list[int] = []
    buffer = bytearray(4096)
    backend.preadv(0, [memoryview(buffer)], ended.append)
    backend.pwritev(8192, [memoryview(b"x" * 512)], ended.append)
    backend.pwritev(1 << 30, [memoryview(b"x" * 512)], ended.append)        # beyond the end
    backend.flush(ended.append)
    backend.drain()
    stats = next(entry["stats"] for entry in driver.run("query-blockstats") if entry.get("node-name") == "n0")
    assert (stats["rd_bytes"], stats["rd_operations"]) == (4096, 1)
    assert (stats["wr_bytes"], stats["wr_operations"], stats["invalid_wr_operations"]) == (512, 1, 1)
    assert stats["wr_highest_offset"] == 8192 + 512 and stats["flush_operations"] == 1
    assert stats["wr_total_time_ns"] > 0 and len(ended) == 4
    assert "rd_bytes=4096 wr_bytes=512 rd_operations=1 wr_operations=1 flush_operations=1" in driver.shell.run("info blockstats")


def test_nodes_come_and_go(driver: Driver) -> None:
    driver.run("blockdev-add", driver="null-co", node_name="nn", size=4096)
    driver.run("blockdev-add", driver="raw", node_name="top", file="nn")
    assert "busy" in driver.error("blockdev-del", node_name="nn")
    driver.run("blockdev-del", node_name="top")
    assert driver.error("blockdev-del", node_name="nn").startswith("Failed to find node")
    assert "in use" in driver.error("blockdev-del", node_name="n0")
    assert driver.error("blockdev-add", driver="nope", node_name="x").startswith("Unknown driver 'nope'")
    assert "'node-name' must be specified" in driver.error("blockdev-add", driver="null-co")


def test_resizing(driver: Driver, tmp_path: Path) -> None:
    resized: list[int] = []
    backend = driver.machine.drives["n0"]
    backend.on_resize = lambda: resized.append(backend.size)
    driver.run("block_resize", node_name="n0", size=2 << 20)
    assert resized == [2 << 20] and (tmp_path / "disk").stat().st_size == 2 << 20
    assert driver.shell.run("block_resize n0 0x100000") == ""
    assert resized == [2 << 20, 1 << 20]
    assert "read-only" in driver.error("block_resize", device="dr", size=512)
    assert driver.error("block_resize", size=512) == "Need exactly one of 'device' and 'node-name'"
    assert driver.error("block_resize", device="zz", size=1).startswith("Cannot find")


def test_an_error_of_the_disk(driver: Driver) -> None:
    disk: Any = next(device for device in driver.machine.devices if device.type_name == "virtio-blk-device")
    driver.run("cont")
    tried: list[int] = []
    assert disk._failed(28, "enospc", lambda: tried.append(1), "write")
    driver.ask("query-status")
    event = next(event for event in driver.events if event["event"] == "BLOCK_IO_ERROR")
    schema().events["BLOCK_IO_ERROR"].check(event["data"], "")
    assert event["data"] == {"device": "", "node-name": "n0", "operation": "write", "nospace": True, "action": "stop",
                             "reason": "No space left on device"}
    assert driver.run("query-status")["status"] == "io-error"
    assert next(entry for entry in driver.run("query-block") if not entry["device"])["io-status"] == "nospace"
    driver.run("cont")
    assert tried == [1]
    assert not disk._failed(5, "report", lambda: None, "read")


def test_networks(driver: Driver) -> None:
    assert driver.shell.run("info network") == (
        "hub 1\n \\ h0: nic0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:11:22:33\n")
    driver.run("netdev_add", type="hubport", id="h1", hubid=3)
    assert "hub 3\n \\ h1" in driver.shell.run("info network")
    assert driver.error("netdev_add", type="hubport", id="h1", hubid=3) == "Duplicate ID 'h1' for netdev"
    assert driver.error("netdev_add", type="hubport", id="h2", hubid={"a": None}).startswith("Invalid parameter type")
    driver.run("netdev_del", id="h1")
    assert driver.error("netdev_del", id="h1") == "Device 'h1' not found"
    card = next(client for client in driver.machine.net_clients if client.name == "nic0")
    driver.run("set_link", name="nic0", up=False)
    assert not card.link_up
    assert driver.shell.run("set_link nic0 on") == ""
    assert card.link_up
    driver.run("set_link", name="h0", up=False)
    assert not card.link_up
    assert driver.shell.run("info virtio") == (
        "/machine/peripheral/nic0/virtio-backend [virtio-net]\n/machine/peripheral/d0/virtio-backend [virtio-blk]\n")
