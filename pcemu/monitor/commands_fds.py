"""Commands about file descriptors that a client handed over (SCM_RIGHTS on a Unix socket)."""

from __future__ import annotations

from typing import Any

from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
struct  AddfdInfo    fdset-id: int, fd: int
struct  FdsetFdInfo  fd: int, opaque?: str
struct  FdsetInfo    fdset-id: int, fds: [FdsetFdInfo]
""")


def _received(ctx: Context) -> int:
    if ctx.monitor is None:
        raise CommandError("No file descriptor supplied via SCM_RIGHTS")
    fd: int = ctx.machine.fds.take_received(ctx.monitor.chardev)
    return fd


@command("getfd", "fdname:s", params="name", help="keep the file descriptor that came with the command, by a name",
         qmp="getfd")
def getfd(ctx: Context, fdname: str) -> None:
    ctx.machine.fds.give_name(fdname, _received(ctx))


@command("closefd", "fdname:s", params="name", help="close a file descriptor that getfd kept", qmp="closefd")
def closefd(ctx: Context, fdname: str) -> None:
    ctx.machine.fds.close_name(fdname)


@qmp_command("add-fd", "fdset-id?: int, opaque?: str", returns="AddfdInfo",
             help="put the file descriptor that came with the command into a set, /dev/fdset/ID")
def add_fd(ctx: Context, fdset_id: int | None = None, opaque: str | None = None) -> dict[str, int]:
    fd = _received(ctx)
    return {"fdset-id": ctx.machine.fds.add(fd, fdset_id, opaque), "fd": fd}


@qmp_command("remove-fd", "fdset-id: int, fd?: int", help="close a file descriptor of a set, or all of them")
def remove_fd(ctx: Context, fdset_id: int, fd: int | None = None) -> None:
    ctx.machine.fds.remove(fdset_id, fd)


@qmp_command("query-fdsets", returns="[FdsetInfo]", help="the sets of file descriptors")
def query_fdsets(ctx: Context) -> list[dict[str, Any]]:
    return [{"fdset-id": number, "fds": [{"fd": fd} | ({} if opaque is None else {"opaque": opaque})
                                         for fd, opaque in each.fds.items()]}
            for number, each in ctx.machine.fds.sets.items()]
