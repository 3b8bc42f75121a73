"""Raw mode for the host's terminal, and its restoration whatever happens.

Four nets, one under the other: the character device's close(), atexit, handlers for the signals that end or
suspend a process (installed only where nobody else handles them), and a guardian: a shell of a few hundred KiB
that waits for the end of a pipe whose other end dies with us and then puts the settings back; it helps after SIGKILL and crashes.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import termios
import threading
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

_fd = -1
_saved: list | None = None
_raw: list | None = None
_guard: subprocess.Popen[bytes] | None = None
_hooked = False


def make_raw(fd: int, signals: bool) -> None:
    """Byte by byte, no echo, no translation; `signals`: Ctrl-C, Ctrl-\\ and Ctrl-Z keep their meaning."""
    global _fd, _saved, _raw
    if _saved is None:
        _fd = fd
        _saved = termios.tcgetattr(fd)
        _hook()
        _start_guard()
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(fd)
    iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
               | termios.IGNCR | termios.ICRNL | termios.IXON)
    oflag |= termios.OPOST                  # a bare newline of the monitor still begins a line
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN)
    lflag = lflag | termios.ISIG if signals else lflag & ~termios.ISIG
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    cc = list(cc)
    cc[termios.VMIN], cc[termios.VTIME] = 1, 0
    _raw = [iflag, oflag, cflag, lflag, ispeed, ospeed, cc]
    _apply(_raw)


def restore() -> None:
    """Put back what was found. Idempotent."""
    global _saved, _raw, _guard
    if _saved is None:
        return
    _apply(_saved)
    _saved = _raw = None
    if _guard is not None:
        assert _guard.stdin is not None
        try:
            _guard.stdin.write(b"done\n")
            _guard.stdin.close()
            _guard.wait(1)
        except (OSError, subprocess.TimeoutExpired):
            pass
        _guard = None


def _apply(settings: list) -> None:
    """tcsetattr without being stopped for it when we are in the background."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        termios.tcsetattr(_fd, termios.TCSANOW, settings)
    except (termios.error, OSError):
        pass                                # the terminal is gone: nothing to restore
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _hook() -> None:
    global _hooked
    if _hooked:
        return
    _hooked = True
    atexit.register(restore)
    if threading.current_thread() is not threading.main_thread():
        return                              # only the main thread may; the guardian is still there
    for number in _ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _end)
    for number, handler in ((signal.SIGTSTP, _suspend), (signal.SIGCONT, _resume)):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> None:
    restore()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _suspend(number: int, frame: FrameType | None) -> None:
    if _saved is not None:
        _apply(_saved)
    os.kill(os.getpid(), signal.SIGSTOP)


def _resume(number: int, frame: FrameType | None) -> None:
    if _raw is not None:
        _apply(_raw)


def _start_guard() -> None:
    global _guard
    assert _saved is not None
    script = ("trap '' INT QUIT TERM HUP TSTP TTOU; read -r line || stty \"$0\" <&3 2>/dev/null")
    try:
        copy = os.dup(_fd)
        try:
            _guard = subprocess.Popen(["/bin/sh", "-c", script.replace("<&3", f"<&{copy}"), _stty_form(_saved)],
                                      stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                      pass_fds=(copy,))
        finally:
            os.close(copy)
    except OSError:                         # no shell on this host: three nets are left
        _guard = None


def _stty_form(settings: list) -> str:
    """The settings as `stty -g` writes them: flags and control characters in hexadecimal."""
    iflag, oflag, cflag, lflag, _, _, cc = settings
    chars = [char if isinstance(char, int) else char[0] for char in cc]
    return ":".join(f"{value:x}" for value in (iflag, oflag, cflag, lflag, *chars))
