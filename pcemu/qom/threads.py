"""Names of the process's threads for ps and top (-name debug-threads=on)."""

from __future__ import annotations

import contextlib
import threading

shown = False  # of the process: set before threads start


def introduce() -> None:
    """Called by a thread of ours first: the host gets to know its name, if somebody wants to see it."""
    if shown:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
            file.write(threading.current_thread().name[:15])
