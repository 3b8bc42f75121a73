"""Commands on the machine as a whole: its type, its memory, what happens at its end, and what it does not have."""

from __future__ import annotations

from typing import Any

from .errors import CommandError, DeviceNotFound
from .table import Context, command, declare_types, qmp_command

declare_types("""
struct  MachineInfo           name: str, alias?: str, is-default?: bool, cpu-max: int, hotpluggable-cpus: bool, \\
                              numa-mem-supported: bool, deprecated: bool, default-cpu-type?: str, default-ram-id?: str
struct  CurrentMachineParams  wakeup-suspend-support: bool
struct  MemoryInfo            base-memory: int, plugged-memory?: int
enum    HostMemPolicy         default preferred bind interleave
struct  Memdev                id?: str, size: int, merge: bool, dump: bool, prealloc: bool, share: bool, reserve?: bool, \\
                              host-nodes: [int], policy: HostMemPolicy
struct  HumanReadableText     human-readable-text: str
struct  MouseInfo             name: str, index: int, current: bool, absolute: bool
struct  IOThreadInfo          id: str, thread-id: int, poll-max-ns: int, poll-grow: int, poll-shrink: int, aio-max-batch: int
enum    RebootAction          reset shutdown
enum    ShutdownAction        poweroff pause
enum    PanicAction           pause shutdown exit-failure none
struct  CommandLineOptionInfo option: str, parameters: [CommandLineParameterInfo]
struct  CommandLineParameterInfo  name: str, type: CommandLineParameterType, help?: str, default?: str
enum    CommandLineParameterType  string boolean number size
enum    MigrationStatus       none
struct  MigrationInfo         status?: MigrationStatus
enum    MigrationCapability  events
struct  MigrationCapabilityStatus capability: MigrationCapability, state: bool
enum    MemoryDeviceInfoKind
union   MemoryDeviceInfo      [type] type: MemoryDeviceInfoKind
""")

CPU_MOST = 1                # -smp


@qmp_command("query-machines", returns="[MachineInfo]", help="what -machine takes")
def query_machines(ctx: Context) -> list[dict[str, Any]]:
    from pcemu.machine import types

    listed = []
    for name, _ in types.listing():
        if name != types.full_name(name):
            continue                # an alias is shown with what it stands for
        none = name == "none"
        entry: dict[str, Any] = {"name": name, "cpu-max": CPU_MOST, "hotpluggable-cpus": False, "numa-mem-supported": False,
                                 "deprecated": False, "default-ram-id": "ram" if none else "pc.ram",
                                 "default-cpu-type": f"{types.load_board(name).default_cpu}-x86_64-cpu"}
        if name == types.LATEST:
            entry |= {"alias": "pc", "is-default": True}
        listed.append(entry)
    return listed


@qmp_command("query-current-machine", returns="CurrentMachineParams", help="what this machine can do")
def query_current_machine(ctx: Context) -> dict[str, bool]:
    return {"wakeup-suspend-support": hasattr(ctx.machine, "wake_up")}


# ---- memory -----------------------------------------------------------------------------------------------------------


@command("info memory_size_summary", help="show the amount of initially allocated and present hotpluggable memory in bytes",
         qmp="query-memory-size-summary", returns="MemoryInfo",
         render=lambda found: f"base memory: {found['base-memory']}\nplugged memory: {found['plugged-memory']}\n")
def query_memory_size_summary(ctx: Context) -> dict[str, int]:
    return {"base-memory": ctx.machine.ram_size, "plugged-memory": 0}


def _show_memdev(found: list[dict[str, Any]]) -> str:
    text = ""
    for each in found:
        text += f"memory backend: {each['id']}\n  size:  {each['size']}\n"
        for name in ("merge", "dump", "prealloc", "share", "reserve"):
            text += f"  {name}: {'true' if each[name] else 'false'}\n"
        text += f"  policy: {each['policy']}\n  host nodes: \n\n"
    return text


