"""The threads that wait for the host's disks."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from pcemu.qom.threads import introduce

THREADS = 16  # more requests than this wait in the queue


class ThreadPool:
    """Runs functions in the order they come, up to `THREADS` at a time. Threads are made when they are needed."""

    def __init__(self, name: str = "block", limit: int = THREADS) -> None:
        self._name = name
        self._limit = limit
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0  # threads waiting in the queue, less what has been put there for them
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """`work` must not raise."""
        with self._lock:
            self._idle -= 1
            if self._idle < 0 and len(self._threads) < self._limit:
                self._start_thread()
                self._idle += 1
        self._queue.put(work)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        # Signals are for the machine's thread, which may be asleep.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            thread.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    def _run(self) -> None:
        introduce()
        while (work := self._queue.get()) is not None:
            work()
            del work
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """Let the queue run empty and end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._idle = 0


class Lane:
    """Work for a pool's threads that is done in turn: who does the first does what has come meanwhile, too."""

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """`work` must not raise."""
        with self._lock:
            self._waiting.append(work)
            if self._busy:
                return
            self._busy = True
        self._pool.submit(self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._busy = False
                    return
                work = self._waiting.popleft()
            work()
