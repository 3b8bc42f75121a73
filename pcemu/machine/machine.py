"""A whole machine: built from a MachineConfig, run in slices inside its own event loop."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from pcemu.debug.log import Log
from pcemu.debug.trace import Sink, TextSink, Tracer
from pcemu.qom.errors import PcemuError

from .base import MachineBase
from .clock import NEVER, MachineClock
from .config import AUTO_SHIFT, MachineConfig
from .cpu import parse_cpu
from .exit import DeviceFailure, ExitReason, describe_failure
from .turns import TURNS

if TYPE_CHECKING:
    from .cpulog import CpuLog
    from .loop import MachineLoop

SLICE_NS = 1_500_000  # how long the guest runs before the host's files are looked at
SLICE_INSNS = 100_000  # the most at once with instruction-count time, where the clock says nothing about the host, ...
SLICE_INSNS_LEAST = 500  # ... and the least, where they are slow
CATCH_UP_NS = 10_000_000  # host-clock time never jumps further than this between two slices
CPU_LOG_ITEMS = frozenset(("in_asm", "exec", "cpu", "int"))
CODE_LOG_ITEMS = frozenset(("op", "out_asm"))
STEP_NOIRQ, STEP_NOTIMER = 2, 4  # of debug_step()
STOPPED = ("breakpoint", "watchpoint")  # what Cpu.run() returns for a debugger
MAX_STATE_DUMPS = 1  # a guest that triple-faults for ever must not fill a disk


def translated(config: MachineConfig) -> dict[str, int]:
    """Arguments of core.Memory: the room for decoded blocks; compiled code has as much of its own (-accel tcg,tb-size=)."""
    return {"tb_size": config.tb_size << 20} if config.tb_size else {}


class Machine(MachineBase):
    """``Machine(config).build().run()``; `core` stands in for the compiled core in tests."""

    def __init__(self, config: MachineConfig, core: Any = None) -> None:
        if core is None:
            core = importlib.import_module("pcemu._core.engine")
        self.config = config
        self.core = core
        icount = config.icount
        self.stepped = config.accel == "qtest"  # no processor runs, and time moves when the tests say so
        self.icount_mode = icount is not None or self.stepped
        self._jump_when_idle = icount is not None and not icount.sleep
        shift = (0 if self.stepped else None) if icount is None else AUTO_SHIFT if icount.shift is None else icount.shift
        log = Log(config.log_items)
        log.ranges = config.log_ranges
        if config.log_file:
            log.open_file(config.log_file)
        self.trace_log = log
        sink: Sink | None = None
        if config.trace_file and config.trace_format == "binary":
            from pcemu.debug.tracefile import open_sink

            sink = open_sink(config.trace_file)
        elif config.trace_file:
            self.trace_log = Log()
            self.trace_log.open_file(config.trace_file, "-trace file=")
        tracer = Tracer(config.trace_events, sink or TextSink(self.trace_log.write))
        clock = MachineClock(core.Clock(shift, icount.sleep if icount else True))
        self._auto_shift = None
        if icount is not None and icount.shift is None:
            from .icount import AutoShift

            self._auto_shift = AutoShift(clock.core)
        super().__init__(core.Memory(**translated(config)), core.IoSpace(), clock, ram_size=config.ram_size, seed=config.seed,
                         log=log, tracer=tracer)  # fmt: skip
        self.rtc_config = config.rtc
        self.globals = list(config.globals)
        self.parse_cpu = parse_cpu
        self.cpu_models: list[Any] = []
        self.board: Any = None
        self.monitors: list[Any] = []
        self.qtest: Any = None
        self.serial_backends: list[Any] = []  # chardevs of the board's serial ports, None: no port
        self.status = "prelaunch"  # QMP's run states
        self.guest_runs = False
        self.exit_reason: ExitReason | None = None
        self.powerdown_handlers: list[Callable[[], None]] = []
        self._requests: list[tuple[str, str, int]] = []
        self._loop: MachineLoop | None = None
        self._failure: BaseException | None = None
        self._inside_cpu = False
        self._cpu_log: CpuLog | None = None
        self._code_log = False
        self.debugger: Any = None  # the gdb stub (-gdb)
        self._step: tuple[int, bool] | None = None  # it wants one instruction: how, and whether to go on after it
        self._dumps = 0
        self._slice_insns = SLICE_INSNS
        self._seen_ns = 0  # virtual time when we last looked, to notice that the host starved us
        self._was_busy = False  # the last slice ended in the middle of the guest's work
        self._owed_ns = 0  # virtual time held back while it was
        self._idle_since = 0  # host time when the guest went to sleep
        self._closed = False

    # -- building -------------------------------------------------------------------------------------------

    def build(self) -> Machine:
        """Board, devices, images; then reset of everything. The machine is ready to run after it."""
        from .builder import build

        try:
            build(self)
        except (PcemuError, RecursionError):
            raise
        except Exception as error:
            raise DeviceFailure(describe_failure(error)) from error
        self.clock.stop()
        self.log_cpu()
        return self

    def log_cpu(self) -> None:
        """Have the processor report what the log's items ask for."""
        items = self.log.items
        code = bool(items & CODE_LOG_ITEMS and not items & CPU_LOG_ITEMS - {"in_asm"})
        self._cpu_log = None
        if self._code_log and not code:
            self.cpu.log_code(False, False)
        self._code_log = code
        if code:
            from .codelog import log_code

            log_code(self.cpu, self.log)
        elif items & CPU_LOG_ITEMS and self.cpus:
            from .cpulog import CpuLog

            if items & CODE_LOG_ITEMS:
                print("pcemu: warning: -d op and out_asm show nothing together with exec, cpu or int, for which the guest runs "
                      "instruction by instruction", file=sys.stderr)  # fmt: skip
            self._cpu_log = CpuLog(self.cpu, self.log)

    def reset_all(self) -> None:
        if "cpu_reset" in self.log.items:
            from .cpudump import dump_cpu

            self.log.write("CPU Reset (CPU 0)\n" + dump_cpu(self.cpu) + "\n")
        super().reset_all()

    @property
    def host_time(self) -> bool:
        return not self.icount_mode

    # -- the loop -------------------------------------------------------------------------------------------

    @property
    def loop(self) -> MachineLoop:
        """The private event loop, made when first needed."""
        if self._loop is None:
            from .loop import MachineLoop

            self._loop = MachineLoop(self)
            self._loop.set_exception_handler(self._loop_failed)
        return self._loop

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` in the machine's thread whenever `fd` can be read."""
        self.loop.add_reader(fd, callback)

    def remove_reader(self, fd: int) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(fd)

    def post(self, callback: Callable[[], object]) -> None:
        """From any thread: run `callback` in the machine's thread, soon."""
        self.loop.call_soon_threadsafe(callback)
        for cpu in self.cpus:
            cpu.request_exit()

    def _loop_failed(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            print(f"pcemu: {context.get('message')}", file=sys.stderr)
            return
        self._failure = self._failure or error
        loop.stop()

    # -- running --------------------------------------------------------------------------------------------

    def run(self) -> ExitReason:
        """Run until the machine ends. Devices' exceptions come out as DeviceFailure."""
        if self._inside_cpu:
            raise RuntimeError("the machine is running: it cannot be run from inside a device")
        if self.status == "prelaunch" and not self.config.paused:
            self.cont()
        loop = self.loop
        while self.exit_reason is None:
            try:
                with TURNS:
                    loop.run_active()
            except Exception as error:
                self._failure = self._failure or error
            if self._failure is not None:
                failure, self._failure = self._failure, None
                self._halt("internal-error")
                if isinstance(failure, PcemuError):
                    raise failure
                raise DeviceFailure(describe_failure(failure)) from failure
        return self.exit_reason

    def step(self, count: int = 1) -> int:
        """Run `count` instructions (fewer if the guest halts for good, ends or is at a breakpoint); returns how many ran."""
        cpu = self.cpu
        start: int = cpu.icount
        was_running = self.status == "running"
        if not was_running:
            self.clock.start()
        try:
            while (left := count - (cpu.icount - start)) > 0 and self.exit_reason is None:
                self.clock.run_due()
                self._serve_requests()
                reason = self._run_cpu(left)
                if reason == "shutdown":
                    self._triple_fault()
                elif reason == "halted":
                    deadline = self.clock.next_deadline()
                    if deadline == NEVER or self._requests:
                        break
                    self.clock.advance_to(deadline)
                elif reason in STOPPED:
                    break
        finally:
            if not was_running:
                self.clock.stop()
        return int(cpu.icount - start)

    def run_slice(self) -> bool:
        """One slice of guest time; False when the guest has nothing to do (see machine/loop.py)."""
        if self.status != "running" or self.stepped:
            if self._requests:
                self._serve_requests()
                return True
            return False
        if self._step is not None:
            return self._run_step(*self._step)
        end = monotonic_ns() + SLICE_NS
        cpu, clock = self.cpu, self.clock
        self._limit_catch_up()
        busy = False
        while self.status == "running":
            if clock.run_due():
                busy = True
            if self._requests:
                self._serve_requests()
                busy = True
                continue
            before = cpu.icount
            start = monotonic_ns()
            reason = self._run_cpu(self._slice_insns if self.icount_mode else 2**62, span=end - start)
            now = monotonic_ns()
            if reason == "budget":
                wanted = self._slice_insns * 2 if now - start < SLICE_NS // 3 else self._slice_insns // 2
                self._slice_insns = min(max(wanted, SLICE_INSNS_LEAST), SLICE_INSNS)
            if cpu.icount != before or reason != "halted":
                busy = True
            if reason == "shutdown":
                self._triple_fault()
            elif reason == "halted" and not self._requests:
                self._pay_back()
                deadline = clock.next_deadline()
                if self._jump_when_idle and deadline != NEVER:
                    clock.advance_to(deadline)
                    busy = True
                elif deadline > clock.now():
                    break
            elif reason in STOPPED:
                self.stop("debug")
            if now >= end:
                break
        if self._auto_shift is not None:
            self._auto_shift.look()
        self._seen_ns = clock.now()
        self._idle_since = monotonic_ns()
        self._was_busy = cpu.runnable
        return busy

    def _run_cpu(self, budget: int, events: bool = False, held: bool = False, timers: bool = True, span: int = SLICE_NS) -> str:
        """`budget` instructions, or to the next timer, or for `span` ns, which says nothing to instruction-count time."""
        core = self.clock.core
        deadline = self.clock.next_deadline() if timers else NEVER
        if not self.icount_mode:
            deadline = min(deadline, self.clock.now() + span)
        core.deadline = deadline
        self._inside_cpu = True
        try:
            reason: str = (self._cpu_log or self.cpu).run(budget, events, held)
        except Exception as error:
            if hasattr(error, "facts"):  # lockstep.LockstepDifference
                from pcemu.debug.lockstep import describe

                raise PcemuError(describe(error.facts)) from None
            raise
        finally:
            self._inside_cpu = False
        if not self.icount_mode:
            late = self.clock.now() - deadline - CATCH_UP_NS
            if late > 0:
                self.clock.hold_back(late)
        return reason

    # -- single steps of a debugger ---------------------------------------------------------------------------

    def debug_step(self, flags: int, go_on: bool = False) -> None:
        """Run one instruction, or the delivery of the exception it raises, and stop ('debug'), or go on if `go_on`.

        flags: STEP_NOIRQ, interrupts have to wait; STEP_NOTIMER, timers too. A halted processor waits first for what ends that,
        and stops at the first instruction of the handler.
        """
        self._step = (flags, go_on)
        self.cont()

    def cancel_step(self) -> None:
        """The debugger has gone."""
        self._step = None

    def _run_step(self, flags: int, go_on: bool) -> bool:
        """As run_slice()."""
        cpu, clock = self.cpu, self.clock
        held = bool(flags & STEP_NOIRQ) and not cpu.halted
        timers = cpu.halted or not flags & STEP_NOTIMER
        if timers:
            clock.run_due()
        if self._requests:
            self._serve_requests()
            return True
        if not held and not cpu.halted:
            cpu.set_breakpoints(())  # not the one it stands at; the debugger sets them all again before it lets the machine run
        reason = self._run_cpu(1, True, held, timers)
        if reason == "halted":
            deadline = clock.next_deadline()
            if self._jump_when_idle and deadline != NEVER:
                clock.advance_to(deadline)
                return True
            self._idle_since = monotonic_ns()
            return deadline <= clock.now()
        if reason in ("deadline", "exit_request"):
            return True
        self._step = None
        if reason == "shutdown":
            self._triple_fault()
        if not go_on or reason in STOPPED:
            self.stop("debug")
        return True

    def idle_seconds(self) -> float | None:
        """How long to sleep while the guest is halted."""
        if self.status != "running" or self.stepped:
            return None
        deadline = self.clock.next_deadline()
        if deadline == NEVER:
            return None
        return max(0, deadline - self.clock.now()) / 1e9

    def woke_up(self) -> None:
        """After a sleep: instruction-count time moves on by what was slept, to the next deadline at most."""
        if self.status == "running" and not self.stepped:
            if self.icount_mode:
                now = self.clock.now()
                slept = monotonic_ns() - self._idle_since
                self.clock.advance_to(min(now + max(slept, 0), max(now, self.clock.next_deadline())))
                self._idle_since += max(slept, 0)
            else:
                self._seen_ns = max(self._seen_ns, min(self.clock.now(), self.clock.next_deadline()))

    def _limit_catch_up(self) -> None:
        """A host that did not run us for a while must not show as a jump of the guest's time."""
        if self.icount_mode:
            return
        gap = self.clock.now() - self._seen_ns
        if not self._seen_ns or gap <= 0:
            return
        if self._was_busy:
            # A turn of the loop in the middle of the guest's work is not the guest's time: a kernel that calibrates
            # one clock against another would see a hole in both. It is paid back when the guest is idle.
            self.clock.hold_back(gap)
            self._owed_ns += min(gap, CATCH_UP_NS)
        elif gap > CATCH_UP_NS:
            self.clock.hold_back(gap - CATCH_UP_NS)

    def _pay_back(self) -> None:
        """The guest is halted: virtual time catches up with what was held back."""
        if self._owed_ns:
            step = min(self._owed_ns, CATCH_UP_NS)
            self._owed_ns -= step
            self.clock.advance_to(self.clock.now() + step)

    # -- life -----------------------------------------------------------------------------------------------

    def cont(self) -> None:
        """Start or go on."""
        if self.status == "running":
            return
        self.clock.start()
        if self._auto_shift is not None:
            self._auto_shift.start()
        self._seen_ns = self.clock.now()
        self._idle_since = monotonic_ns()
        self.status = "running"
        self.guest_runs = True
        for client in self.net_clients:
            client._try_later()
        self.emit_event("RESUME")

    def stop(self, status: str = "paused") -> None:
        """Stand still: no guest code, no virtual time. Monitors go on."""
        if self.status == "running":
            self._halt(status)
            self.emit_event("STOP")
            if self.drives:
                from pcemu.block import options

                self.loop.call_soon(options.settle, self)  # not now: a disk may be what stops us

    def _halt(self, status: str) -> None:
        if self.status == "running":
            self.clock.stop()
            self._request_exit()
            self.tracer.flush()
        self._step = None
        self.status = status
        self.guest_runs = False

    def _request_exit(self) -> None:
        for cpu in self.cpus:
            cpu.request_exit()

    @property
    def ending(self) -> bool:
        """Has the machine been told to quit?"""
        return any(what == "quit" for what, _, _ in self._requests) or self.exit_reason is not None

    def quit(self, status: int = 0, cause: str = "host-qmp-quit") -> None:
        """End the machine, whatever -no-shutdown says."""
        self._ask("quit", cause, status)

    def request_reset(self, cause: str = "guest-reset") -> None:
        """Reset the machine after the current instruction (or end it: -no-reboot)."""
        self._ask("reset", cause, 0)

    def request_shutdown(self, cause: str = "guest-shutdown", status: int = 0) -> None:
        """Power off after the current instruction; a status other than 0 ends the process in any case."""
        self._ask("quit" if status else "shutdown", cause, status)

    def request_powerdown(self) -> None:
        """Press the power button; what happens is up to the guest."""
        self.emit_event("POWERDOWN")
        for handler in self.powerdown_handlers:
            handler()

    def watchdog_expired(self) -> None:
        """The guest did not serve its watchdog: do what -watchdog-action says."""
        action = self.config.action_watchdog
        self.emit_event("WATCHDOG", {"action": action})
        match action:
            case "reset":
                self.request_reset("guest-reset")
            case "shutdown":
                self.request_powerdown()
            case "poweroff":
                self.quit(0, "guest-shutdown")
            case "pause":
                self.stop("watchdog")
            case "debug":
                print("pcemu: watchdog: timer fired", file=sys.stderr)
            case "inject-nmi":
                for cpu in self.cpus:
                    cpu.set_nmi()

    def guest_panicked(self) -> None:
        """The guest's kernel has crashed: do what -action panic= says."""
        config = self.config
        action = config.action_panic
        if action == "none":
            self.emit_event("GUEST_PANICKED", {"action": "run"})
            return
        stays = action == "pause" or (action == "shutdown" and config.action_shutdown == "pause")
        self.emit_event("GUEST_PANICKED", {"action": "pause" if stays else "poweroff"})
        self.stop("guest-panicked")
        if not stays:
            self.request_shutdown("guest-panic", 1 if action == "exit-failure" else 0)

    def guest_crash_loaded(self) -> None:
        """The guest has crashed, and its crash kernel takes over."""
        self.emit_event("GUEST_CRASHLOADED", {"action": "run"})

    def on_powerdown(self, handler: Callable[[], None]) -> None:
        """A device that has a power button to press."""
        self.powerdown_handlers.append(handler)

    def _ask(self, what: str, cause: str, status: int) -> None:
        self._requests.append((what, cause, status))
        if self._inside_cpu:
            self._request_exit()

    def _serve_requests(self) -> None:
        requests, self._requests = self._requests, []
        # The strongest wins: an end over a power-off over a reset.
        for wanted in ("quit", "shutdown", "reset"):
            for what, cause, status in requests:
                if what == wanted:
                    self._serve(what, cause, status)
                    return

    def _serve(self, what: str, cause: str, status: int) -> None:
        guest = cause.startswith(("guest", "isa-debug"))
        if what == "reset":
            if self.config.action_reboot == "shutdown" or self.config.no_reboot:
                what = "shutdown"
            else:
                self.emit_event("RESET", {"guest": guest, "reason": cause})
                self.reset_all()
                return
        self.emit_event("SHUTDOWN", {"guest": guest, "reason": cause})
        if what == "shutdown" and (self.config.action_shutdown == "pause" or self.config.no_shutdown):
            self._halt("shutdown")
            self.emit_event("STOP")
            return
        self._end(ExitReason(cause, status))

    def _end(self, reason: ExitReason) -> None:
        self._halt("shutdown")
        self.exit_reason = reason
        if self.debugger is not None:
            self.debugger.ended(reason.status)
        self.loop.stop()

    def _triple_fault(self) -> None:
        """The CPU shut down: say so, show its state, and reset as the board's logic does."""
        from .cpudump import dump_cpu

        print("pcemu: triple fault: the processor shut down", file=sys.stderr)
        if self._dumps < MAX_STATE_DUMPS:
            self._dumps += 1
            print(dump_cpu(self.cpu), file=sys.stderr, flush=True)
        self.request_reset("guest-reset")

    # -- end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything back to the host: terminals, sockets, files. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self.block_graph is not None:
            from pcemu.block import options

            options.close(self)
        for chardev in reversed(list(self.chardevs.values())):
            try:
                chardev.close()
            except Exception as error:
                print(f"pcemu: chardev '{chardev.id}': {error}", file=sys.stderr)
        things: list[Any] = [*reversed(list(self.objects.values())), *reversed(self.net_clients)]
        for thing in things:
            try:
                thing.close()
            except Exception as error:
                print(f"pcemu: {getattr(thing, 'id', '') or getattr(thing, 'name', '')}: {error}", file=sys.stderr)
        if self._loop is not None:
            self._loop.close()
        self.fds.close()
        self.log.close()
        self.tracer.close()
        self.trace_log.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
