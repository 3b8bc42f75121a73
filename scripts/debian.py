"""Fetch and unpack Debian packages without dpkg, apt or root.

Everything is checked on the way: the archive's ``InRelease`` (its signature too, where ``gpgv`` and Debian's keyring
are installed) gives the hash of the ``Packages`` index, and the index gives the hash of every package.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

CODENAME = "bookworm"  # Debian 12
DEFAULT_MIRROR = "http://deb.debian.org/debian"  # the project's own name, when apt is not configured for Debian
ARCHIVE_MIRROR = "http://archive.debian.org/debian"  # where a release moves when it is no longer supported
KEYRINGS = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")


class FetchError(Exception):
    """Something could not be fetched, or was not what the index promised."""


# -- which mirror -------------------------------------------------------------------------------------------------


def _sources_in_list(text: str) -> Iterator[tuple[str, str]]:
    """One-line style: deb [options] uri suite components."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)", line.strip())
        if match:
            yield match[1], match[2]


def _sources_in_deb822(text: str) -> Iterator[tuple[str, str]]:
    for stanza in stanzas(text):
        if stanza.get("Enabled", "yes").lower() == "no" or "deb" not in stanza.get("Types", "").split():
            continue
        for uri in stanza.get("URIs", "").split():
            for suite in stanza.get("Suites", "").split():
                yield uri, suite


def apt_sources(etc: Path = Path("/etc/apt")) -> list[tuple[str, str]]:
    """All (uri, suite) pairs that apt is configured for on this machine."""
    found: list[tuple[str, str]] = []
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            found += _sources_in_list(text)
        elif path.suffix == ".sources":
            found += _sources_in_deb822(text)
    return found


def mirrors() -> list[str]:
    """Debian mirrors to try, best first: PCEMU_DEBIAN_MIRROR, apt's own, Debian's."""
    chosen = os.environ.get("PCEMU_DEBIAN_MIRROR")
    if chosen:
        return [chosen.rstrip("/")]
    found = []
    for uri, _suite in apt_sources():
        uri = uri.rstrip("/")
        if uri.startswith("http") and uri.endswith("/debian"):
            found.append(uri)
    return list(dict.fromkeys([*found, DEFAULT_MIRROR, ARCHIVE_MIRROR]))


# -- fetching -----------------------------------------------------------------------------------------------------


def fetch(url: str, sha256: str | None = None, attempts: int = 6) -> bytes:
    """The bytes behind a URL, with a few attempts on errors that pass, and the hash checked."""
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=120) as response:
                data: bytes = response.read()
            break
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == attempts - 1:
                raise FetchError(f"{url}: {error}") from error
        except (OSError, EOFError, http.client.HTTPException) as error:  # the last: a connection that ended in the middle
            if attempt == attempts - 1:
                raise FetchError(f"{url}: {error}") from error
        time.sleep(2**attempt)
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise FetchError(f"{url}: the content does not have the SHA-256 that the index promises ({sha256})")
    return data


def write_atomically(path: Path, data: bytes) -> None:
    """Readers see the old file or the whole new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    partial.write_bytes(data)
    partial.replace(path)


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Paragraphs of 'Field: value' lines; a continuation line starts with a space."""
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t"):
                fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def _check_signature(inrelease: bytes) -> None:
    """Check InRelease with gpgv where it and Debian's keys are installed; elsewhere the hashes alone must do."""
    keyring = next((path for path in KEYRINGS if os.path.exists(path)), None)
    gpgv = shutil.which("gpgv")
    if gpgv is None or keyring is None:
        return
    result = subprocess.run([gpgv, "--quiet", "--keyring", keyring], input=inrelease, capture_output=True, check=False)
    if result.returncode != 0:
        raise FetchError(f"InRelease: bad signature\n{result.stderr.decode(errors='replace')}")


@dataclass(frozen=True)
class Package:
    """What the index says about one package."""

    name: str
    version: str
    depends: str
    filename: str
    size: int
    sha256: str


