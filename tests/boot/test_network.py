"""Debian's kernel on -netdev user: files by HTTP from and to the host's loopback, many at once, and on a bad line."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

FILES = Files()
pytestmark = [pytest.mark.boot, pytest.mark.fetch]

BASE = ("-m 256 -nographic -nodefaults -serial stdio -kernel {cloud} -initrd {network-amd64} -netdev user,id=n0,hostname=guest "
        "-device virtio-net-pci,netdev=n0 -icount shift=2")  # instructions count as time, an idle guest waits in the host's


class Server(ThreadingHTTPServer):
    """GET /file, GET /smallN (which says N), POST /sum (which says the SHA-256 of what it got)."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, size: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.piece = random.Random(size).randbytes(min(size, 1 << 20))
        self.count = size // len(self.piece)  # the file is that often the same
        self.port = self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _say(self, data: bytes, count: int = 1) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) * count))
        self.end_headers()
        for _ in range(count):
            self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/file":
            self._say(self.server.piece, self.server.count)
        else:
            self._say(self.path.removeprefix("/small").encode() + b"\n")

    def do_POST(self) -> None:
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            digest.update(data)
            left -= len(data)
        self._say(digest.hexdigest().encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(request.param)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def boot(tmp_path: Path, server: Server, many: int, options: str = "", append: str = "", absent: tuple[str, ...] = ()) -> None:
    digest = hashlib.sha256()
    for _ in range(server.count):
        digest.update(server.piece)
    words = f"console=ttyS0 http={server.port} sum={digest.hexdigest()} many={many} {append}"
    names = ["dhcp", "ping", "get", "put", "many", "refused", "ping6", "route6"]
    lines = [f"EXERCISE net-{name} OK" for name in names if name not in absent]
    case = runner.Case(name="network", args=f'{BASE} {options} -append "{words}"', linux=True, host_clock=True,
                       lines=["EXERCISE end", *lines])  # fmt: skip
    runner.run(case, FILES, tmp_path)


@pytest.mark.parametrize("server", [8 << 20], indirect=True)
def test_http(tmp_path: Path, server: Server) -> None:
    boot(tmp_path, server, 20)


BAD = "-object filter-impair,id=bad,netdev=n0,drop=2,duplicate=1,reorder=2,delay=300,jitter=300"


@pytest.mark.slow
@pytest.mark.parametrize("server", [200_000], indirect=True)
def test_bad_line(tmp_path: Path, server: Server) -> None:
    """Two in a hundred frames are lost, some come twice, late, or in another order."""
    boot(tmp_path, server, 5, BAD, "nosix", absent=("ping6", "route6"))


@pytest.mark.soak
@pytest.mark.parametrize("server", [1 << 30], indirect=True)
def test_a_gigabyte_and_a_hundred_connections(tmp_path: Path, server: Server) -> None:
    boot(tmp_path, server, 100, "-m 3G")


@pytest.mark.soak
@pytest.mark.parametrize("server", [1 << 30], indirect=True)
def test_a_gigabyte_and_a_hundred_connections_on_a_bad_line(tmp_path: Path, server: Server) -> None:
    boot(tmp_path, server, 100, "-m 3G " + BAD, "nosix", absent=("ping6", "route6"))
