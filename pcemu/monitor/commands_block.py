"""Commands on disks: back ends, nodes, statistics; adding, removing and resizing nodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from time import monotonic_ns
from typing import Any

from .commands_qom import option_pairs
from .errors import CommandError
from .table import Context, command, declare_types, qmp_command

declare_types("""
enum    BlockDeviceIoStatus  ok failed nospace
enum    BlockdevDetectZeroesOptions  off on unmap
struct  BlockdevCacheInfo    writeback: bool, direct: bool, no-flush: bool
enum    ImageInfoSpecificKind  qcow2
enum    Qcow2CompressionType  zlib zstd
enum    Qcow2BitmapInfoFlags  in-use auto
struct  Qcow2BitmapInfo      name: str, granularity: int, flags: [Qcow2BitmapInfoFlags]
struct  ImageInfoSpecificQCow2  compat: str, compression-type: Qcow2CompressionType, lazy-refcounts?: bool, corrupt?: bool, \\
                             refcount-bits: int, extended-l2?: bool, bitmaps?: [Qcow2BitmapInfo]
struct  ImageInfoSpecificQCow2Wrapper  data: ImageInfoSpecificQCow2
union   ImageInfoSpecific    [type] type: ImageInfoSpecificKind | qcow2: ImageInfoSpecificQCow2Wrapper
struct  ImageInfo            filename: str, format: str, dirty-flag?: bool, actual-size?: int, virtual-size: int, \\
                             cluster-size?: int, encrypted?: bool, backing-filename?: str, full-backing-filename?: str, \\
                             backing-filename-format?: str, backing-image?: ImageInfo, format-specific?: ImageInfoSpecific
struct  BlockDeviceInfo      file: str, node-name?: str, ro: bool, drv: str, backing_file?: str, backing_file_depth: int, \\
                             encrypted: bool, detect_zeroes: BlockdevDetectZeroesOptions, bps: int, bps_rd: int, bps_wr: int, \\
                             iops: int, iops_rd: int, iops_wr: int, image: ImageInfo, cache: BlockdevCacheInfo, \\
                             write_threshold: int
struct  BlockInfo            device: str, qdev?: str, type: str, removable: bool, locked: bool, inserted?: BlockDeviceInfo, \\
                             tray_open?: bool, io-status?: BlockDeviceIoStatus
struct  BlockDeviceTimedStats  interval_length: int, min_rd_latency_ns: int, max_rd_latency_ns: int, avg_rd_latency_ns: int, \\
                             min_wr_latency_ns: int, max_wr_latency_ns: int, avg_wr_latency_ns: int, \\
                             min_flush_latency_ns: int, max_flush_latency_ns: int, avg_flush_latency_ns: int, \\
                             avg_rd_queue_depth: number, avg_wr_queue_depth: number
struct  BlockDeviceStats     rd_bytes: int, wr_bytes: int, unmap_bytes: int, rd_operations: int, wr_operations: int, \\
                             flush_operations: int, unmap_operations: int, rd_total_time_ns: int, wr_total_time_ns: int, \\
                             flush_total_time_ns: int, unmap_total_time_ns: int, wr_highest_offset: int, rd_merged: int, \\
                             wr_merged: int, unmap_merged: int, idle_time_ns?: int, failed_rd_operations: int, \\
                             failed_wr_operations: int, failed_flush_operations: int, failed_unmap_operations: int, \\
                             invalid_rd_operations: int, invalid_wr_operations: int, invalid_flush_operations: int, \\
                             invalid_unmap_operations: int, account_invalid: bool, account_failed: bool, \\
                             timed_stats: [BlockDeviceTimedStats]
struct  BlockStats           device?: str, qdev?: str, node-name?: str, stats: BlockDeviceStats
enum    JobType              commit stream mirror backup create amend snapshot-load snapshot-save snapshot-delete
enum    JobStatus            undefined created running paused ready standby waiting pending aborting concluded null
struct  BlockJobInfo         type: str, device: str, len: int, offset: int, busy: bool, paused: bool, speed: int, \\
                             io-status: BlockDeviceIoStatus, ready: bool, status: JobStatus, auto-finalize: bool, \\
                             auto-dismiss: bool, error?: str
struct  JobInfo              id: str, type: JobType, status: JobStatus, current-progress: int, total-progress: int, error?: str
""")


def _backends(machine: Any) -> list[Any]:
    """Each once, in the order they were made."""
    return list({id(backend): backend for backend in machine.drives.values()}.values())


def _graph(machine: Any) -> Any:
    from pcemu.block import options

    return options.graph_of(machine)


def _user(machine: Any, backend: Any) -> Any:
    """The device that has it."""
    for device in machine.devices:
        if getattr(device, "drive", None) is backend:
            return device
    return None


def _name(machine: Any, node: Any) -> str:
    """A node's name; one that got none has a number, which it keeps."""
    if not node.node_name and not node.number:
        graph = _graph(machine)
        graph.numbered += 1
        node.number = graph.numbered
    name: str = node.node_name or f"#block{node.number:03}"
    return name


