"""Processors of a machine: the model that -cpu asks for, made and put in."""

from __future__ import annotations

import sys
from functools import partial
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
    if machine.config.lockstep:
        if not cpu.lockstep(size=(machine.config.tb_size or 32) << 20):
            raise PcemuError("lockstep=on: nothing is compiled on this host, or with PCEMU_JIT=off")
    elif machine.config.jit:
        switch_jit(machine, cpu, True)  # False: interpreted then
    cpu.msr_hook = partial(note_msr, machine)
    machine.cpus.append(cpu)
    machine.cpu_models.append(model)
    return cpu


def switch_jit(machine: Machine, cpu: Any, on: bool) -> bool:
    """Compile hot blocks from here on, or none; False: nothing is compiled on this host. The guest does not notice."""
    if on and not cpu.jit:
        return bool(cpu.enable_jit((machine.config.tb_size or 32) << 20))
    cpu.jit = on
    return True


def note_msr(machine: Machine, number: int, value: int | None) -> None:
    """A model-specific register the processor does not have: the guest gets #GP, the log (-d guest_errors) a line."""
    log = machine.log
    if log.guest_errors:
        log.write(f"cpu: RDMSR of {number:#x}\n" if value is None else f"cpu: WRMSR of {number:#x}, value {value:#x}\n")


def models() -> Any:
    """The table of processor models (`pcemu._core.cpumodel`), loaded when somebody asks."""
    from pcemu._core import cpumodel

    return cpumodel


def parse_cpu(spec: str) -> Any:
    """-cpu's argument; what is wrong with it is one line."""
    from pcemu._core import cpumodel

    try:
        return cpumodel.parse_cpu(spec, warn=warn)
    except ValueError as error:
        raise PcemuError(str(error)) from None