@command("info memdev", help="show memory backends", qmp="query-memdev", returns="[Memdev]", render=_show_memdev)
def query_memdev(ctx: Context) -> list[dict[str, Any]]:
    machine = ctx.machine
    board = machine.board
    listed = [{"id": made.id, "size": made.size, "merge": made.merge, "dump": made.dump, "prealloc": made.prealloc,
               "share": made.share, "reserve": made.reserve, "host-nodes": [], "policy": "default"}
              for made in machine.objects.values() if made.type_name.startswith("memory-backend-")]  # fmt: skip
    if machine.ram is not None and not board.memory_backend:
        listed.append({"id": machine.ram.name, "size": machine.ram_size, "merge": bool(board.mem_merge),
                       "dump": bool(board.dump_guest_core), "prealloc": False, "share": False, "reserve": False,
                       "host-nodes": [], "policy": "default"})  # fmt: skip
    return listed


@command("info memory-devices", help="show memory devices", qmp="query-memory-devices", returns="[MemoryDeviceInfo]",
         render=lambda found: "")
def query_memory_devices(ctx: Context) -> list[dict[str, Any]]:
    return []                   # slots and maxmem are refused: there is nothing to plug memory into


def _ram_blocks(ctx: Context) -> list[tuple[str, int, int]]:
    """(name, offset in the core's memory, size), biggest first."""
    blocks: dict[str, tuple[int, int]] = {}
    for _, _, region, _ in ctx.machine.memory_space.flat:
        whole = getattr(region, "region", region)
        if whole.kind in ("ram", "rom") and whole.block is not None:
            blocks[whole.name] = (whole.block, whole.size)
    return sorted(((name, offset, size) for name, (offset, size) in blocks.items()), key=lambda block: -block[2])


@command("info ramblock", help="Display system ramblock information")
def info_ramblock(ctx: Context) -> str:
    text = f"{'Block Name':>24} {'PSize':>8}  {'Offset':>18} {'Used':>18} {'Total':>18}\n"
    for name, offset, size in _ram_blocks(ctx):
        text += f"{name:>24} {'4 KiB':>8}  0x{offset:016x} 0x{size:016x} 0x{size:016x}\n"
    return text


@command("info numa", help="show NUMA information")
def info_numa(ctx: Context) -> str:
    return "0 nodes\n"


# ---- input ------------------------------------------------------------------------------------------------------------


def _show_mice(found: list[dict[str, Any]]) -> str:
    if not found:
        return "No mouse devices connected\n"
    return "".join(f"{'*' if mouse['current'] else ' '} Mouse #{mouse['index']}: {mouse['name']}"
                   f"{' (absolute)' if mouse['absolute'] else ''}\n" for mouse in found)


@command("info mice", help="show which guest mouse is receiving events", qmp="query-mice", returns="[MouseInfo]",
         render=_show_mice)
def query_mice(ctx: Context) -> list[dict[str, Any]]:
    found = []
    for index, device in enumerate(ctx.machine.devices):
        name = getattr(device, "pointer_name", "")
        if name:
            found.append({"name": name, "index": index, "absolute": bool(getattr(device, "pointer_absolute", False))})
    found.reverse()
    return [{**mouse, "current": number == 0} for number, mouse in enumerate(found)]


@qmp_command("x-query-ramblock", returns="HumanReadableText", help="what `info ramblock` prints")
def query_ramblock(ctx: Context) -> dict[str, str]:
    return {"human-readable-text": info_ramblock(ctx)}


@qmp_command("x-query-numa", returns="HumanReadableText", help="what `info numa` prints")
def query_numa(ctx: Context) -> dict[str, str]:
    return {"human-readable-text": info_numa(ctx)}


