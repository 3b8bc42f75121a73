"""The program: parse, build, run, clean up, whatever happens."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pcemu.qom.errors import PcemuError

from .errors import Done
from .parser import parse

if TYPE_CHECKING:
    from pcemu.machine.config import MachineConfig
    from pcemu.machine.machine import Machine

END_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """A signal that ends the process came before the machine ran."""

    def __init__(self, number: int) -> None:
        self.number = number


def run(arguments: Sequence[str]) -> int:
    """The whole program but for exit(). Errors are one line on standard error and status 1."""
    from .service import hold_standard_files, stamp_messages

    hold_standard_files()
    try:
        config = parse(arguments)
        stamp_messages(config)
    except Done:
        return _flush()
    except PcemuError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return _broken_pipe()
    try:
        return run_config(config)
    except PcemuError as error:
        if config.traceback and error.__cause__ is not None:
            import traceback

            traceback.print_exception(error.__cause__)
        return _fail(str(error))
    except Terminated as stop:
        return _terminated(stop.number)
    except KeyboardInterrupt:
        return _terminated(signal.SIGINT)


def run_config(config: MachineConfig) -> int:
    """Build and run; the terminal, sockets and files are given back in any case."""
    from pcemu.machine.machine import Machine

    from . import service

    in_main = threading.current_thread() is threading.main_thread()
    if in_main:
        for number in END_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _early)
    if config.process_name:
        _rename(config.process_name)
    if config.debug_threads:
        from pcemu.qom import threads

        threads.shown = True
    daemon = service.Daemon() if config.daemonize else None
    pid_file: service.PidFile | None = None
    machine = Machine(config)
    try:
        if config.pid_file:
            pid_file = service.PidFile(config.pid_file)
        machine.build()
        service.give_up_rights(config)
        if daemon is not None:
            daemon.ready(machine.log.stream)
        if in_main:
            for number in END_SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    machine.loop.add_signal_handler(number, _quit, machine, number)
        gc.freeze()  # what there is now stays: collections need not walk over it while the guest waits
        return machine.run().status
    finally:
        gc.unfreeze()
        if in_main:  # a second Ctrl-C must not keep the terminal from being restored
            for number in END_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        machine.close()
        if pid_file is not None:
            pid_file.remove()


def _early(number: int, frame: object) -> None:
    raise Terminated(number)


def _quit(machine: Machine, number: int) -> None:
    if not machine.ending:
        _terminated(number)
    machine.quit(0, "host-signal")


def _terminated(number: int) -> int:
    print(f"pcemu: terminating on signal {int(number)}", file=sys.stderr)
    return 0


def _fail(text: str) -> int:
    print(f"pcemu: {text}", file=sys.stderr)
    return 1


def _flush() -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _broken_pipe()
    return 0


def _broken_pipe() -> int:
    # Whoever read our list has seen enough; keep the interpreter from complaining at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _rename(name: str) -> None:
    try:
        with open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write(name)
    except OSError:
        pass
