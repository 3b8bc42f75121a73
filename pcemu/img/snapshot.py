"""snapshot: list, make, go back to and delete internal snapshots."""

from __future__ import annotations

from pcemu.block.errors import BlockError
from pcemu.block.qcow2 import snapshot as shots
from pcemu.block.qcow2.describe import SNAPSHOT_HEADER, snapshot_line
from pcemu.block.qcow2.snapshot import Snapshot

from .common import Arguments, ImgError, UsageError, need_qcow2, open_image


def table(rows: list[Snapshot]) -> str:
    return "\n".join(["Snapshot list:", SNAPSHOT_HEADER, *map(snapshot_line, rows)])


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
