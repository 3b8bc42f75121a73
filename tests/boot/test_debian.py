"""A whole Debian on a qcow2 disk: made by debootstrap, used under systemd, changed by packages, hot-plug and the balloon.

The root file system is made by scripts/debianroot.py when it is not in the cache; then its second stage runs in a guest.
"""

from __future__ import annotations

import functools
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from boot import runner

from scripts import debianroot, guests

pytestmark = [pytest.mark.boot, pytest.mark.fetch, pytest.mark.slow]

PCEMU = [sys.executable, "-m", "pcemu"]
QEMU = ["qemu-system-x86_64", "-accel", "tcg"]
MIB = 1 << 20


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def mirror() -> Iterator[int]:
    """The port of an archive with a few packages, on the host's loopback."""
    handler = functools.partial(Quiet, directory=str(debianroot.MIRROR))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def img(*words: object) -> str:
    command = [sys.executable, "-m", "pcemu.img", *map(str, words)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=guests.ROOT).stdout


class Guest:
    """A Debian that runs: its console, and the emulator's QMP."""

    def __init__(self, emulator: list[str], disk: Path, *options: str) -> None:
        self._path = disk.with_suffix(".qmp")
        self._path.unlink(missing_ok=True)
        self.events: list[dict[str, Any]] = []
        command = [
            *emulator, "-m", "512", "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
            "-qmp", f"unix:{self._path},server=on,wait=off",
            "-kernel", str(guests.get("cloud")), "-initrd", str(debianroot.initrd()),
            "-append", "console=ttyS0 root=/dev/vda panic=-1 mitigations=off",
            "-drive", f"file={disk},if=virtio,format=qcow2,discard=unmap",
            "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile=", *options,
        ]  # fmt: skip
        self.console = runner.Running(command, disk.parent, [])

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.console.close()

    def login(self) -> None:
        self.console.expect(r"^guest login: ")
        self.console.send("root\n")
        self.console.expect(r"^Password: ")
        self.console.send(debianroot.PASSWORD + "\n")
        self.console.expect(r"root@guest:~# ")
        self.console.send("exec sh\n")  # which does not edit lines
        self.console.expect(r"^(\x1b\[\?2004l)?# ")
        self.console.send("stty -echo; PS1=; PS2=; dmesg -n 1; echo REA''DY\n")
        self.console.expect(r"^READY$")

    def run(self, command: str) -> bool:
        """Run a command in the guest; true if it succeeds."""
        self.console.send(f"if {{ {command}; }} </dev/null; then echo SUC''CESS; else echo FAIL''URE; fi\n")
        self.console.expect(r"(SUCCESS|FAILURE)$")
        return self.console.out.rstrip().endswith("SUCCESS")

    def read(self, command: str) -> str:
        """What a command in the guest prints."""
        self.console.send(f"echo; echo BEG''IN; {command}; echo; echo E''ND\n")
        self.console.expect(r"^BEGIN$")
        begin = self.console.seen
        self.console.expect(r"^END$")
        return self.console.out[begin : self.console.seen].removesuffix("END").strip()

    def wait(self, condition: str) -> None:
        """Until a command in the guest succeeds, or minutes have passed there: it gets what a busy host leaves it."""
        assert self.run(f"for i in $(seq 3000); do {condition} && break; sleep 0.1; done; {condition}"), condition

    def power_off(self) -> None:
        self.console.send("systemctl poweroff -f\n")
        assert self.console.finish() == 0, self.console.report()
        assert "reboot: Power down" in self.console.out
        if self.console.command[0] == QEMU[0]:
            return  # on a busy host its guests complain of lost ticks, and that is not for us to judge
        trouble = runner.check_output(runner.Case("debian", "", linux=True), self.console.out)
        assert not trouble, trouble

    @functools.cached_property
    def _qmp(self) -> Any:
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(runner.PATIENCE)
        made.connect(str(self._path))
        stream = made.makefile("rw")
        stream.readline()  # the greeting
        return stream

    def ask(self, name: str, **arguments: Any) -> Any:
        """A QMP command's answer."""
        if not self.__dict__.get("_qmp"):
            self._send("qmp_capabilities")
        return self._send(name, **{key.replace("_", "-"): value for key, value in arguments.items()})

    def _send(self, name: str, **arguments: Any) -> Any:
        self._qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while True:
            answer = json.loads(self._qmp.readline())
            if "event" in answer:
                self.events.append(answer)
            else:
                return answer["return"]

    def event(self, matches: Callable[[dict[str, Any]], bool]) -> None:
        """Wait for an event."""
        while not any(matches(event) for event in self.events):
            self.events.append(json.loads(self._qmp.readline()))
        self.events.clear()


