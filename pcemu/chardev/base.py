"""The character device: one stream of bytes between a device (or a monitor) and the host.

The *front end* is whoever uses the stream inside the machine: it calls `write`/`write_byte` and gets what arrives
through the callbacks `on_input`, `can_receive`, `on_event` and `on_writable`. The *back end* is a subclass: it knows
how to move bytes to and from the host (`_send`, and `_receive` for what came in).

Output is collected and handed to the host once a slice (through the machine's event loop) or when tens of KiB have
gathered: a guest prints byte by byte, and one host call a byte would cost more than the byte's emulation.

Back pressure. What a slow host side does not take is kept, and above `HIGH_WATER` bytes the stream is *blocked*:
`write_byte` returns False and the front end is expected to hold off until `on_writable`. The 16550A does so by
keeping THRE clear, so that the guest itself waits. Only of a guest that writes on regardless output is lost, with a
warning, when `MOST_KEPT` bytes have gathered. Output to a host side that does not exist (a socket without a peer, a
pty that nobody opened) is thrown away, as on real wires.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pcemu.qom.errors import PcemuError

FLUSH_SIZE = 32768         # hand output to the host at the latest when this much has gathered
HIGH_WATER = 256 * 1024    # above this much unsent output the stream is blocked ...
LOW_WATER = 64 * 1024      # ... until it falls below this
READ_SIZE = 4096
MOST_AT_ONCE = 1 << 16
MOST_KEPT = 64 << 20       # of a front end that writes on although blocked; beyond it output is lost, with a warning


class ChardevError(PcemuError):
    """A character device that cannot be made as asked; the text is fit for the user."""


class Chardev:
    """Base class: buffering, flow control, events. By itself it is a back end that swallows everything."""

    backend: ClassVar[str] = ""
    options: ClassVar[dict[str, str]] = {}      # option name -> kind, see pcemu.chardev.options
    # Seconds to get rid of unsent output when the machine ends; None: until it is gone or the reader is.
    close_timeout: ClassVar[float | None] = 2.0

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        self.machine = machine
        self.id = id
        self.opts = opts
        self._on_input: Callable[[bytes], None] | None = None
        self.can_receive: Callable[[], int] | None = None
        self.on_event: Callable[[str], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.owner = ""                 # who is the front end; "" when free
        self.blocked = False
        self.connected = True
        self.closed = False
        self.notice = ""                # a line for whoever made it
        self._out = bytearray()
        self._in = bytearray()
        self._writing = False           # a flush is scheduled, or the back end watches for room
        self._limit = FLUSH_SIZE        # queued bytes that need attention
        self._lossy = False
        self._pumping = False           # a delivery of pending input is scheduled
        self.refuse_others = False          # a socket closes further connections at once, instead of letting them wait
        self.accept_descriptors = False     # a Unix socket takes SCM_RIGHTS too (monitors)
        self.received_fds: list[int] = []   # of the last message that had any
        self._log_fd = _open_log(machine, opts)

    # ---- front end side -------------------------------------------------------------------------------------------

    @property
    def on_input(self) -> Callable[[bytes], None] | None:
        """Called with what came in, never with more than `can_receive()` returned. Setting it starts the input."""
        return self._on_input

    @on_input.setter
    def on_input(self, callback: Callable[[bytes], None] | None) -> None:
        self._on_input = callback
        if callback is not None and not self.closed:
            if self._in:
                self._schedule_pump()
            else:
                self._watch_input(True)

    def attach(self, owner: str = "", focus: bool = True) -> Chardev:
        """Claim the stream for one front end and return the object it is to use (a multiplexer returns a new port)."""
        if self.owner:
            raise ChardevError(f"chardev '{self.id}' is already in use by {self.owner}")
        self.owner = owner or "a device"
        return self

    def detach(self) -> None:
        self.owner = ""
        self.on_input = self.can_receive = self.on_event = self.on_writable = None

    def write(self, data: bytes) -> bool:
        """Queue bytes for the host; never waits. False: hold off until `on_writable` (these bytes are taken still)."""
        out = self._out
        out += data
        if not self._writing:
            self._schedule()
        elif len(out) >= self._limit:
            self._full()
        return not self.blocked

    def room(self) -> int:
        """How many bytes may be written before there is something to do about them: all but the last are taken for sure."""
        return max(1, self._limit - len(self._out))

    def write_byte(self, value: int) -> bool:
        """Queue one byte (the console's hot path). False: hold off until `on_writable` (this byte is taken still)."""
        out = self._out
        out.append(value)
        if not self._writing:
            self._schedule()
        elif len(out) >= self._limit:
            self._full()
        return not self.blocked

    @property
    def unsent(self) -> int:
        """Bytes that wait for the host to take them."""
        return len(self._out)

    def accept_input(self) -> None:
        """The front end has room again: deliver what is waiting, after the current slice."""
        if self._in and not self._pumping:
            self._schedule_pump()

    def set_params(self, speed: int, parity: str, data_bits: int, stop_bits: float) -> None:
        """Line parameters as the guest programmed them; only a real serial port would care."""

    def set_break(self, on: bool) -> None:
        """The guest asserts (or ends) a break condition."""

    # ---- output ---------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Give the host as much of the queued output as it takes without waiting."""
        out = self._out
        if self.closed:
            out.clear()
        while out:
            piece = bytes(out[:MOST_AT_ONCE])
            taken = self._send(piece) if self.connected else len(piece)
            if self._log_fd is not None:
                os.write(self._log_fd, piece[:taken])
            del out[:taken]
            if taken < len(piece):
                break
        left = len(out)
        self._writing = left > 0
        if left:
            self._watch_room(True)
        if self.blocked and left < LOW_WATER:
            self.blocked = False
            if self.on_writable is not None:
                self.on_writable()
        self._limit = MOST_KEPT if self.blocked else HIGH_WATER if left else FLUSH_SIZE

    def _full(self) -> None:
        """As much is queued as may be without doing something about it."""
        if self.blocked:
            del self._out[MOST_KEPT:]
            if not self._lossy:
                self._lossy = True
                print(f"pcemu: warning: chardev '{self.id}': output lost, nobody takes it", file=sys.stderr)
            return
        if self._limit == FLUSH_SIZE:
            self.flush()
        if len(self._out) >= HIGH_WATER:
            self.blocked = True
            self._limit = MOST_KEPT

    def drain(self, timeout: float | None = None) -> None:
        """Wait until everything queued has left (or `timeout` seconds of host time have passed)."""
        end = None if timeout is None else time.monotonic() + timeout
        self.flush()
        while self._out and self.connected and not self.closed:
            wait = 0.1 if end is None else min(0.1, end - time.monotonic())
            if wait <= 0:
                break
            self._wait_room(wait)
            self.flush()

    def _schedule(self) -> None:
        self._writing = True
        loop = getattr(self.machine, "loop", None)
        if loop is None:                # no event loop (a device under test): there is no later
            self.flush()
        else:
            loop.call_soon(self.flush)

    def _send(self, data: bytes) -> int:
        """Back end: pass on what the host takes at once, return how many bytes that was."""
        return len(data)

    def _watch_room(self, on: bool) -> None:
        """Back end: call `flush` when the host takes bytes again."""

    def _wait_room(self, timeout: float) -> None:
        """Back end: wait until the host takes bytes again."""

    # ---- input ----------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        """Back end: bytes came in. Called in the machine's thread, from its loop."""
        self._in += data
        self._pump()

    def _pump(self) -> None:
        """Deliver as much input as the front end takes now; one delivery a slice, so that a device sees its own pace."""
        self._pumping = False
        pending = self._in
        if pending and self._on_input is not None:
            room = self.can_receive() if self.can_receive is not None else len(pending)
            if room > 0:
                chunk = bytes(pending[:room])
                del pending[:room]
                self._on_input(chunk)
                if pending and (self.can_receive is None or self.can_receive() > 0):
                    self._schedule_pump()
        if not self.closed:
            self._watch_input(not pending)

    def _schedule_pump(self) -> None:
        loop = getattr(self.machine, "loop", None)
        if loop is not None:
            self._pumping = True
            loop.call_soon(self._pump)

    def _watch_input(self, on: bool) -> None:
        """Back end: start or stop taking input from the host."""

    def _event(self, event: str) -> None:
        if self.on_event is not None:
            self.on_event(event)

    # ---- life -----------------------------------------------------------------------------------------------------

    def describe(self) -> str:
        """What `info chardev` prints after filename=."""
        return self.backend

    def close(self) -> None:
        """End of the machine: get output out, give the host its resources back. Idempotent."""
        if self.closed:
            return
        self.drain(self.close_timeout)
        self._watch_input(False)
        self._watch_room(False)
        self.closed = True
        self._close()
        if self._log_fd is not None:
            os.close(self._log_fd)
            self._log_fd = None

    def _close(self) -> None:
        """Back end: release file descriptors."""


class FdChardev(Chardev):
    """Back end over file descriptors: one to read, one to write, either may be absent (-1)."""

    def __init__(self, machine: Any, id: str = "", **opts: Any) -> None:
        super().__init__(machine, id, **opts)
        self.fd_in = -1
        self.fd_out = -1
        self._chunk = 0                 # most bytes handed to one write(); 0: not yet known
        self._plain = False             # a regular file: it takes everything at once
        self._watching_in = False
        self._watching_out = False
        self._polling = False           # a source that cannot be watched (a plain file) is read in the loop

    def _send(self, data: bytes) -> int:
        """Write without waiting, and without O_NONBLOCK: that flag would be shared with the parent's terminal."""
        fd = self.fd_out
        if fd < 0:
            return len(data)
        if not self._chunk:
            # A pipe that polls writable has room for PIPE_BUF bytes; a terminal may wait on a long write.
            self._plain = stat.S_ISREG(os.fstat(fd).st_mode)
            self._chunk = MOST_AT_ONCE if self._plain else 1024
        done = 0
        while done < len(data):
            if not self._plain and not _writable(fd, 0.0):
                break
            try:
                done += os.write(fd, data[done:done + self._chunk])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as err:      # EPIPE, EIO, ENOSPC
                self._lost_output(err)
                return len(data)
        return done

    def _lost_output(self, err: OSError) -> None:
        """The host does not take output any more: say so once, and go on without it."""
        print(f"pcemu: warning: chardev '{self.id}': output lost: {err.strerror}", file=sys.stderr)
        self._watch_room(False)
        self.fd_out = -1

    def _watch_room(self, on: bool) -> None:
        if on == self._watching_out or (on and self.fd_out < 0):
            return
        loop = getattr(self.machine, "loop", None)
        if loop is None:
            return
        if on:
            try:
                loop.add_writer(self.fd_out, self._room)
            except (PermissionError, ValueError):       # not a pollable file: it always takes everything
                loop.call_soon(self.flush)
                return
        else:
            loop.remove_writer(self.fd_out)
        self._watching_out = on

    def _room(self) -> None:
        self._watch_room(False)
        self.flush()

    def _wait_room(self, timeout: float) -> None:
        if self.fd_out >= 0:
            _writable(self.fd_out, timeout)

    def _watch_input(self, on: bool) -> None:
        if self.fd_in < 0 or on == (self._watching_in or self._polling):
            return
        if on and self._on_input is None:
            return
        if not on:
            if self._watching_in:
                self.machine.remove_reader(self.fd_in)
            self._watching_in = self._polling = False
            return
        try:
            self.machine.add_reader(self.fd_in, self._readable)
            self._watching_in = True
        except PermissionError:                         # epoll refuses plain files and /dev/null
            self._polling = True
            self.machine.loop.call_soon(self._poll_file)

    def _poll_file(self) -> None:
        if self._polling and not self.closed:
            self._polling = False
            self._readable()

    def _readable(self) -> None:
        try:
            data = os.read(self.fd_in, READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._receive(data)
        else:
            self._end_of_input()

    def _end_of_input(self) -> None:
        """Nothing more will come. The machine runs on: a guest whose console input ended is still a guest."""
        self._watch_input(False)
        self.fd_in = -1
        self._event("closed")


def _writable(fd: int, timeout: float) -> bool:
    """Would write() take at least one byte within `timeout` seconds? (Plain files always would.)"""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        ready = poll.poll(int(timeout * 1000))
    except InterruptedError:
        return False
    return bool(ready)


def open_path(machine: Any, path: str, flags: int) -> int:
    """os.open() for the machine, which may have been handed the file's descriptor (/dev/fdset/N)."""
    fds = getattr(machine, "fds", None)
    if fds is not None:
        fd: int = fds.open(path, flags)
        return fd
    return os.open(path, flags | os.O_CLOEXEC, 0o666)


def _open_log(machine: Any, opts: Mapping[str, Any]) -> int | None:
    path = opts.get("logfile")
    if not path:
        return None
    mode = os.O_APPEND if opts.get("logappend") else os.O_TRUNC
    try:
        return open_path(machine, path, os.O_WRONLY | os.O_CREAT | mode)
    except OSError as err:
        raise ChardevError(f"Unable to open logfile {path}: {err.strerror}") from err
