"""TCP, connections and pings of a Linux guest over -netdev user and virtio-net, beside QEMU with TCG.

    python -m bench.network [--rounds N] [--mib N] [EMULATOR ...]

Throughput and connections are timed here, on the host's clock; ping times are the guest's. Every round boots each emulator
once, in turn, so that a host that gets slower does so for all of them. Shown is the best round.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from scripts import guests, mkinitramfs

HERE = Path(__file__).resolve().parent
EMULATORS = {"pcemu": [sys.executable, "-m", "pcemu"], "qemu": ["qemu-system-x86_64", "-accel", "tcg"]}
LINE = "-m 256 -nographic -nodefaults -serial stdio -netdev user,id=n0 -device virtio-net-pci,netdev=n0,romfile="
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev; mount -t proc proc /proc; mount -t sysfs sysfs /sys
for module in /modules/*; do insmod $module; done
ip link set lo up; ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
ping -c 2 10.0.2.2 >/dev/null
net up 10.0.2.2 @UP@ @BYTES@
net down 10.0.2.2 @DOWN@ @BYTES@
net conn 10.0.2.2 @CONN@ 500
echo "PING idle $(ping -c 50 -i 0.02 10.0.2.2 | tail -n 1)"
while :; do :; done &
echo "PING busy $(ping -c 50 -i 0.02 10.0.2.2 | tail -n 1)"
poweroff -f
"""
UNITS = {"up": "MiB/s", "down": "MiB/s", "conn": "/s", "idle": "ms", "busy": "ms"}
ABOUT = {"up": "TCP out of the guest", "down": "TCP into the guest", "conn": "connections, one after the other",
         "idle": "ping, idle guest, average", "busy": "ping, busy guest, average"}  # fmt: skip


class Host:
    """The other end of the connections, with a stop watch."""

    def __init__(self) -> None:
        self.results: dict[str, float] = {}
        self.first = 0.0
        self.count = 0
        self.ports = {name: self._listen(serve) for name, serve in
                      (("up", self._up), ("down", self._down), ("conn", self._conn))}  # fmt: skip

    def _listen(self, serve: object) -> int:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port: int = listener.getsockname()[1]

        def accept() -> None:
            while True:
                sock, _ = listener.accept()
                with sock:
                    serve(sock)  # type: ignore[operator]

        threading.Thread(target=accept, daemon=True).start()
        return port

    def _up(self, sock: socket.socket) -> None:
        start, total, room = time.perf_counter(), 0, bytearray(1 << 18)
        while count := sock.recv_into(room):
            total += count
        self.results["up"] = total / (time.perf_counter() - start) / 2**20

    def _down(self, sock: socket.socket) -> None:
        left = total = int(sock.makefile().readline())
        start, piece = time.perf_counter(), bytes(1 << 18)
        while left:
            left -= sock.send(piece[: min(left, len(piece))])
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)  # the guest has read everything
        self.results["down"] = total / (time.perf_counter() - start) / 2**20

    def _conn(self, sock: socket.socket) -> None:
        if not self.count:
            self.first = time.perf_counter()
        self.count += 1
        while sock.recv(100):
            pass
        if self.count > 1:
            self.results["conn"] = (self.count - 1) / (time.perf_counter() - self.first)


def image(directory: Path, host: Host, size: int) -> Path:
    program = directory / "net"
    subprocess.run(["gcc", "-O2", "-static", "-o", str(program), str(HERE / "guest" / "net.c")], check=True)
    script = INIT.replace("@BYTES@", str(size))
    for name, port in host.ports.items():
        script = script.replace(f"@{name.upper()}@", str(port))
    extra = mkinitramfs.module_files("network", "cloud") | {"bin/net": program.read_bytes()}
    path = directory / "initrd"
    path.write_bytes(mkinitramfs.build(script.encode(), guests.get("busybox"), extra))
    return path


def measure(command: list[str], size: int) -> dict[str, float]:
    """One boot."""
    with tempfile.TemporaryDirectory() as name:
        host = Host()
        initrd = image(Path(name), host, size)
        arguments = [*LINE.split(), "-kernel", str(guests.get("cloud")), "-initrd", str(initrd), "-append", "console=ttyS0 quiet"]
        output = subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
                                timeout=600).stdout  # fmt: skip
    results = dict(host.results)
    for kind, average in re.findall(r"PING (\w+) round-trip min/avg/max = [\d.]+/([\d.]+)/", output):
        results[kind] = float(average)
    missing = UNITS.keys() - results.keys()
    if missing:
        raise SystemExit(f"bench.network: {command[0]}: no result for {', '.join(sorted(missing))}:\n{output}")
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.network", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=400, help="how much is sent each way")
    parser.add_argument("emulator", nargs="*", help=f"of {', '.join(EMULATORS)} (default: those installed)")
    args = parser.parse_args()
    names = args.emulator or [name for name, command in EMULATORS.items() if shutil.which(command[0])]
    best: dict[str, dict[str, float]] = {name: {} for name in names}
    for _ in range(args.rounds):
        for name in names:
            for key, value in measure(EMULATORS[name], args.mib << 20).items():
                better = min if UNITS[key] == "ms" else max
                best[name][key] = better(value, best[name].get(key, value))
    print(f"{'':34} " + " ".join(f"{name:>12}" for name in names))
    for key, unit in UNITS.items():
        values = " ".join(f"{best[name][key]:>12.{2 if unit == 'ms' else 0}f}" for name in names)
        print(f"{ABOUT[key]:34} {values}  {unit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
