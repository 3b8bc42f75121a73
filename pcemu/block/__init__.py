"""Disks: image formats and protocols as a graph of nodes, and what a device sees of it.

    backend = machine.drives["d0"]          # -drive id=d0 or -blockdev node-name=d0; Property("drive") finds it
    backend.attach("virtio-blk-pci")        # refuses a second device
    backend.preadv(offset, [view, ...], done)

A request never blocks the caller: it runs on the thread pool (`pool.py`), and `done(errno)` is called on the machine's
thread, with 0 or an errno of the host. `options.build()` makes the graph from -drive and -blockdev.
"""

from __future__ import annotations

from .backend import BlockBackend
from .errors import BlockError

__all__ = ["BlockBackend", "BlockError"]
