"""Runs command lines: from text to text, with no terminal in it (tests and QMP's human-monitor-command use it)."""

from __future__ import annotations

import importlib
from typing import Any

from pcemu.qom.errors import PcemuError, suggestion

from . import table
from .errors import ArgumentError

# What fills the table. Commands of a subsystem are in a module of their own.
COMMAND_MODULES = ("commands_qmp", "commands_control", "commands_info", "commands_machine", "commands_cpus", "commands_qom",
                   "commands_memory", "commands_pages", "commands_dump", "commands_chardev", "commands_fds",
                   "commands_balloon", "commands_block", "commands_net", "commands_virtio", "events")

TURN_NS = 500_000       # the commands of one client in one turn of the machine's loop: then the guest runs again

_loaded = False


def client_first(machine: Any) -> None:
    """A client has got something to read: before the guest goes on it may do so, and ask again."""
    answered = getattr(getattr(machine, "loop", None), "answered", None)     # (tests have a plain loop)
    if answered is not None:
        answered()


def load_commands() -> None:
    """Import the modules that fill the table."""
    global _loaded
    if not _loaded:
        _loaded = True
        for name in COMMAND_MODULES:
            importlib.import_module(f"{__package__}.{name}")


class Shell:
    """One session."""

    def __init__(self, machine: Any) -> None:
        load_commands()
        self.ctx = table.Context(machine)

    def run(self, line: str) -> str:
        """What the monitor prints for `line`."""
        try:
            return self._run("".join(char for char in line if char >= " " or char == "\t"))
        except PcemuError as error:
            return f"Error: {error}\n"
        except OSError as error:
            return f"Error: {error.filename or 'host'}: {error.strerror}\n"
        except Exception as error:      # our fault, and not the guest's
            from pcemu.machine.exit import describe_failure

            return f"Error: {describe_failure(error)}\n"

    def _run(self, line: str) -> str:
        word, rest = _word(line)
        if not word:
            return ""
        typed = word
        entry = table.COMMANDS.get(word)
        if word == "info" and rest.strip():
            word, rest = _word(rest)
            typed = line[:line.index(word, line.index("info") + 4) + len(word)].strip()
            entry = table.INFO.get(word)
            word = f"info {word}"
        if entry is None:
            return f"unknown command: '{word}'{self._hint(word)}\n"
        try:
            values = table.ArgumentParser(self.ctx, entry, rest).parse()
            return entry.run(self.ctx, values)
        except ArgumentError as error:
            return f"{error}\nTry \"help {typed}\" for more information\n"

    def _hint(self, word: str) -> str:
        if word.startswith("info "):
            return suggestion(word[len("info "):], table.INFO).replace("'", "'info ", 1)
        return suggestion(word, table.COMMANDS)


def _word(line: str) -> tuple[str, str]:
    """The command's name and what follows; `x/4i` needs no space before its format."""
    line = line.lstrip()
    end = 0
    while end < len(line) and not line[end].isspace() and line[end] != "/":
        end += 1
    return line[:end], line[end:]
