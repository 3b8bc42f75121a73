"""From arguments to a MachineConfig, by the table."""

from __future__ import annotations

from collections.abc import Sequence

from pcemu.machine.config import MachineConfig
from pcemu.qom.errors import PcemuError, suggestion

from .errors import UsageError, not_yet
from .table import BY_NAME


def parse(arguments: Sequence[str]) -> MachineConfig:
    """Read the command line. Raises UsageError, or Done when a list was printed."""
    from .apply import apply, choose_accel, default_memory
    from .apply_host import console_defaults
    from .apply_service import check
    from .context import Context

    context = Context()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            raise not_yet("hda", word)  # a bare word is a disk image
        name = word[2:] if word.startswith("--") else word[1:]
        option = BY_NAME.get(name)
        if option is None:
            hint = suggestion(name, BY_NAME).replace(" '", " '-")
            raise UsageError(f"{word}: invalid option{hint}")
        if option.arg and not words:
            if not option.implemented:
                raise not_yet(name)
            raise UsageError(f"{word}: requires an argument")
        value = words.pop(0) if option.arg else ""
        if not option.implemented:
            raise not_yet(name)
        context.option, context.value = name, value
        apply(context, option.do)
    choose_accel(context)
    default_memory(context)
    _check_devices(context.config)
    check(context)
    console_defaults(context)
    return context.config


def _check_devices(config: MachineConfig) -> None:
    """Types and property names, before anything is built."""
    from pcemu.qom import lookup

    for device in [*config.nics, *config.devices]:
        try:
            cls = lookup(device.driver)
            for name in device.props:
                if name not in ("id", "bus"):
                    cls.property_decl(name)
        except PcemuError as error:
            raise UsageError(f"{device.where}: {error}") from None
