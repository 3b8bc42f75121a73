"""-netdev tap: a network interface of the host (Linux: Documentation/networking/tuntap.rst)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
import sys
from typing import Any

from pcemu.qom.errors import PcemuError

from . import CSUM, ECN, MAX_FRAME, OFFLOAD_SIZE, TSO4, TSO6, UFO, Frame, NetClient, NetError, Offload

TUNSETIFF, TUNGETIFF, TUNSETOFFLOAD = 0x400454CA, 0x800454D2, 0x400454D0
TUNSETVNETHDRSZ, TUNGETVNETHDRSZ, TUNGETFEATURES = 0x400454D8, 0x800454D7, 0x800454CF
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
TUN_F = {CSUM: 1, TSO4: 2, TSO6: 4, ECN: 8, UFO: 16}
AT_ONCE = 64
DEFAULT_SCRIPT, DEFAULT_DOWNSCRIPT = "/etc/qemu-ifup", "/etc/qemu-ifdown"


class TapNet(NetClient):
    """One queue of a tap interface; unfinished frames go through as they are when the interface has a vnet header."""

    kind = "tap"

    def __init__(self, machine: Any, name: str, fd: int, ifname: str, vnet: bool, text: str) -> None:
        super().__init__(machine, name)
        self.fd = fd
        self.ifname = ifname
        self.text = text
        self.downscript = ""
        self.head = 0
        if vnet:
            self.head = struct.unpack("i", fcntl.ioctl(fd, TUNGETVNETHDRSZ, struct.pack("i", 0)))[0]
            self.takes = CSUM | TSO4 | TSO6 | ECN | UFO
        self._offers: int | None = None
        self._held: tuple[bytes, Offload | None] | None = None  # read, but the card is full
        self._writing = False
        os.set_blocking(fd, False)
        machine.add_reader(fd, self._readable)

    def peer_came(self) -> None:
        self._offer()

    def _offer(self) -> None:
        """Tell the interface what the card takes unfinished (its driver may have changed its mind)."""
        takes = self.peer.takes if self.peer is not None else 0
        if self.head and takes != self._offers:
            self._offers = takes
            bits = sum(flag for bit, flag in TUN_F.items() if takes & bit) if takes & CSUM else 0
            for wanted in (bits, bits & ~TUN_F[UFO], 0):  # newer kernels have no UFO
                try:
                    fcntl.ioctl(self.fd, TUNSETOFFLOAD, wanted)
                    return
                except OSError:
                    continue

    def receive(self, frame: Frame, offload: Offload | None = None) -> bool:
        if self._writing:
            return False
        parts: list[Frame] = [frame]
        if self.head:
            parts.insert(0, (offload or Offload()).pack().ljust(self.head, b"\0"))
        try:
            os.writev(self.fd, parts)
        except (BlockingIOError, InterruptedError):
            self._writing = True
            self.machine.loop.add_writer(self.fd, self._writable)
            return False
        except OSError:
            self.lost += 1  # the interface is down, or does not like the frame
        return True

    def _writable(self) -> None:
        self._writing = False
        self.machine.loop.remove_writer(self.fd)
        self.flush_queued()

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            if self._held is not None:
                return
            try:
                data = os.read(self.fd, self.head + MAX_FRAME)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # A card without a driver, an interface that is down: there is nothing to read.
                if error.errno not in (errno.EBADFD, errno.EIO):
                    self.lost += 1
                return
            if not data:
                return
            self._offer()
            offload = None
            if self.head:
                if len(data) < self.head or self.head < OFFLOAD_SIZE:
                    continue
                offload = Offload.unpack(data)
                if not offload.flags and not offload.gso_type:
                    offload = None
                data = data[self.head :]
            if not self.send(data, offload):
                self._held = (data, offload)
                self.machine.remove_reader(self.fd)

    def on_room(self) -> None:
        if self._held is not None:
            if not self.send(*self._held):
                return
            self._held = None
            self.machine.add_reader(self.fd, self._readable)
            self._readable()

    def describe(self) -> str:
        return self.text

    def close(self) -> None:
        if self.fd < 0:
            return
        super().close()
        if self._writing:
            self.machine.loop.remove_writer(self.fd)
        self.machine.remove_reader(self.fd)
        if self.downscript and self.queues[0] is self:
            _run(self.downscript, self.ifname, fatal=False)
        os.close(self.fd)
        self.fd = -1


def _open(ifname: str, queues: int, vnet: bool | None) -> tuple[int, str, bool]:
    """A queue of a new or given interface: file, name, whether it has a vnet header."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NetError(f"could not open /dev/net/tun: {error.strerror}") from None
    try:
        features = struct.unpack("I", fcntl.ioctl(fd, TUNGETFEATURES, struct.pack("I", 0)))[0]
        if vnet and not features & IFF_VNET_HDR:
            raise NetError("vnet_hdr=1 requested, but no kernel support for IFF_VNET_HDR available")
        use = bool(features & IFF_VNET_HDR) if vnet is None else vnet
        flags = IFF_TAP | IFF_NO_PI | (IFF_VNET_HDR if use else 0) | (IFF_MULTI_QUEUE if queues > 1 else 0)
        request = struct.pack("16sH22x", (ifname or "tap%d").encode(), flags)
        answer = fcntl.ioctl(fd, TUNSETIFF, request)
    except OSError as error:
        os.close(fd)
        where = f"could not configure /dev/net/tun ({ifname or 'tap%d'})"
        raise NetError(f"{where}: {error.strerror}") from None
    except NetError:
        os.close(fd)
        raise
    return fd, answer[:16].rstrip(b"\0").decode(), use


