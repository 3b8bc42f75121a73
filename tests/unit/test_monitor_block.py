"""QMP and the human monitor about disks and networks."""

from __future__ import annotations

import errno
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
    names = [node["node-name"] for node in driver.run("query-named-block-nodes", flat=True)]
    assert sorted(names) == ["#block001", "#block002", "n0"]
    assert drive["inserted"]["node-name"] == "#block001" and names == [
        node["node-name"] for node in driver.run("query-named-block-nodes", flat=True)], "names stay"
    assert [line for line in driver.shell.run("info block -n").splitlines() if line[:1] not in " "] == [
        "#block001: null-co:// (null-co, read-only)", f"n0: {tmp_path}/disk (raw)", f"#block002: {tmp_path}/disk (file)"]
    assert "read-only" in driver.error("block_resize", node_name="#block001", size=512)


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
    assert driver.shell.run("block_resize n0 1") == ""        # MiB
    assert driver.shell.run("block_resize n0 1536k") == ""
    assert resized == [2 << 20, 1 << 20, 3 << 19]
    assert "invalid size '1x'" in driver.shell.run("block_resize n0 1x")
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


def test_drives_come_and_go(driver: Driver, tmp_path: Path) -> None:
    machine, disk = driver.machine, tmp_path / "other"
    disk.write_bytes(bytes(4096))
    opts = f"if=none,id=new,file={disk},format=raw,file.locking=on"
    assert driver.shell.run(f"drive_add 0 {opts}") == "OK\n"
    assert "Duplicate ID 'new'" in driver.shell.run(f"drive_add 0 {opts}")
    assert "if=none is needed" in driver.shell.run("drive_add 0 id=x,driver=null-co")
    assert driver.shell.run("drive_add 0 if=none,driver=null-co") == "OK\n" and "none0" in machine.drives
    assert driver.shell.run("drive_add -n 0 driver=null-co,node-name=nn") == "" and "nn" in machine.drives
    assert "'node-name' needs" in driver.shell.run("drive_add -n 0 driver=null-co")
    assert driver.shell.run("drive_del nothing") == "Device 'nothing' not found\n"
    assert "Node n0 is in use" in driver.shell.run("drive_del n0")
    for name in ("none0", "nn", "new"):
        assert driver.shell.run(f"drive_del {name}") == "" and name not in machine.drives
    assert driver.shell.run(f"drive_add 0 {opts}") == "OK\n", "the file is free again"


def test_a_disk_is_taken_from_its_device(driver: Driver) -> None:
    """The device stays, and its requests fail."""
    assert driver.shell.run("drive_add 0 if=none,id=new,driver=null-co,size=1M,werror=stop") == "OK\n"
    driver.run("device_add", driver="virtio-blk-pci", drive="new", id="d1")
    device: Any = next(device for device in driver.machine.devices if getattr(getattr(device, "drive", None), "id", "") == "new")
    assert driver.shell.run("drive_del new") == ""
    assert (device.on_read_error, device.on_write_error) == ("report", "report")
    ended: list[int] = []
    device.drive.preadv(0, [memoryview(bytearray(512))], ended.append)
    device.drive.pwritev(0, [memoryview(bytes(512))], ended.append)
    device.drive.drain()
    assert ended == [errno.ENOMEDIUM] * 2
    path = "/machine/peripheral/d1/virtio-backend"
    gone = next(entry for entry in driver.run("query-block") if entry.get("qdev") == path)
    assert gone["device"] == "" and "inserted" not in gone
    assert driver.shell.run("info block").startswith(f"{path}: [not inserted]\n    Attached to:      {path}\n\n")
    assert path in [entry.get("qdev") for entry in driver.run("query-blockstats")]
    assert driver.shell.run("info blockstats")
    driver.run("device_del", id="d1")


def test_snapshots_in_images(driver: Driver, tmp_path: Path) -> None:
    from pcemu.img.main import main

    assert driver.shell.run("info snapshots") == "no block device can store vmstate for snapshot\n"
    for name, shots in (("one", ("a", "b")), ("two", ("b",))):
        assert main(["create", "-q", "-f", "qcow2", str(tmp_path / name), "1M"]) == 0
        for shot in shots:
            assert main(["snapshot", "-c", shot, str(tmp_path / name)]) == 0
    assert driver.shell.run(f"drive_add 0 if=none,id=one,file={tmp_path}/one,format=qcow2") == "OK\n"
    lines = driver.shell.run("info snapshots").splitlines()
    assert lines[:4] == ["List of snapshots present on all disks:", "None", "",
                         "List of partial (non-loadable) snapshots on 'one':"]  # fmt: skip
    assert [line.split()[:2] for line in lines[5:]] == [["1", "a"], ["2", "b"]]
    driver.shell.run(f"drive_add 0 if=none,id=two,file={tmp_path}/two,format=qcow2")
    driver.run("device_del", id="d0")
    driver.machine.drives.pop("n0").close()         # a raw disk has none: without it, `b` is everywhere
    text = driver.shell.run("info snapshots")
    assert [line.split()[:2] for line in text.splitlines()[2:]] == [
        ["--", "b"], [], ["List", "of"], ["ID", "TAG"], ["1", "a"]]


def test_announcements(driver: Driver) -> None:
    """Frames that switches learn from, and the guest is asked to tell its addresses."""
    from pcemu.net.announce import Announcement

    machine = driver.machine
    card: Any = next(device for device in machine.devices if hasattr(device, "announce"))
    sent: list[bytes] = []
    asked: list[int] = []
    card.pairs[0].client.send = lambda frame, offload=None: sent.append(bytes(frame)) or True
    card.announce = lambda: asked.append(1)
    driver.run("announce-self", initial=0, max=0, rounds=3, step=0)
    for _ in range(20):
        driver.ask("query-status")
    mac = bytes.fromhex("525400112233")
    arp = bytes.fromhex("0001 0800 06 04 0003") + 2 * (mac + bytes(4))
    assert sent == [(b"\xff" * 6 + mac + b"\x80\x35" + arp).ljust(60, b"\0")] * 3 and len(asked) == 3
    assert machine.announcements == {}
    driver.run("announce-self", initial=0, max=0, rounds=1, step=0, interfaces=["other"], id="x")
    assert len(sent) == 3
    assert driver.shell.run("announce_self nic0,other slow") == "" and len(sent) == 4
    running: Announcement = machine.announcements["slow"]
    assert running.delay() == 50
    running.done = 3
    assert running.delay() == 250
    running.done = 100
    assert running.delay() == 550
    driver.run("announce-self", initial=0, max=0, rounds=0, step=0, id="slow")       # takes the place of the other
    assert machine.announcements == {} and len(sent) == 4
    assert "'step' expects" in driver.error("announce-self", initial=0, max=0, rounds=0, step=-1)
