"""snapshot: list, make, go back to and delete internal snapshots."""

from __future__ import annotations

import time

from pcemu.block.errors import BlockError, printable
from pcemu.block.qcow2 import snapshot as shots
from pcemu.block.qcow2.snapshot import Snapshot
from pcemu.qom.units import format_size

from .common import Arguments, ImgError, UsageError, need_qcow2, open_image

HEADER = f"{'ID':<10}{'TAG':<17}{'VM SIZE':>8}{'DATE':>20}{'VM CLOCK':>13}{'ICOUNT':>11}"


def line(row: Snapshot, shown_id: str | None = None) -> str:
    """A snapshot's line below HEADER; `shown_id` in place of its own id."""
    date = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.date_ns // 10**9))
    seconds, ms = row.vm_clock_ns // 10**9, row.vm_clock_ns // 10**6 % 1000
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{ms:03d}"
    icount = "" if row.icount == -1 else row.icount
    ident, name = (printable(text) for text in (shown_id or row.id, row.name))
    return f"{ident:<9} {name:<16} {format_size(row.vm_state_size):>8}{date:>20}{clock:>13}{icount:>11}"


def table(rows: list[Snapshot]) -> str:
    return "\n".join(["Snapshot list:", HEADER, *map(line, rows)])


def run(args: Arguments) -> int:
    actions = [letter for letter in "lcad" if args.has(letter)]
    if len(actions) > 1 or any(len(args.all(letter)) > 1 for letter in "cad"):
        raise UsageError("Cannot mix '-l', '-a', '-c', '-d'")
    action = actions[0] if actions else "l"
    filename = args.filename()
    node = open_image(filename, args.get("f"), image_opts=args.has("image-opts"), writable=action != "l", share=args.has("U"),
                      backing=True)  # fmt: skip
    image = need_qcow2(node, f"'{filename}': {node.driver} images have no internal snapshots")
    name = args.get(action) or ""
    with image:
        try:
            if action == "l":
                rows, _ = shots.read_snapshots(image)
                if rows:
                    print(table(rows))
            elif action == "c":
                shots.create(image, name)
            elif action == "a":
                shots.apply(image, name)
            else:
                shots.delete(image, name)
        except BlockError as error:
            verb = {"l": "list snapshots", "c": f"create snapshot '{name}'", "a": f"apply snapshot '{name}'",
                    "d": f"delete snapshot '{name}'"}[action]  # fmt: skip
            text = "snapshot not found" if "not found" in str(error) else str(error)
            raise ImgError(f"Could not {verb}: {text}") from None
    return 0
