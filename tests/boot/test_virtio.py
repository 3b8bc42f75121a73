"""Debian's kernels and their virtio drivers: what /init of scripts/init/devices finds and uses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

FILES = Files()
pytestmark = [pytest.mark.boot, pytest.mark.fetch]

BASE = '-m 256 -nographic -nodefaults -serial mon:stdio -kernel {%s} -initrd {devices-%s} -append "console=ttyS0 devices=%s"'
DEVICES = {
    "rng": "-device virtio-rng-pci,%s",
    "blk": "-drive if=none,id=d0,file={dir}/disk,format=raw -device virtio-blk-pci,drive=d0,serial=S123,%s",
    "net": " ".join(f"-netdev hubport,id=n{i},hubid=1 -device virtio-net-pci,netdev=n{i},%s" for i in range(2)),
    "serial": "-device virtio-serial-pci,%s -chardev file,id=c0,path={dir}/hvc0 -device virtconsole,chardev=c0"
    " -chardev socket,id=c1,path={dir}/echo -device virtserialport,chardev=c1,name=host.echo",
    "balloon": "-device virtio-balloon-pci,%s",
}
LINES = ("rng-read", "blk-write", "net-tcp", "serial-echo", "balloon-inflated")
MONITOR = "\u0001c%s\n\u0001c"  # to the monitor and back


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[None]:
    """What is behind the port 'host.echo'."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "echo"))
    server.listen()

    def serve() -> None:
        try:
            with server.accept()[0] as connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)
        except OSError:
            return

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


def _boot(tmp_path: Path, kernel: str, arch: str, options: str, vectors: str = "") -> None:
    """Every device, with the same options for each."""
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.write(b"hello guest")
        file.truncate(16 << 20)
    args = BASE % (kernel, arch, ",".join(DEVICES))
    for name, text in DEVICES.items():
        args += " " + text.replace("%s", options + (vectors if name != "balloon" else ""))
    step = [runner.Step("EXERCISE balloon, please", MONITOR % "balloon 192")]
    lines = ["EXERCISE end", *(f"EXERCISE {what} OK" for what in LINES)]
    runner.run(runner.Case(name="virtio", args=args, linux=True, step=step, lines=lines), FILES, tmp_path)
    data = disk.read_bytes()
    assert data[:11] == b"hello guest" and data[1024:1034] == b"from guest"
    assert (tmp_path / "hvc0").read_bytes() == b"a line for the console\r\n"


def test_modern(tmp_path: Path, echo: None) -> None:
    _boot(tmp_path, "cloud", "amd64", "disable-legacy=on")


def test_legacy_with_interrupts_by_wire(tmp_path: Path, echo: None) -> None:
    _boot(tmp_path, "686-pae", "i386", "disable-modern=on", ",vectors=0")


def test_hotplug(tmp_path: Path) -> None:
    """A disk and a network card come and go through ACPI, a serial port by virtio's own messages."""
    with open(tmp_path / "late", "wb") as file:
        file.write(b"I am late.")
        file.truncate(1 << 20)
    args = BASE % ("cloud", "amd64", "hotplug")
    args += " -drive if=none,id=d1,file={dir}/late,format=raw -netdev hubport,id=n1,hubid=1"
    args += " -device virtio-serial-pci -chardev file,id=c2,path={dir}/port"
    add = ("device_add virtio-blk-pci,drive=d1,id=hot0", "device_add virtio-net-pci,netdev=n1,id=hot1,mac=52:54:00:00:00:99",
           "device_add virtserialport,chardev=c2,name=late.port,id=hot2")  # fmt: skip
    step = [
        runner.Step("EXERCISE hotplug, please", MONITOR % "\n".join(add)),
        runner.Step("EXERCISE unplug, please", MONITOR % "device_del hot0\ndevice_del hot1\ndevice_del hot2"),
    ]
    lines = ["EXERCISE end", *(f"EXERCISE {what} OK" for what in ("hotplug-disk", "hotplug-card", "hotplug-port", "unplug"))]
    runner.run(runner.Case(name="hotplug", args=args, linux=True, step=step, lines=lines), FILES, tmp_path)
    assert (tmp_path / "port").read_bytes() == b"I came late, too\n"


@pytest.mark.parametrize("options", ["disable-legacy=on", "disable-modern=on"])
def test_firmware_boots_from_the_disk_that_is_first(tmp_path: Path, options: str) -> None:
    """SeaBIOS' own driver; the disk behind a bridge has the lower bootindex. Its boot sector prints a digit and turns off."""
    for digit in b"12":
        # mov dx, 3f8h; mov al, digit; out dx, al; mov dx, 604h; mov ax, 2000h; out dx, ax; hlt
        code = b"\xba\xf8\x03\xb0" + bytes((digit,)) + b"\xee\xba\x04\x06\xb8\x00\x20\xef\xf4"
        with open(tmp_path / f"disk{digit:c}", "wb") as file:
            file.write(code.ljust(510, b"\0") + b"\x55\xaa")
            file.truncate(1 << 20)
    args = "-nodefaults -display none -bios {seabios256} -serial stdio -device pci-bridge,id=b,chassis_nr=1"
    for digit, more in ("1", "bootindex=7"), ("2", "bootindex=3,bus=b,addr=5"):
        args += f" -drive if=none,id=d{digit},file={{dir}}/disk{digit},format=raw"
        args += f" -device virtio-blk-pci,drive=d{digit},{more},{options}"
    runner.run(runner.Case(name="seabios", args=args, lines=["2"], absent=["1"]), FILES, tmp_path)


@pytest.mark.slow
def test_packed_rings(tmp_path: Path, echo: None) -> None:
    _boot(tmp_path, "cloud", "amd64", "packed=on")