@qmp_command("rtc-reset-reinjection", help="forget the ticks of the real-time clock that were lost and not made up for yet")
def rtc_reset_reinjection(ctx: Context) -> None:
    rtc = ctx.machine.find("mc146818rtc")
    if rtc is not None:
        rtc.lost = 0


declare_types("""
enum    InputEventKind       key btn rel
enum    InputButton          left middle right wheel-up wheel-down side extra
enum    InputAxis            x y
struct  InputKeyEvent        key: KeyValue, down: bool
struct  InputBtnEvent        button: InputButton, down: bool
struct  InputMoveEvent       axis: InputAxis, value: int
struct  InputKeyEventWrapper  data: InputKeyEvent
struct  InputBtnEventWrapper  data: InputBtnEvent
struct  InputMoveEventWrapper data: InputMoveEvent
union   InputEvent           [type] type: InputEventKind | key: InputKeyEventWrapper, btn: InputBtnEventWrapper, \\
                             rel: InputMoveEventWrapper
""")


@qmp_command("input-send-event", "device?: str, head?: int, events: [InputEvent]",
             help="keys and buttons go down or up, the mouse moves")
def input_send_event(ctx: Context, events: list[dict[str, Any]], device: str | None = None, head: int | None = None) -> None:
    from .commands_control import key_of

    if device is not None:
        raise DeviceNotFound(f"Device '{device[:80]}' not found")       # there are no displays
    if ctx.machine.status not in ("running", "suspended"):
        raise CommandError("VM not running")
    keyboard = ctx.machine.find("ps2-kbd")
    for event in events:        # all or none
        if event["type"] == "key":
            key_of(event["data"]["key"])
            if keyboard is None:
                raise CommandError("there is no keyboard")
        else:
            _pointer(ctx)
    for event in events:
        data = event["data"]
        if event["type"] == "key":
            keyboard.key_event(key_of(data["key"]), data["down"])
            continue
        mouse = _pointer(ctx)
        if event["type"] == "rel":
            value = max(-MOST_MOVED, min(MOST_MOVED, data["value"]))
            mouse.mouse_event(**{f"d{data['axis']}": value}, buttons=mouse.buttons)
        elif data["button"].startswith("wheel"):
            if data["down"]:
                mouse.mouse_event(dz=-1 if data["button"] == "wheel-up" else 1, buttons=mouse.buttons)
        else:
            bit = getattr(mouse, data["button"].upper())
            mouse.mouse_event(buttons=mouse.buttons | bit if data["down"] else mouse.buttons & ~bit)


def _pointer(ctx: Context) -> Any:
    mice = query_mice(ctx)
    if not mice:
        raise CommandError("there is no mouse")
    return ctx.machine.devices[mice[0]["index"]]


MOST_MOVED = 1 << 15


@command("mouse_move", "dx:s,dy:s,dz:s?", params="dx dy [dz]", help="send mouse move events")
def mouse_move(ctx: Context, dx: str, dy: str, dz: str | None) -> None:
    try:            # not expressions: `3 -4` is two of them
        moved = [max(-MOST_MOVED, min(MOST_MOVED, int(text, 0))) for text in (dx, dy, dz or "0")]
    except ValueError:
        raise CommandError("distances are whole numbers") from None
    mouse = _pointer(ctx)
    mouse.mouse_event(*moved, buttons=mouse.buttons)


@command("mouse_button", "state:i", params="state", help="change mouse button state (1=L, 2=M, 4=R)")
def mouse_button(ctx: Context, state: int) -> None:
    mouse = _pointer(ctx)
    left, middle, right = state & 1, state >> 1 & 1, state >> 2 & 1
    mouse.mouse_event(buttons=left * mouse.LEFT | middle * mouse.MIDDLE | right * mouse.RIGHT)


@command("mouse_set", "index:i", params="index", help="set which mouse device receives events")
def mouse_set(ctx: Context, index: int) -> None:
    if index not in (mouse["index"] for mouse in query_mice(ctx)):
        raise CommandError(f"Mouse at index '{index}' not found")