def use_the_network(guest: Guest, port: int) -> None:
    """An address by DHCP, and a package from a mirror."""
    guest.wait("hostname -I | grep -q '^10.0.2.15 '")
    assert guest.run(f"echo 'deb [trusted=yes] http://10.0.2.2:{port} bookworm main' >/etc/apt/sources.list")
    assert not guest.run("command -v jq")
    assert guest.run("apt-get -qq update && apt-get -qq -y install jq >/dev/null 2>&1"), guest.console.report()
    assert guest.read("echo '{\"fruit\": [6, 7]}' | jq -M '.fruit[0] * .fruit[1]'") == "42"


def plug_a_disk(guest: Guest, path: Path) -> None:
    img("create", "-q", "-f", "qcow2", path, "64M")
    guest.ask("blockdev-add", node_name="late", driver="qcow2", file={"driver": "file", "filename": str(path)})
    guest.ask("device_add", driver="virtio-blk-pci", id="hot0", drive="late", serial="LATE")
    guest.wait("[ -b /dev/vdb ]")
    assert guest.read("cat /sys/block/vdb/serial; echo; cat /sys/block/vdb/size").split() == ["LATE", "131072"]
    assert guest.run("mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && cp /usr/bin/perl /mnt/ && sync && umount /mnt")
    assert guest.run("mount /dev/vdb /mnt && cmp /usr/bin/perl /mnt/perl; r=$?; umount /mnt; [ $r = 0 ]")
    unplug(guest, "hot0")
    guest.wait("[ ! -e /dev/vdb ]")
    guest.ask("blockdev-del", node_name="late")


def plug_a_card(guest: Guest) -> None:
    guest.ask("netdev_add", type="user", id="n1", net="10.1.0.0/24")
    guest.ask("device_add", driver="virtio-net-pci", id="hot1", netdev="n1", mac="52:54:00:00:00:99", romfile="")
    guest.wait("hostname -I | grep -q '10.1.0.15 '")
    unplug(guest, "hot1")
    guest.wait("! grep -rqs 52:54:00:00:00:99 /sys/class/net/*/address")
    guest.ask("netdev_del", id="n1")


def unplug(guest: Guest, name: str) -> None:
    guest.ask("device_del", id=name)
    guest.event(lambda event: event["event"] == "DEVICE_DELETED" and event["data"].get("device") == name)


def blow_the_balloon_up(guest: Guest) -> None:
    def total() -> int:
        return int(guest.read("sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) >> 10

    before = total()
    for target in 320, 512:
        guest.ask("balloon", value=target * MIB)
        guest.event(lambda event: event["event"] == "BALLOON_CHANGE" and event["data"]["actual"] == target * MIB)  # noqa: B023 - called at once
        assert guest.ask("query-balloon") == {"actual": target * MIB}
        assert abs(total() - (before - 512 + target)) <= 1


@pytest.fixture(scope="module")
def root() -> Path:
    return debianroot.get()


def test_debian(tmp_path: Path, root: Path, mirror: int) -> None:
    """In pcemu, then in QEMU, then in pcemu again, on one image."""
    disk = tmp_path / "disk.qcow2"
    img("create", "-q", "-f", "qcow2", "-b", root, "-F", "qcow2", disk)
    with Guest(PCEMU, disk, "-device", "virtio-balloon-pci") as guest:
        guest.login()
        use_the_network(guest, mirror)
        plug_a_disk(guest, tmp_path / "late.qcow2")
        plug_a_card(guest)
        blow_the_balloon_up(guest)
        assert guest.run("echo from pcemu >/root/note")
        guest.power_off()
    assert "No errors" in img("check", disk)
    if shutil.which("qemu-img"):
        for image in disk, tmp_path / "late.qcow2", root:
            subprocess.run(["qemu-img", "check", "-q", str(image)], check=True)
    if shutil.which(QEMU[0]) is None:
        pytest.skip("up to here all is well; qemu-system-x86_64 is not there to boot the same image")
    with Guest(QEMU, disk) as guest:
        guest.login()
        assert guest.read("cat /root/note; jq -Mn '6 * 7'").split("\n") == ["from pcemu", "42"]
        assert guest.run("echo from QEMU >/root/note")
        assert guest.run("for i in $(seq 50); do head -c 100000 /usr/bin/perl >/root/file$i; done")
        assert guest.run("md5sum /root/file50 >/root/sum")
        guest.power_off()
    with Guest(PCEMU, disk) as guest:
        guest.login()
        assert guest.read("cat /root/note; md5sum -c /root/sum").split("\n") == ["from QEMU", "/root/file50: OK"]
        assert guest.run("for i in $(seq 50); do cmp -n 100000 /usr/bin/perl /root/file$i || break; done; [ $i = 50 ]")
        guest.power_off()
    assert "No errors" in img("check", disk)