def _nodes(machine: Any) -> Iterator[Any]:
    """Every node below a back end, the newest back end first."""
    seen: set[int] = set()
    waiting = [backend.root for backend in _backends(machine)]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += reversed(list(node.children()))


def _shown(machine: Any) -> Iterator[tuple[Any, Any]]:
    """Devices whose disk is gone (drive_del); what -drive made; then those of -blockdev's nodes that a device uses."""
    for device in machine.devices:
        drive = getattr(device, "drive", None)
        if getattr(drive, "gone", False):
            yield drive, device
    for backend in sorted(_backends(machine), key=lambda backend: not backend.id):
        device = _user(machine, backend)
        if backend.id or device is not None:
            yield backend, device


def _image(node: Any) -> dict[str, Any]:
    info: dict[str, Any] = {"filename": node.filename, "format": node.driver, "virtual-size": node.size,
                            "actual-size": node.allocated(), "dirty-flag": False}
    header = getattr(node, "header", None)
    if header is not None:
        info["cluster-size"] = header.cluster_size
        if header.backing_file:
            info["backing-filename"] = header.backing_file
            if header.backing_format:
                info["backing-filename-format"] = header.backing_format
        from pcemu.block.qcow2.describe import specific

        info["format-specific"] = {"type": "qcow2", "data": specific(node)}
    if node.backing is not None:
        info["full-backing-filename"] = node.backing.filename
        info["backing-image"] = _image(node.backing)
    return info


def _depth(node: Any) -> int:
    return 0 if node.backing is None else 1 + _depth(node.backing)


def _node(machine: Any, node: Any, write_cache: bool = True) -> dict[str, Any]:
    common = getattr(node.options, "common", None)
    cache = {"writeback": write_cache, "direct": bool(common and common.direct), "no-flush": bool(common and common.no_flush)}
    zeroes = getattr(node.options, "detect_zeroes", "off")
    info: dict[str, Any] = {"file": node.filename, "ro": node.read_only, "drv": node.driver, "encrypted": False,
                            "backing_file_depth": _depth(node), "detect_zeroes": zeroes, "image": _image(node),
                            "cache": cache, "write_threshold": 0, "node-name": _name(machine, node)}
    info |= dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)     # nothing is throttled
    if node.backing is not None:
        info["backing_file"] = node.backing.filename
    return info


@qmp_command("query-block", returns="[BlockInfo]", help="disks, as the machine's devices have them")
def query_block(ctx: Context) -> list[dict[str, Any]]:
    listed = []
    for backend, device in _shown(ctx.machine):
        entry: dict[str, Any] = {"device": backend.id, "type": "unknown", "removable": False, "locked": False,
                                 **({} if backend.gone else {"inserted": _node(ctx.machine, backend.root, backend.write_cache)})}
        if device is not None:
            entry |= {"qdev": ctx.machine.path_of(device), "io-status": backend.io_status}
        listed.append(entry)
    return listed


@command("info block", "nodes:-n,verbose:-v,device:s?", params="[-n] [-v] [device]", help="show info of one block device or all "
         "block devices (-n: show named nodes; -v: show also the chain of images)")  # fmt: skip
def info_block(ctx: Context, nodes: bool, verbose: bool, device: str | None) -> str:
    if nodes:
        every = query_named_block_nodes(ctx)
        return "\n".join(_show_inserted(info["node-name"], info, verbose) for info in every
                         if device in (None, info["node-name"]))  # fmt: skip
    parts = []
    for entry in query_block(ctx):
        if "inserted" not in entry:
            if device in (None, entry["qdev"]):
                parts.append(f"{entry['qdev']}: [not inserted]\n    Attached to:      {entry['qdev']}\n")
            continue
        inserted = entry["inserted"]
        node = inserted.get("node-name", "")
        if device is not None and device not in (entry["device"], node, entry.get("qdev")):
            continue
        name = f"{entry['device']} ({node})" if entry["device"] and node else entry["device"] or node
        parts.append(_show_inserted(name, inserted, verbose, entry.get("qdev")))
    return "\n".join(parts)