def _given(machine: Any, name: str, text: str) -> tuple[int, bool]:
    """A file descriptor that was passed in: (fd, has a vnet header)."""
    fd: int = machine.fds.use(text)
    try:
        answer = fcntl.ioctl(fd, TUNGETIFF, bytes(40))
    except OSError as error:
        if error.errno == errno.EBADF:
            raise NetError(f"{name}: Can't use file descriptor {fd}: {error.strerror}") from None
        raise NetError(f"Unable to query TUNGETIFF on FD {fd}: {error.strerror}") from None
    return fd, bool(struct.unpack_from("H", answer, 16)[0] & IFF_VNET_HDR)


def _run(script: str, ifname: str, fatal: bool = True) -> None:
    try:
        status = subprocess.run([script, ifname], check=False, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        if fatal:
            raise NetError(f"could not launch network script {script}: {error.strerror}") from None
        return
    if status and fatal:
        raise NetError(f"network script {script} failed with status {status}")


def create(machine: Any, name: str, options: dict[str, Any]) -> NetClient:
    """-netdev tap,id=ID[,fd=N|,fds=N:N..|,ifname=NAME][,queues=N][,script=FILE|no][,downscript=FILE|no][,vnet_hdr=on|off]."""
    if options.get("vhost") or options.get("vhostforce"):
        print(f"pcemu: warning: netdev {name}: there is no vhost, pcemu moves the packets itself", file=sys.stderr)
    for key in ("helper", "br", "sndbuf", "poll-us"):
        if key in options:
            raise NetError(f"{key}: not implemented yet")
    fds = options["fds"].split(":") if "fds" in options else [options["fd"]] if "fd" in options else []
    if "fd" in options and "fds" in options:
        raise NetError("only one of fd= and fds= is allowed")
    vnet = options.get("vnet_hdr")
    if fds:
        for key in ("ifname", "script", "downscript", "vnet_hdr", "queues"):
            if key in options:
                raise NetError("ifname=, script=, downscript=, vnet_hdr=, and queues= are invalid with fd= and fds=")
        found = [_given(machine, name, text) for text in fds]
        clients = [TapNet(machine, name, fd, "", head, f"fd={fd}") for fd, head in found]
    else:
        count = options.get("queues", 1)
        if not 1 <= count <= 256:
            raise NetError("queues: 1 to 256")
        script, down = options.get("script", ""), options.get("downscript", "")
        ifname = options.get("ifname", "")
        if len(ifname.encode()) > 15:
            raise NetError(f"ifname '{ifname}' is longer than 15 bytes")
        opened = []
        for _ in range(count):
            try:
                opened.append(_open(ifname, count, vnet))
            except NetError:
                for fd, _, _ in opened:
                    os.close(fd)
                raise
            ifname = opened[0][1]
        script = script or (DEFAULT_SCRIPT if os.path.exists(DEFAULT_SCRIPT) else "no")
        down = down or (DEFAULT_DOWNSCRIPT if os.path.exists(DEFAULT_DOWNSCRIPT) else "no")
        try:
            if script != "no":
                _run(script, ifname)
        except PcemuError:
            for fd, _, _ in opened:
                os.close(fd)
            raise
        text = f"ifname={ifname},script={script},downscript={down}"
        clients = [TapNet(machine, name, fd, ifname, head, text) for fd, _, head in opened]
        clients[0].downscript = "" if down == "no" else down
    queues: list[NetClient] = list(clients)
    for client in clients:
        client.queues = queues
    return clients[0]
