"""Make .venv, with what building, testing and linting need. Does nothing when it is there and up to date.

Runs on a bare python3: where Debian's python3-venv (ensurepip) is not installed, pip comes from the python3-pip-whl
package, and where python3-dev is not, Python.h comes from libpython3.x-dev; both are fetched as an ordinary user and
unpacked below .cache. The Makefile puts .cache/python-dev on the compiler's include path.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from scripts.debian import FetchError, Repository, unpack, write_atomically

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "requirements-dev.txt"
STAMP = VENV / "up-to-date"
HEADERS = ROOT / ".cache" / "python-dev"


def run(*command: str | Path, **kwargs: Any) -> None:
    try:
        subprocess.run([str(part) for part in command], check=True, **kwargs)
    except FileNotFoundError:
        sys.exit(f"venv: {command[0]} is needed and is not installed")
    except subprocess.CalledProcessError as error:
        sys.exit(f"venv: failed ({error.returncode}): {' '.join(map(str, command))}")


def fingerprint() -> str:
    """What the environment depends on: this interpreter and the list of requirements."""
    return hashlib.sha256(f"{sys.version}\n{sys.base_prefix}\n".encode() + REQUIREMENTS.read_bytes()).hexdigest()


def unpack_package(name: str, wanted: str, into: Path) -> None:
    """Files of a package of this machine's release, without installing it: by apt, or from Debian's mirror ourselves
    where apt has no lists (a fresh container)."""
    print(f"venv: fetching {name}, which is not installed", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        command = ["apt-get", "download", "-q", name]
        if shutil.which("apt-get") and subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode == 0:
            deb = next(Path(directory).glob("*.deb")).read_bytes()
        else:
            try:
                release = platform.freedesktop_os_release()
                if release.get("ID") != "debian":
                    raise FetchError(f"{name} is needed: install it, or run 'apt-get update' so that it can be fetched")
                arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
                repository = Repository(arch, release["VERSION_CODENAME"])
                deb = repository.download(repository.find(name))
            except (FetchError, OSError, KeyError) as error:
                sys.exit(f"venv: {error}")
        for path, data in unpack(deb, lambda path: path.startswith(wanted)).items():
            write_atomically(into / path, data)


def make_environment() -> None:
    # Fails where Debian's python3-venv is not installed: ensurepip is part of that package.
    if subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, check=False).returncode == 0:
        return
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", VENV)
    wheels = ROOT / ".cache" / "pip-whl"
    unpack_package("python3-pip-whl", "usr/share/python-wheels/pip-", wheels)
    wheel = next(wheels.rglob("pip-*.whl"))
    run(PYTHON, wheel / "pip", "install", "-q", "--no-index", wheel)


def usable() -> bool:
    """Is there an environment of this interpreter's version, with a pip that runs?"""
    probe = "import sys, pip; print(sys.version)"
    if not PYTHON.exists():
        return False
    result = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    return result.returncode == 0 and result.stdout.strip() == sys.version.strip()


def have_headers() -> bool:
    return any((Path(sysconfig.get_path(name)) / "Python.h").exists() for name in ("include", "platinclude"))


def main() -> int:
    # The environment must be made by the base interpreter, not by another environment that happens to be active.
    if sys.prefix != sys.base_prefix:
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        if base.exists():
            os.execv(base, [str(base), "-m", "scripts.venv"])
    if not have_headers() and not HEADERS.exists():
        unpack_package(f"libpython3.{sys.version_info[1]}-dev", "usr/include/", HEADERS)
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted and PYTHON.exists():
        return 0
    if not usable():
        print(f"making {VENV.name} with Python {sys.version.split()[0]}", file=sys.stderr)
        make_environment()
    run(PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", REQUIREMENTS)
    STAMP.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