@command("boot_set", "bootdevice:s", params="bootdevice",
         help="define new values for the boot device list (used from the next reset on)")
def boot_set(ctx: Context, bootdevice: str) -> str:
    machine = ctx.machine
    if any(not "a" <= letter <= "p" for letter in bootdevice) or len(set(bootdevice)) != len(bootdevice):
        raise CommandError(f"Invalid boot device list '{bootdevice}'")
    if machine.boot_setter is None:
        raise CommandError("no function defined to set boot device list for this architecture")
    machine.boot_setter(bootdevice)
    return f"boot device list now set to {bootdevice}\n"


# ---- ends -------------------------------------------------------------------------------------------------------------


@qmp_command("set-action", "reboot?: RebootAction, shutdown?: ShutdownAction, panic?: PanicAction, watchdog?: WatchdogAction",
             help="what a reboot, a power-off, a panic and a watchdog do from now on, as -action says at the start")
def set_action(ctx: Context, **actions: str) -> None:
    config = ctx.machine.config
    for event, action in actions.items():
        setattr(config, f"action_{event}", action)
    config.no_reboot = config.action_reboot == "shutdown"
    config.no_shutdown = config.action_shutdown == "pause"


@command("watchdog_action", "action:s", params="[reset|shutdown|poweroff|pause|debug|none|inject-nmi]",
         help="change watchdog action", qmp="watchdog-set-action",
         takes="action: WatchdogAction")
def watchdog_action(ctx: Context, action: str) -> None:
    from .introspect import schema

    schema().types.get("WatchdogAction").check(action, "action")
    ctx.machine.config.action_watchdog = action


# ---- back ends that only managers ask about -----------------------------------------------------------------------------


@command("info iothreads", help="show iothreads", qmp="query-iothreads", returns="[IOThreadInfo]",
         render=lambda found: "".join(
             f"{each['id']}:\n  thread_id={each['thread-id']}\n  poll-max-ns={each['poll-max-ns']}\n"
             f"  poll-grow={each['poll-grow']}\n  poll-shrink={each['poll-shrink']}\n"
             f"  aio-max-batch={each['aio-max-batch']}\n" for each in found))
def query_iothreads(ctx: Context) -> list[dict[str, Any]]:
    return [made.info() for made in ctx.machine.objects.values() if made.type_name == "iothread"]


@qmp_command("query-command-line-options", "option?: str", returns="[CommandLineOptionInfo]",
             help="the command line's options that have parameters")
def query_command_line_options(ctx: Context, option: str | None = None) -> list[dict[str, Any]]:
    describe = ctx.machine.config.describe_options
    listed: list[dict[str, Any]] = describe() if describe is not None else []
    if option is None:
        return listed
    found = [entry for entry in listed if entry["option"] == option]
    if not found:
        raise CommandError(f"invalid option name: {option[:80]}")
    return found


@command("info migrate", help="show migration status", qmp="query-migrate", returns="MigrationInfo",
         render=lambda found: "")
def query_migrate(ctx: Context) -> dict[str, Any]:
    return {}                   # no migration was ever started


@command("info migrate_capabilities", help="show current migration capabilities", qmp="query-migrate-capabilities",
         returns="[MigrationCapabilityStatus]",
         render=lambda found: "".join(f"{each['capability']}: {'on' if each['state'] else 'off'}\n" for each in found))
def query_migrate_capabilities(ctx: Context) -> list[dict[str, Any]]:
    return [{"capability": "events", "state": ctx.machine.migration_events}]


@qmp_command("migrate-set-capabilities", "capabilities: [MigrationCapabilityStatus]",
             help="events: tell of what a migration does; there is none yet, and nothing to tell")
def migrate_set_capabilities(ctx: Context, capabilities: list[dict[str, Any]]) -> None:
    for each in capabilities:
        ctx.machine.migration_events = each["state"]