def _show_inserted(name: str, inserted: dict[str, Any], verbose: bool, qdev: str | None = None) -> str:
    text = f"{name}: {inserted['file']} ({inserted['drv']}{', read-only' if inserted['ro'] else ''})\n"
    if qdev is not None:
        text += f"    Attached to:      {qdev}\n"
    cache = inserted["cache"]
    modes = ["writeback" if cache["writeback"] else "writethrough"]
    modes += [word for key, word in (("direct", "direct"), ("no-flush", "ignore flushes")) if cache[key]]
    text += f"    Cache mode:       {', '.join(modes)}\n"
    if "backing_file" in inserted:
        text += f"    Backing file:     {inserted['backing_file']} (chain depth: {inserted['backing_file_depth']})\n"
    if inserted["detect_zeroes"] != "off":
        text += f"    Detect zeroes:    {inserted['detect_zeroes']}\n"
    if verbose:
        text += "\nImages:\n" + _show_images(inserted["image"])
    return text


def _show_images(image: dict[str, Any]) -> str:
    text = f"image: {image['filename']}\nfile format: {image['format']}\n"
    text += f"virtual size: {_human(image['virtual-size'])} ({image['virtual-size']} bytes)\n"
    text += f"disk size: {_human(image['actual-size'])}\n"
    for key, word in (("cluster-size", "cluster_size"), ("backing-filename", "backing file"),
                      ("backing-filename-format", "backing file format")):
        if key in image:
            text += f"{word}: {image[key]}\n"
    if "format-specific" in image:
        from pcemu.block.qcow2.describe import lines

        text += "\n".join(("Format specific information:", *lines(image["format-specific"]["data"].items(), "    "))) + "\n"
    return text + (_show_images(image["backing-image"]) if "backing-image" in image else "")


def _human(size: int) -> str:
    """Three digits and a unit, as in `64 MiB`."""
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


@qmp_command("query-named-block-nodes", "flat?: bool", returns="[BlockDeviceInfo]",
             help="the block nodes: names of nodes that got none begin with #")
def query_named_block_nodes(ctx: Context, flat: bool = False) -> list[dict[str, Any]]:
    listed = [_node(ctx.machine, node) for node in _nodes(ctx.machine)]
    if flat:
        for info in listed:
            info["image"].pop("backing-image", None)
    return listed


# ---- statistics -------------------------------------------------------------------------------------------------------

_KINDS = ("rd", "wr", "flush", "unmap")


def _stats(backend: Any) -> dict[str, Any]:
    last = backend.stats.last_ns
    found: dict[str, Any] = {"idle_time_ns": monotonic_ns() - last if last else 0, "wr_highest_offset": backend.stats.highest,
                             "account_invalid": backend.stats.account_invalid, "account_failed": backend.stats.account_failed,
                             "timed_stats": []}
    for kind in _KINDS:
        counts = backend.stats.kinds[kind]
        found |= {f"{kind}_operations": counts.done, f"{kind}_total_time_ns": counts.ns,
                  f"failed_{kind}_operations": counts.failed, f"invalid_{kind}_operations": counts.invalid}
        if kind != "flush":
            found |= {f"{kind}_bytes": counts.bytes, f"{kind}_merged": 0}
    return found


@qmp_command("query-blockstats", "query-nodes?: bool", returns="[BlockStats]", help="what disks have done since the start")
def query_blockstats(ctx: Context, query_nodes: bool = False) -> list[dict[str, Any]]:
    listed = []
    for backend, device in _shown(ctx.machine):
        entry: dict[str, Any] = {"stats": _stats(backend)}
        if not query_nodes:
            entry["device"] = backend.id
        if device is not None:
            entry["qdev"] = ctx.machine.path_of(device)
        if not backend.gone:
            entry["node-name"] = _name(ctx.machine, backend.root)
        listed.append(entry)
    return listed


@command("info blockstats", help="show block device statistics")
def info_blockstats(ctx: Context) -> str:
    text = ""
    for entry in query_blockstats(ctx):
        stats = entry["stats"]
        names = ("rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "wr_total_time_ns",
                 "rd_total_time_ns", "flush_total_time_ns", "rd_merged", "wr_merged", "idle_time_ns")
        text += f"{entry['device']}: " + " ".join(f"{name}={stats[name]}" for name in names) + "\n"
    return text


@command("info block-jobs", help="show progress of ongoing block device operations", qmp="query-block-jobs",
         returns="[BlockJobInfo]", render=lambda found: "No active jobs\n")
def query_block_jobs(ctx: Context) -> list[dict[str, Any]]:
    return []                   # there is no command that starts one


@qmp_command("query-jobs", returns="[JobInfo]", help="background jobs: there are none yet")
def query_jobs(ctx: Context) -> list[dict[str, Any]]:
    return []


# ---- changes ----------------------------------------------------------------------------------------------------------


@qmp_command("blockdev-add", "driver: str, node-name?: str, ...", help="open a block node, as -blockdev does")
def blockdev_add(ctx: Context, rest: dict[str, Any], driver: str, node_name: str | None = None) -> None:
    from pcemu.block import options

    _graph(ctx.machine)
    named = {} if node_name is None else {"node-name": node_name}
    options.add_blockdev(ctx.machine, {"driver": driver, **named, **rest})


