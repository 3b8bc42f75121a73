"""The memory balloon, as far as monitors show and set it."""

from __future__ import annotations

from typing import Any

from .errors import CommandError, DeviceNotActive
from .table import Context, command, declare_types, event, qmp_command

declare_types("""
struct  BalloonInfo  actual: int
""")

event("BALLOON_CHANGE", "actual: int", interval=1.0, help="the guest has put pages into its balloon, or taken some out")


def _balloon(ctx: Context) -> Any:
    found = ctx.machine.find("virtio-balloon-device")
    if found is None:
        raise DeviceNotActive("No balloon device has been activated")
    return found


@command("info balloon", help="show balloon information", qmp="query-balloon", returns="BalloonInfo",
         render=lambda info: f"balloon: actual={info['actual'] >> 20}\n")
def query_balloon(ctx: Context) -> dict[str, int]:
    return {"actual": _balloon(ctx).guest_memory()}


@qmp_command("balloon", "value: int", help="leave the guest that many bytes")
def balloon(ctx: Context, value: int) -> None:
    device = _balloon(ctx)
    if value <= 0:
        raise CommandError("Parameter 'target' expects a size")
    device.set_target(value)


@command("balloon", "value:l", params="target", help="request VM to change its memory allocation (in MB)")
def balloon_megabytes(ctx: Context, value: int) -> None:
    balloon(ctx, value << 20)
