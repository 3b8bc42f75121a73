"""dump-guest-memory: the guest's memory and registers as an ELF core file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pcemu.machine.memdump import MemoryDump

from . import pagetables
from .errors import CommandError
from .qmp import Later
from .table import Context, command, declare_types, qmp_command

declare_types("""
enum    DumpStatus                 none active completed failed
struct  DumpQueryResult            status: DumpStatus, completed: int, total: int
enum    DumpGuestMemoryFormat      elf
struct  DumpGuestMemoryCapability  formats: [DumpGuestMemoryFormat]
""")

PIECES_A_TURN = 4


class DumpJob:
    """The machine's dump, at most one at a time."""

    def __init__(self) -> None:
        self.status = "none"
        self.dump: MemoryDump | None = None

    def result(self) -> dict[str, Any]:
        dump = self.dump
        return {"status": self.status, "completed": dump.completed if dump else 0, "total": dump.total if dump else 0}


def _job(ctx: Context) -> DumpJob:
    job = getattr(ctx.machine, "dump_job", None)
    if job is None:
        job = ctx.machine.dump_job = DumpJob()
    return job


def _mappings(machine: Any) -> Iterator[tuple[int, int, int]] | None:
    if not machine.cpus or not pagetables.paging_on(machine.cpu):
        return None
    cpu = machine.cpu
    return ((pagetables.canonical(cpu, each.virtual), each.physical, each.size) for each in pagetables.walk(cpu, machine.memory))


def _open(ctx: Context, protocol: str) -> int:
    kind, _, name = protocol.partition(":")
    if kind == "fd":
        fd: int = ctx.machine.fds.use(name)
        return fd
    if kind == "file" and name:
        try:
            return int(ctx.machine.fds.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        except OSError as error:
            raise CommandError(f"Could not open '{name}': {error.strerror}") from None
    raise CommandError("Parameter 'protocol' expects file:PATH or fd:NAME")


def _start(ctx: Context, paging: bool, protocol: str, begin: int | None, length: int | None) -> tuple[DumpJob, bool]:
    machine, job = ctx.machine, _job(ctx)
    if job.status == "active":
        raise CommandError("There is a dump in process, please wait.")
    if (begin is None) != (length is None):
        raise CommandError(f"Parameter '{'length' if length is None else 'begin'}' is missing")
    if begin is not None and (begin < 0 or (length or 0) <= 0):
        raise CommandError("Parameter 'length' expects a positive number, 'begin' one that is not negative")
    fd = _open(ctx, protocol)
    was_running = machine.status == "running"
    if was_running:
        machine.stop("paused")
    try:
        job.dump = MemoryDump(machine, fd, mappings=_mappings(machine) if paging else None, begin=begin, length=length)
    except Exception:
        os.close(fd)
        if was_running:
            machine.cont()
        raise
    job.status = "active"
    return job, was_running


def _finish(ctx: Context, job: DumpJob, resume: bool, error: OSError | None) -> None:
    assert job.dump is not None
    os.close(job.dump.fd)
    job.status = "completed" if error is None else "failed"
    if resume:
        ctx.machine.cont()


@qmp_command("dump-guest-memory", "paging: bool, protocol: str, detach?: bool, begin?: int, length?: int, "
             "format?: DumpGuestMemoryFormat", help="write the guest's memory and registers into an ELF core file")
def dump_guest_memory(ctx: Context, paging: bool, protocol: str, detach: bool = False, begin: int | None = None,
                      length: int | None = None, format: str = "elf") -> Later | None:
    job, resume = _start(ctx, paging, protocol, begin, length)
    later = Later()

    def turn() -> None:
        assert job.dump is not None
        failure: OSError | None = None
        try:
            for _ in range(PIECES_A_TURN):
                if job.dump.step():
                    break
            else:
                ctx.machine.loop.call_soon(turn)
                return
        except OSError as error:
            failure = error
        _finish(ctx, job, resume, failure)
        text = f"dump: failed to save memory: {failure.strerror}" if failure else ""
        if detach:
            ctx.machine.emit_event("DUMP_COMPLETED", {"result": job.result()} | ({"error": text} if text else {}))
        elif failure:
            later.fail(CommandError(text))
        else:
            later.done()

    ctx.machine.loop.call_soon(turn)
    return None if detach else later


@command("dump-guest-memory", "paging:-p,filename:f,begin:l?,length:l?", params="[-p] filename [begin length]",
         help="dump guest memory into an ELF core file (-p: with the guest's virtual addresses)")
def dump_guest_memory_text(ctx: Context, paging: bool, filename: str, begin: int | None, length: int | None) -> None:
    job, resume = _start(ctx, paging, f"file:{filename}", begin, length)
    assert job.dump is not None
    failure: OSError | None = None
    try:
        while not job.dump.step():
            pass
    except OSError as error:
        failure = error
    _finish(ctx, job, resume, failure)
    if failure:
        raise CommandError(f"dump: failed to save memory: {failure.strerror}")


def _show_dump(found: dict[str, Any]) -> str:
    text = f"Status: {found['status']}\n"
    if found["status"] == "active":
        text += f"Finished: {100 * found['completed'] / (found['total'] or 1):.2f} %\n"
    return text


@command("info dump", help="Display the latest dump status", qmp="query-dump", returns="DumpQueryResult", render=_show_dump)
def query_dump(ctx: Context) -> dict[str, Any]:
    return _job(ctx).result()


@qmp_command("query-dump-guest-memory-capability", returns="DumpGuestMemoryCapability", help="formats of dump-guest-memory")
def query_dump_capability(ctx: Context) -> dict[str, Any]:
    return {"formats": ["elf"]}
