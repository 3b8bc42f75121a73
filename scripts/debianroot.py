"""A Debian root file system on a disk image, made from packages by debootstrap and by the guest itself.

    python3 -m scripts.debianroot                 make .cache/debian/root-amd64-*.qcow2, if it is not there, and print its name
    python3 -m scripts.debianroot --again         make it anew

Nothing here needs root, nor a program beyond a small Debian's: debootstrap, fakeroot and (where it is missing) mke2fs are
fetched from Debian and unpacked into ``.cache/debian/tools``.

1. The packages are fetched, and a Debian archive of just these is laid out in ``.cache/debian/mirror``.
2. ``fakeroot debootstrap --foreign`` unpacks the essential ones; ``mke2fs -d`` makes an ext4 file system of the result.
3. ``pcemu-img`` turns that into qcow2.
4. pcemu boots it: debootstrap's second stage, which runs every package's own scripts, runs in the guest.

The image has no partitions, kernel or boot loader: ``-kernel``, ``-initrd`` (`initrd()`) and ``root=/dev/vda`` boot it.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts import guests, mkinitramfs, modules
from scripts.debian import CODENAME, FetchError, Repository, data_tar, stanzas, write_atomically

CACHE = guests.ROOT / ".cache" / "debian"
TOOLS = CACHE / "tools"
MIRROR = CACHE / "mirror"
INCLUDE = ("systemd", "systemd-sysv", "udev", "kmod")  # beside the essential packages and apt
LATER = ("jq",)  # on the mirror, with what they need, and not installed
DRIVERS = ("virtio_net", "virtio_blk", "virtio_balloon", "virtio_console", "virtio_rng", "autofs4")
ROOT_DRIVERS = ("virtio_pci", "virtio_blk")
SIZE = "1G"
PASSWORD = "pcemu"
INODES = 40_000
PATIENCE = 1800  # seconds for the second stage; only there to end one that hangs

HAND_OVER = """#!/bin/busybox sh
# /init: the drivers of the root file system, and over to it.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
for module in /modules/*; do insmod "$module" || echo "insmod $module: $?"; done
said() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }
mkdir -p /root
mount -t ext4 "$(said root)" /root || exec sh
init=$(said init)
mount -o move /dev /root/dev
umount /sys /proc
exec switch_root /root "${init:-/sbin/init}"
"""

SECOND_STAGE = """#!/bin/sh
# The first boot: packages are configured.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
umask 022
if /debootstrap/debootstrap --second-stage && depmod "$(uname -r)" && echo "root:@PASSWORD@" | chpasswd &&
	systemctl enable systemd-networkd && systemctl mask @MASKED@ && passwd -S root | grep -q '^root P'; then
	apt-get clean
	fstrim /
	rm -f /etc/dpkg/dpkg.cfg.d/unsafe-io
	echo "SECOND STAGE OK"
else
	tail -n 40 /debootstrap/debootstrap.log
	echo "SECOND STAGE FAILED"
fi
# A new process: this one still has the files open that it began with, and dpkg has replaced them.
exec sh -c 'rm -f /second-stage; sync; umount /tmp; mount -o remount,ro / && exec poweroff -ff'
"""

NETWORK = """[Match]
Name=en* eth*
[Network]
DHCP=ipv4
"""

# Units that only cost time in a guest that lives a minute.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
          "e2scrub_reap.service", "systemd-networkd-wait-online.service", "getty@tty1.service", "modprobe@drm.service",
          "systemd-binfmt.service", "dev-hugepages.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount")  # fmt: skip


# -- the archive --------------------------------------------------------------------------------------------------


class Archive:
    """The part of a Debian archive that the root file system is made of, on this machine's disk."""

    def __init__(self) -> None:
        self.repository = Repository("amd64")
        self._raw = {block.split("\n", 1)[0].removeprefix("Package: "): block for block in self.repository.index().split("\n\n")}
        self._providers: dict[str, list[str]] = {}
        for name, block in self._raw.items():
            for provided in re.findall(r"^Provides: (.*)$", block, re.MULTILINE):
                for one in provided.split(","):
                    self._providers.setdefault(one.split()[0], []).append(name)

    def required(self) -> list[str]:
        return [name for name, block in self._raw.items() if "\nPriority: required\n" in block]

    def closure(self, names: Iterable[str]) -> list[str]:
        """Packages and those they depend on: of alternatives one that is there already, else the first."""
        found: dict[str, None] = {}
        todo = list(names)
        while todo:
            name = todo.pop(0)
            if name in found:
                continue
            found[name] = None
            fields = next(stanzas(self._raw[name]))
            for group in f"{fields.get('Pre-Depends', '')},{fields.get('Depends', '')}".split(","):
                choices = [re.split(r"[ (:]", one.strip())[0] for one in group.split("|") if one.strip()]
                real = [one for name in choices for one in ([name] if name in self._raw else self._providers.get(name, []))]
                if real and not any(one in found or one in todo for one in real):
                    todo.append(real[0])
        return sorted(found)

    def lay_out(self, names: Iterable[str]) -> Path:
        """``.cache/debian/mirror`` with these packages: what debootstrap, and apt in the guest, take for a Debian mirror."""
        index = []
        for name in sorted(names):
            package = self.repository.find(name)
            path = MIRROR / package.filename
            if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
                write_atomically(path, self.repository.download(package))
            index.append(self._raw[name].strip() + "\n")
        text = ("\n".join(index) + "\n").encode()  # pkgdetails wants an empty line after the last, too
        suite = MIRROR / "dists" / CODENAME
        write_atomically(suite / "main" / "binary-amd64" / "Packages", text)
        release = (
            f"Origin: Debian\nSuite: stable\nCodename: {CODENAME}\nArchitectures: amd64\nComponents: main\n"
            "Date: Sat, 01 Jan 2000 00:00:00 UTC\n"
            f"SHA256:\n {hashlib.sha256(text).hexdigest()} {len(text)} main/binary-amd64/Packages\n"
        )
        write_atomically(suite / "Release", release.encode())
        return MIRROR


# -- tools --------------------------------------------------------------------------------------------------------


def _unpack_all(repository: Repository, package: str, where: Path) -> None:
    safely: Any = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}  # since Python 3.11.4
    with data_tar(repository.download(repository.find(package))) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        tar.extractall(where, **safely)


def tools(repository: Repository) -> Path:
    """debootstrap, fakeroot and mke2fs, unpacked."""
    done = TOOLS / "done"
    if not done.exists():
        shutil.rmtree(TOOLS, ignore_errors=True)
        for package in ("debootstrap", "fakeroot", "libfakeroot"):
            _unpack_all(repository, package, TOOLS)
        if _mke2fs() is None:
            for package in ("e2fsprogs", "libext2fs2", "libcom-err2", "libblkid1", "libuuid1"):
                _unpack_all(repository, package, TOOLS)
        wget = TOOLS / "bin" / "wget"  # debootstrap wants one, and does not use it for a mirror on the disk
        wget.parent.mkdir(exist_ok=True)
        wget.write_text("#!/bin/sh\necho 'wget: the mirror is on the disk' >&2\nexit 1\n")
        wget.chmod(0o755)
        done.touch()
    return TOOLS


SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def _mke2fs() -> str | None:
    return shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:{SBIN}")


def _run(command: list[str], what: str, log: Path | None = None, **more: Any) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode:
        tail = log.read_text(errors="replace")[-3000:] if log is not None and log.exists() else ""
        raise FetchError(f"{what} failed\n{done.stdout[-3000:]}{tail}")


# -- the image ----------------------------------------------------------------------------------------------------


def initrd() -> Path:
    """An initramfs that mounts root= and goes over to it. `init=` on the kernel's command line is what runs there."""
    found = modules.collect("cloud", list(ROOT_DRIVERS))
    files = {f"modules/{index:02}-{name}.ko": data for index, (name, data) in enumerate(found.items())}
    path = CACHE / "initrd-amd64.img"
    write_atomically(path, mkinitramfs.build(HAND_OVER.encode(), guests.get("busybox"), files))
    return path


def _additions(root: Path) -> None:
    """What is ours in the file system: drivers, the network's configuration, and the script of the first boot."""

    def put(name: str, text: str, mode: int = 0o644) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    if (root / "proc").is_symlink():  # debootstrap leaves one where it finds itself in a container
        (root / "proc").unlink()
        (root / "proc").mkdir()
    version = modules.release("cloud")
    for name, data in modules.collect("cloud", [*ROOT_DRIVERS, *DRIVERS]).items():
        path = root / "usr" / "lib" / "modules" / version / "kernel" / f"{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in ("modules.order", "modules.builtin"):
        put(f"usr/lib/modules/{version}/{name}", "")
    put("etc/systemd/network/80-dhcp.network", NETWORK)
    put("etc/resolv.conf", "nameserver 10.0.2.3\n")
    put("etc/hostname", "guest\n")
    put("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
    put("etc/dpkg/dpkg.cfg.d/unsafe-io", "force-unsafe-io\n")
    put("second-stage", SECOND_STAGE.replace("@PASSWORD@", PASSWORD).replace("@MASKED@", " ".join(MASKED)), 0o755)


def _first_stage(scratch: Path, archive: Archive, size: str) -> Path:
    """The file system before its first boot, raw."""
    where = tools(archive.repository)
    names = archive.closure([*archive.required(), "usr-is-merged", "apt", *INCLUDE])
    mirror = archive.lay_out({*names, *archive.closure([*names, *LATER])})
    root, image = scratch / "root", scratch / "root.raw"
    environment = {
        **os.environ, "PATH": f"{where / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}:{SBIN}:{where / 'sbin'}",
        "DEBOOTSTRAP_DIR": str(where / "usr/share/debootstrap"), "LC_ALL": "C",
    }  # fmt: skip
    library = where / "usr/lib/x86_64-linux-gnu/libfakeroot/libfakeroot-tcp.so"
    state = scratch / "fakeroot"
    fakeroot = [str(where / "usr/bin/fakeroot-tcp"), "-l", str(library), "-f", str(where / "usr/bin/faked-tcp"), "-s", str(state)]
    _run([*fakeroot, "sh", str(where / "usr/sbin/debootstrap"), "--foreign", "--arch=amd64", "--variant=minbase",
          "--no-check-gpg", f"--include={','.join(INCLUDE)}", CODENAME, str(root), f"file://{mirror}"],
         "debootstrap", root / "debootstrap" / "debootstrap.log", env=environment)  # fmt: skip
    _additions(root)
    with open(image, "wb") as file:
        file.truncate(int(size.removesuffix("G")) << 30)
    mke2fs = where / "sbin" / "mke2fs"
    if mke2fs.exists():
        environment["LD_LIBRARY_PATH"] = f"{where / 'lib/x86_64-linux-gnu'}:{where / 'usr/lib/x86_64-linux-gnu'}"
    _run([*fakeroot, "-i", str(state), str(mke2fs) if mke2fs.exists() else "mke2fs", "-q", "-F", "-t", "ext4", "-L", "root",
          "-N", str(INODES), "-J", "size=8", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0",
          "-d", str(root), str(image)], "mke2fs", env=environment)  # fmt: skip
    return image


def image_path() -> Path:
    """Where the image of this kernel, made as this file says, is or will be."""
    guests.get("cloud")
    key = hashlib.sha256(Path(__file__).read_bytes() + modules.release("cloud").encode()).hexdigest()
    return CACHE / f"root-amd64-{key[:12]}.qcow2"


def build() -> Path:
    """Make the image, whatever is there; older ones go."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = image_path()
    scratch = Path(tempfile.mkdtemp(prefix="root.", dir=CACHE))
    python = [sys.executable, "-m"]
    here = {**os.environ, "PYTHONPATH": str(guests.ROOT)}
    try:
        raw = _first_stage(scratch, Archive(), SIZE)
        image = scratch / "root.qcow2"
        _run([*python, "pcemu.img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], "pcemu-img", env=here)
        raw.unlink()
        command = [*python, "pcemu", "-m", "512", "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
                   "-kernel", str(guests.get("cloud")), "-initrd", str(initrd()),
                   "-append", "console=ttyS0 quiet root=/dev/vda init=/second-stage mitigations=off panic=-1",
                   "-drive", f"file={image},if=virtio,cache=unsafe,discard=unmap"]  # fmt: skip
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                                  check=False, env=here, timeout=PATIENCE)  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise FetchError(f"the guest did not end within {PATIENCE} s\n{(error.stdout or b'')[-6000:]!r}") from None
        if done.returncode or "SECOND STAGE OK" not in done.stdout:
            raise FetchError(f"debootstrap's second stage failed in the guest\n{done.stdout[-6000:]}{done.stderr[-2000:]}")
        for old in CACHE.glob("root-amd64-*.qcow2"):
            old.unlink()
        image.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def get() -> Path:
    """The path of the image, made if it is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes it, others wait
        path = image_path()
        return path if path.exists() and MIRROR.exists() else build()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="debianroot", description="Make a Debian root file system in .cache/debian.")
    parser.add_argument("--again", action="store_true", help="make it anew")
    args = parser.parse_args(argv)
    try:
        print(build() if args.again else get())
    except (FetchError, OSError) as error:
        print(f"debianroot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
