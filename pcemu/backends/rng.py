"""Where random numbers come from: -object rng-builtin and -object rng-random."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from pcemu.qom import PcemuError, Property
from pcemu.qom.object import UserObject

Done = Callable[[bytes], None]


class RngBuiltin(UserObject):
    """pcemu's own generator, started by -seed: the same numbers every run."""

    type_name = "rng-builtin"

    def request(self, size: int, done: Done) -> None:
        """Call ``done`` with `size` random bytes."""
        done(self.machine.random(size))


class RngRandom(UserObject):
    """Random numbers from a file of the host. A file that has none at the moment (a pipe) is waited for."""

    type_name = "rng-random"

    filename = Property(str, default="/dev/urandom", label="string", help="the file")

    def complete(self) -> None:
        self._requests: list[tuple[int, Done]] = []
        self._busy = False
        try:
            self.fd = os.open(self.filename, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise PcemuError(f"Could not open '{self.filename}': {error.strerror}") from None

    def request(self, size: int, done: Done) -> None:
        """Call ``done`` with 1 to `size` bytes: at once, or when the file has some."""
        self._requests.append((size, done))
        if not self._busy:
            self._serve()

    def _serve(self) -> None:
        self._busy = True
        try:
            while self._requests and self.fd >= 0:
                size, done = self._requests[0]
                try:
                    data = os.read(self.fd, size)
                except OSError as error:
                    if error.errno != errno.EAGAIN:
                        raise PcemuError(f"rng-random '{self.id}': {self.filename}: {error.strerror}") from None
                    self.machine.add_reader(self.fd, self._readable)
                    return
                if not data:
                    self.close()  # at its end: the guest waits, as for a generator that is broken
                    return
                self._requests.pop(0)
                done(data)
        finally:
            self._busy = False

    def _readable(self) -> None:
        self.machine.remove_reader(self.fd)
        self._serve()

    def close(self) -> None:
        if self.fd >= 0:
            self.machine.remove_reader(self.fd)
            os.close(self.fd)
            self.fd = -1
