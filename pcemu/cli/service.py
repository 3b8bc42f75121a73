"""Life as a service: in the background, with a pid file, stamped messages, fewer rights."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import signal
import sys
import time
from typing import IO, TYPE_CHECKING

from pcemu.qom.errors import PcemuError

if TYPE_CHECKING:
    from pcemu.machine.config import MachineConfig

READY = b"\1"


def hold_standard_files() -> None:
    """A process that was started with a closed standard file must not get a socket or disk in its place."""
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115 - for the process's life


# -- the background -------------------------------------------------------------------------------------------


class Daemon:
    """-daemonize. The parent waits in `__init__` and leaves with the child's verdict; the child goes on from there."""

    def __init__(self) -> None:
        reader, self._writer = os.pipe()
        self._null = os.open(os.devnull, os.O_RDWR)     # there may be none after -chroot
        sys.stdout.flush()
        sys.stderr.flush()
        if os.fork():
            os.close(self._writer)
            while True:
                try:
                    verdict = os.read(reader, 1)
                    break
                except InterruptedError:
                    continue
            os._exit(0 if verdict == READY else 1)
        os.close(reader)
        os.setsid()
        if os.fork():                   # a session leader could get a terminal again
            os._exit(0)
        os.umask(0o27)
        for number in (signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN):
            signal.signal(number, signal.SIG_IGN)

    def ready(self, log: IO[str] | None) -> None:
        """Everything listens: let go of the terminal and of the parent. Messages go to the log, if there is one."""
        os.chdir("/")
        sys.stdout.flush()
        sys.stderr.flush()
        for fd in (0, 1):
            os.dup2(self._null, fd)
        os.dup2(self._null if log is None else log.fileno(), 2)
        os.close(self._null)
        os.write(self._writer, READY)
        os.close(self._writer)


class PidFile:
    """-pidfile: locked while we live, gone afterwards."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise PcemuError(f"cannot create PID file: {path}: {error.strerror}") from None
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise PcemuError(f"cannot create PID file: {path}: cannot be locked: {error.strerror}") from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        os.close(self._fd)


# -- messages -------------------------------------------------------------------------------------------------


class StampedErrors(io.TextIOBase):
    """Standard error, where our messages begin with the time (-msg timestamp=on) and the guest's name."""

    def __init__(self, stream: IO[str], timestamp: bool, guest: str) -> None:
        self._stream = stream
        self._timestamp = timestamp
        self._guest = guest
        self._line_start = True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            if self._line_start and line.startswith("pcemu: "):
                self._stream.write(self._prefix())
            self._stream.write(line)
            self._line_start = line.endswith("\n")
        return len(text)

    def _prefix(self) -> str:
        words = []
        if self._timestamp:
            now = time.time_ns()
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1_000_000_000))
            words.append(f"{moment}.{now // 1000 % 1_000_000:06}Z ")
        if self._guest:
            words.append(f"{self._guest} ")
        return "".join(words)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def stamp_messages(config: MachineConfig) -> None:
    guest = (config.name or "") if config.msg_guest_name else ""
    if config.msg_timestamp or guest:
        sys.stderr = StampedErrors(sys.stderr, config.msg_timestamp, guest)


# -- rights ---------------------------------------------------------------------------------------------------


def give_up_rights(config: MachineConfig) -> None:
    """-chroot, -runas and -sandbox, in this order, when everything is open."""
    user = _user(config.run_as) if config.run_as else None
    if config.chroot:
        try:
            os.chroot(config.chroot)
            os.chdir("/")
        except OSError as error:
            raise PcemuError(f"-chroot {config.chroot}: {error.strerror}") from None
    if user is not None:
        name, uid, gid = user
        try:
            if name:
                os.initgroups(name, gid)
            else:
                os.setgroups([gid])
            os.setgid(gid)
            os.setuid(uid)
        except OSError as error:
            raise PcemuError(f"-runas {config.run_as}: {error.strerror}") from None
    if config.sandbox:
        from .sandbox import confine

        confine(config.sandbox)


def _user(text: str) -> tuple[str, int, int]:
    """A name, or UID:GID."""
    import pwd

    uid, colon, gid = text.partition(":")
    if colon and uid.isdigit() and gid.isdigit():
        return "", int(uid), int(gid)
    try:
        found = pwd.getpwnam(text)
    except KeyError:
        raise PcemuError(f"-runas {text}: no such user") from None
    return text, found.pw_uid, found.pw_gid