class Repository:
    """The main component of one Debian release for one architecture."""

    def __init__(self, arch: str, codename: str = CODENAME) -> None:
        self.arch = arch
        self.codename = codename
        self.mirror = ""
        self._text = ""
        self._packages: dict[str, Package] | None = None

    def index(self) -> str:
        """The text of the Packages index; fetched once."""
        self._text = self._text or self._fetch_index()
        return self._text

    def _fetch_index(self) -> str:
        name = f"main/binary-{self.arch}/Packages.xz"
        problems = []
        for mirror in mirrors():
            base = f"{mirror}/dists/{self.codename}"
            try:
                release = fetch(f"{base}/InRelease")
                _check_signature(release)
                text = release.decode()
                # The SHA256 section comes last; the same names stand in the MD5Sum section before it.
                wanted = re.search(rf"^ ([0-9a-f]{{64}})\s+\d+ {re.escape(name)}$", text, re.MULTILINE)
                if wanted is None:
                    raise FetchError(f"{base}/InRelease does not list {name}")
                packed = fetch(f"{base}/{name}", wanted[1])
            except FetchError as error:
                problems.append(str(error))
                continue
            self.mirror = mirror
            return lzma.decompress(packed).decode()
        raise FetchError("no Debian mirror answers:\n  " + "\n  ".join(problems))

    @property
    def packages(self) -> dict[str, Package]:
        if self._packages is None:
            self._packages = {}
            for fields in stanzas(self.index()):
                name = fields["Package"]
                package = Package(name, fields["Version"], fields.get("Depends", ""), fields["Filename"],
                                  int(fields["Size"]), fields["SHA256"])  # fmt: skip
                self._packages[name] = package
        return self._packages

    def find(self, name: str) -> Package:
        try:
            return self.packages[name]
        except KeyError:
            raise FetchError(f"no package {name} in Debian {self.codename} for {self.arch}") from None

    def resolve_kernel(self, meta: str) -> Package:
        """linux-image-amd64 is empty and depends on the current linux-image-6.1.0-NN-amd64: that one."""
        package = self.find(meta)
        match = re.search(r"\b(linux-image-\d[^ ,(]*)", package.depends)
        return self.find(match[1]) if match else package

    def download(self, package: Package) -> bytes:
        print(f"fetching {package.name} {package.version} ({package.size / 2**20:.1f} MiB)", file=sys.stderr)
        return fetch(f"{self.mirror}/{package.filename}", package.sha256)


# -- unpacking ----------------------------------------------------------------------------------------------------


def ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Members of a Unix ar archive, which is what a .deb is (deb(5))."""
    if not data.startswith(b"!<arch>\n"):
        raise FetchError("not an ar archive")
    offset = 8
    while offset + 60 <= len(data):
        header = data[offset : offset + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        yield name, data[offset + 60 : offset + 60 + size]
        offset += 60 + size + (size & 1)


def data_tar(deb: bytes) -> io.BufferedIOBase:
    """The tar stream with a .deb's files."""
    for name, data in ar_members(deb):
        if name == "data.tar.xz":
            return lzma.LZMAFile(io.BytesIO(data))
        if name == "data.tar.zst":  # Ubuntu's packages; its dpkg-deb knows how
            tool = shutil.which("zstd")
            if tool is not None:
                return io.BytesIO(subprocess.run([tool, "-dc"], input=data, capture_output=True, check=True).stdout)
            with tempfile.NamedTemporaryFile(suffix=".deb") as file:
                file.write(deb)
                file.flush()
                command = ["dpkg-deb", "--fsys-tarfile", file.name]
                return io.BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)
        if name in ("data.tar", "data.tar.gz"):
            return io.BytesIO(data) if name == "data.tar" else io.BytesIO(gzip.decompress(data))
    raise FetchError("no data.tar in the package")


def unpack(deb: bytes, wanted: Callable[[str], bool], stop_after: int = 0) -> dict[str, bytes]:
    """Regular files of a .deb whose path ('boot/vmlinuz-...') is wanted. Stops once it has 'stop_after' of them."""
    found: dict[str, bytes] = {}
    with data_tar(deb) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            path = str(PurePosixPath(member.name.removeprefix("./")))
            if member.isfile() and wanted(path):
                content = tar.extractfile(member)
                assert content is not None
                found[path] = content.read()
                if stop_after and len(found) >= stop_after:
                    break
    return found
