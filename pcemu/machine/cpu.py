"""Processors of a machine: the model that -cpu asks for, made and put in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pcemu.qom.errors import PcemuError

if TYPE_CHECKING:
    from .machine import Machine


def warn(text: str) -> None:
    print(f"pcemu: warning: {text}", file=sys.stderr)


def add_cpu(machine: Machine, default: str) -> Any:
    """Make the processor and register it with the machine."""
    spec = machine.config.cpu or default
    model = machine.parse_cpu(spec)
    cpu = machine.core.Cpu(machine.memory, machine.io, machine.clock.core, model, seed=machine.config.seed)
    machine.cpus.append(cpu)
    machine.cpu_models.append(model)
    return cpu


def parse_cpu(spec: str) -> Any:
    """-cpu's argument; what is wrong with it is one line."""
    from pcemu._core import cpumodel

    try:
        return cpumodel.parse_cpu(spec, warn=warn)
    except ValueError as error:
        raise PcemuError(str(error)) from None
