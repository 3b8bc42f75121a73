"""check: is the image consistent? -r repairs."""

from __future__ import annotations

import json
import sys
from typing import Any

from pcemu.block.qcow2.check import CheckResult, check

from .common import Arguments, UsageError, need_qcow2, open_image

NOT_SUPPORTED = 63


def facts(result: CheckResult, filename: str) -> dict[str, Any]:
    found: dict[str, Any] = {"image-end-offset": result.image_end_offset, "total-clusters": result.total_clusters,
                             "check-errors": result.check_errors,
                             "filename": filename, "format": "qcow2"}  # fmt: skip
    for key in ("corruptions", "leaks", "corruptions_fixed", "leaks_fixed", "allocated_clusters", "fragmented_clusters",
                "compressed_clusters"):  # fmt: skip
        if value := getattr(result, key):
            found[key.replace("_", "-")] = value
    return found


def human(result: CheckResult) -> str:
    lines = []
    if not (result.corruptions or result.leaks or result.check_errors):
        lines.append("No errors were found on the image.")
    if result.corruptions:
        lines += ["", f"{result.corruptions} errors were found on the image.",
                  "Data may be corrupted, or further writes to the image may corrupt it."]  # fmt: skip
    if result.leaks:
        lines += ["", f"{result.leaks} leaked clusters were found on the image.",
                  "This means waste of disk space, but no harm to data."]  # fmt: skip
    if result.total_clusters and result.allocated_clusters:
        parts = [100 * result.allocated_clusters / result.total_clusters,
                 100 * result.fragmented_clusters / result.allocated_clusters,
                 100 * result.compressed_clusters / result.allocated_clusters]  # fmt: skip
        lines.append(f"{result.allocated_clusters}/{result.total_clusters} = {parts[0]:.2f}% allocated, "
                     f"{parts[1]:.2f}% fragmented, {parts[2]:.2f}% compressed clusters")  # fmt: skip
    if result.image_end_offset:
        lines.append(f"Image end offset: {result.image_end_offset}")
    return "\n".join(lines)


def run(args: Arguments) -> int:
    filename = args.filename()
    as_json, quiet = args.json(), args.has("q")
    fix = args.get("r", "") or ""
    if fix not in ("", "leaks", "all"):
        raise UsageError(f"Unknown option value for -r (expecting 'leaks' or 'all'): {fix}")
    node = open_image(filename, args.get("f"), image_opts=args.has("image-opts"), writable=bool(fix), backing=False,
                      cache=args.get("T") or "writeback", share=args.has("U"), repair=False)  # fmt: skip
    if node.driver != "qcow2":
        node.close()
        print("pcemu-img: This image format does not support checks", file=sys.stderr)
        return NOT_SUPPORTED
    image = need_qcow2(node, "")
    say = (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr))
    with image:
        result = check(image, fix, say)
        if fix and (result.corruptions_fixed or result.leaks_fixed) and not as_json:
            if not quiet:
                print(f"The following inconsistencies were found and repaired:\n\n    {result.leaks_fixed} leaked clusters\n"
                      f"    {result.corruptions_fixed} corruptions\n\nDouble checking the fixed image now...")  # fmt: skip
            result = check(image, "", say)
    if not quiet:
        print(json.dumps(facts(result, filename), indent=4) if as_json else human(result))
    if result.check_errors:
        return 1
    if result.corruptions:
        return 2
    return 3 if result.leaks else 0
