"""-help and the option reference, from the table."""

from __future__ import annotations

from .table import OPTIONS, SECTIONS, Option


def spelling(option: Option) -> str:
    return " or ".join(f"-{name}" for name in option.names) + (f" {option.arg}" if option.arg else "")


def help_text() -> str:
    """What -help prints."""
    from pcemu import __version__

    lines = [f"pcemu version {__version__}", "usage: pcemu [options]", ""]
    for section in SECTIONS:
        rows = [option for option in OPTIONS if option.section == section and option.implemented]
        lines.append(f"{section}:")
        for option in rows:
            head = spelling(option)
            if len(head) < 24:
                lines.append(f"{head:<24}{option.help}")
            else:
                lines += [head, f"{'':<24}{option.help}"]
        lines.append("")
    later = [f"-{name}" for option in OPTIONS if not option.implemented for name in option.names]
    lines += ["Known and not implemented yet:", *wrap(later, 78), ""]
    lines += ["'help' as an argument lists what an option takes: -machine -accel -cpu -device -chardev -d -trace",
              "-icount, -rtc and the rest take their arguments as QEMU does; in a value two commas stand for one."]  # fmt: skip
    return "\n".join(lines)


def wrap(words: list[str], width: int) -> list[str]:
    lines, line = [], ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines


def reference() -> str:
    """The table as Markdown, for the docs (`python -m pcemu.cli.help`)."""
    lines = ["# Command-line options", ""]
    for section in SECTIONS:
        lines += [f"## {section}", "", "| option | |", "|---|---|"]
        for option in OPTIONS:
            if option.section == section:
                text = option.help if option.implemented else f"*not implemented yet:* {option.help}"
                head = spelling(option).replace("|", "\\|")
                lines.append(f"| `{head}` | {text} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    print(reference())