@qmp_command("blockdev-del", "node-name: str", help="close a block node that nobody uses")
def blockdev_del(ctx: Context, node_name: str) -> None:
    from pcemu.block import options

    if node_name not in _graph(ctx.machine).nodes:
        raise CommandError(f"Failed to find node with node-name='{node_name[:80]}'")
    options.remove_blockdev(ctx.machine, node_name)


def _find(ctx: Context, device: str | None, node_name: str | None) -> Any:
    backend = ctx.machine.drives.get(device or node_name)
    if backend is None and node_name:
        backend = next((each for each in _backends(ctx.machine) if _name(ctx.machine, each.root) == node_name), None)
    if backend is None:
        raise CommandError(f"Cannot find device='{(device or '')[:80]}' nor node-name='{(node_name or '')[:80]}'")
    return backend


@command("block_resize", "device:s,size:o", params="device size", help="resize a block image", qmp="block_resize",
         takes="device?: str, node-name?: str, size: int")
def block_resize(ctx: Context, device: str | None = None, size: int = 0, node_name: str | None = None) -> None:
    if (device is None) == (node_name is None):
        raise CommandError("Need exactly one of 'device' and 'node-name'")
    backend = _find(ctx, device, node_name)
    if size < 0:
        raise CommandError("Parameter 'size' expects a >0 size")
    if backend.read_only:
        raise CommandError(f"Block node '{device or node_name}' is read-only")
    backend.drain()
    try:
        backend.root.truncate(size)
    except OSError as error:
        raise CommandError(error.strerror or str(error)) from None
    backend.resized()


@command("drive_add", "node:-n,pci_addr:s,opts:s", params="[-n] [[<domain>:]<bus>:]<slot> [file=file][,if=none][,id=name]"
         "[,format=f][,snapshot=on|off][,cache=writethrough|writeback|none|directsync|unsafe][,readonly=on|off]",
         help="add a drive, for a device_add to come (-n: a node, as -blockdev does)")  # fmt: skip
def drive_add(ctx: Context, node: bool, pci_addr: str, opts: str) -> str:
    from pcemu.block import options

    machine = ctx.machine
    _graph(machine)
    given = option_pairs(opts, "file")
    if node:
        if "node-name" not in given:
            raise CommandError("'node-name' needs to be specified")
        options.add_blockdev(machine, options.nested(given))
        return ""
    if given.get("if") != "none":
        raise CommandError("Can't hot-add drive: if=none is needed, and a device_add")
    number = next(n for n in itertools.count() if f"none{n}" not in machine.drives)
    options.add_drive(machine, given, {"none": number})
    return "OK\n"


@command("drive_del", "id:s", params="device", help="remove host block device")
def drive_del(ctx: Context, id: str) -> str:
    from pcemu.block import BlockError, options

    machine = ctx.machine
    backend = machine.drives.get(id)
    try:
        if id in _graph(machine).nodes:
            options.remove_blockdev(machine, id)
        elif backend is None:
            return f"Device '{id[:80]}' not found\n"
        else:
            device = _user(machine, backend)
            options.remove_drive(machine, backend)
            if device is not None:
                device.on_read_error = device.on_write_error = "report"     # to wait for a disk that is gone is no use
    except BlockError as error:
        return f"{error}\n"
    return ""


# ---- internal snapshots -----------------------------------------------------------------------------------------------


@command("info snapshots", help="show the currently saved VM snapshots")
def info_snapshots(ctx: Context) -> str:
    from pcemu.block.qcow2 import snapshot as shots
    from pcemu.block.qcow2.describe import SNAPSHOT_HEADER, snapshot_line

    writable = [backend for backend in _backends(ctx.machine) if not backend.read_only]
    images = [(backend, shots.read_snapshots(backend.root)[0]) for backend in writable if backend.root.driver == "qcow2"]
    if not images:
        return "no block device can store vmstate for snapshot\n"
    if not any(rows for _, rows in images):
        return "There is no snapshot available.\n"
    names = [{row.name for row in rows} for _, rows in images]
    everywhere = set.intersection(*names) if len(images) == len(writable) else set()
    text = "List of snapshots present on all disks:\n"
    common = [row for row in images[0][1] if row.name in everywhere]
    text += "\n".join([SNAPSHOT_HEADER, *(snapshot_line(row, "--") for row in common)] if common else ["None"]) + "\n"
    for backend, rows in images:
        partial = [snapshot_line(row) for row in rows if row.name not in everywhere]
        if partial:
            text += f"\nList of partial (non-loadable) snapshots on '{backend.id or backend.node_name}':\n"
            text += "\n".join([SNAPSHOT_HEADER, *partial]) + "\n"
    return text
