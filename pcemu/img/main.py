"""The program: find the command, read its options, run it. Errors are one line and status 1."""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Callable, Sequence

from pcemu.qom.errors import PcemuError, suggestion

from .common import Arguments, ImgError, UsageError

Run = Callable[[Arguments], int]

# command -> (module, short options, long options, synopsis). Short options are as for getopt(3).
COMMANDS: dict[str, tuple[str, str, tuple[str, ...], str]] = {
    "check": ("check", "hf:qr:T:U", ("help", "output=", "image-opts"),
              "[--image-opts] [-q] [-f fmt] [--output=human|json] [-r leaks|all] [-T src_cache] [-U] filename"),
    "convert": ("convert", "hf:O:o:cpqnl:S:B:F:t:T:m:WUC", ("help", "image-opts", "target-is-zero", "salvage", "bitmaps"),
                "[--image-opts] [--target-is-zero] [--salvage] [-U] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] "
                "[-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot] [-S sparse_size] "
                "[-m threads] [-W] filename [filename2 [...]] output_filename"),
    "create": ("create", "hf:b:F:o:qu", ("help",),
               "[-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]"),
    "info": ("info", "hf:U", ("help", "output=", "backing-chain", "image-opts"),
             "[--image-opts] [-f fmt] [--output=human|json] [--backing-chain] [-U] filename"),
    "map": ("mapping", "hf:s:l:U", ("help", "output=", "image-opts", "start-offset=", "max-length="),
            "[--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=human|json] [-U] filename"),
    "resize": ("resize", "hf:q", ("help", "image-opts", "preallocation=", "shrink"),
               "[--image-opts] [-f fmt] [--preallocation=off|falloc|full] [-q] [--shrink] filename [+|-]size"),
    "snapshot": ("snapshot", "hlc:a:d:qUf:", ("help", "image-opts"),
                 "[--image-opts] [-f fmt] [-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename"),
}  # fmt: skip
LATER = ("amend", "bench", "bitmap", "commit", "compare", "dd", "measure", "rebase")
HINT = "Try 'pcemu-img --help' for more information"


def help_text() -> str:
    from pcemu.block.graph import driver_names

    lines = [
        "usage: pcemu-img [standard options] command [command options]",
        "disk image utility",
        "",
        "    '-h', '--help'       display this help and exit",
        "    '-V', '--version'    output version information and exit",
        "",
        "Command syntax:",
    ]
    lines += [f"  {name} {row[3]}" for name, row in COMMANDS.items()]
    return "\n".join([*lines, "", f"Supported formats: {' '.join(driver_names())}"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except UsageError as error:
        print(f"pcemu-img: {error}\n{HINT}", file=sys.stderr)
    except PcemuError as error:
        print(f"pcemu-img: {error}", file=sys.stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        print(f"pcemu-img: {error.strerror or error}", file=sys.stderr)
    except MemoryError:
        print("pcemu-img: out of memory", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 1


def _run(words: list[str]) -> int:
    if not words:
        raise UsageError("Not enough arguments")
    name = words.pop(0)
    if name in ("-h", "--help"):
        print(help_text())
        return 0
    if name in ("-V", "--version"):
        from pcemu import __version__

        print(f"pcemu-img version {__version__}")
        return 0
    if name in LATER:
        raise ImgError(f"{name}: not implemented yet")
    if name not in COMMANDS:
        raise UsageError(f"Command not found: {name}{suggestion(name, COMMANDS)}")
    module, short, long, synopsis = COMMANDS[name]
    # A size such as -1G is no option.
    size = [words.pop()] if name == "resize" and words and words[-1][:1] in ("+", "-") and words[-1][1:2].isdigit() else []
    try:
        options, rest = getopt.gnu_getopt(words, short, list(long))
        rest += size
    except getopt.GetoptError as error:
        raise UsageError(f"{name}: {error}") from None
    if any(option in ("-h", "--help") for option, _ in options):
        print(f"usage: pcemu-img {name} {synopsis}")
        return 0
    import importlib

    run: Run = importlib.import_module(f"pcemu.img.{module}").run
    status = run(Arguments(options, rest))
    sys.stdout.flush()
    return status
