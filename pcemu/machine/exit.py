"""Why a machine ended."""

from __future__ import annotations

from dataclasses import dataclass

from pcemu.qom.errors import PcemuError


@dataclass(frozen=True)
class ExitReason:
    """`cause` is one word (QMP's names where there is one), `status` what the process exits with."""

    cause: str  # guest-shutdown, guest-reset, host-qmp-quit, host-signal, isa-debug-exit, ...
    status: int = 0
    detail: str = ""


class DeviceFailure(PcemuError):
    """A device's own code failed; the message names the device."""


def find_culprit(error: BaseException) -> str:
    """The device (or other part) in whose method an exception was raised: the innermost one in the traceback."""
    from pcemu.qom import Device

    name = ""
    trace = error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, Device):
            name = f"{owner.type_name} ({owner.id})" if owner.id else owner.type_name
        elif not name and trace.tb_frame.f_globals.get("__name__", "").startswith(("pcemu.chardev", "pcemu.monitor")):
            name = getattr(owner, "id", "") or type(owner).__name__
        trace = trace.tb_next
    return name


def describe_failure(error: BaseException) -> str:
    """One line: who failed, how, and where."""
    where = ""
    trace = error.__traceback__
    while trace is not None:
        where = f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    culprit = find_culprit(error) or "machine"
    text = str(error)
    kind = type(error).__name__
    return f"{culprit}: internal error: {kind}{': ' + text if text else ''} ({where})"
