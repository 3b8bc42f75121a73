"""Unmodified gdb and pcemu: docs/debugging.md's guest with symbols, and Debian's kernel."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from boot import runner
from boot.files import Files

from scripts import gdb, guests, mkinitramfs
from scripts.debian import FetchError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
GUEST = EXAMPLES / "tasks.c"
CC = ["gcc", "-m32", "-g", "-O1", "-ffreestanding", "-fno-pie", "-no-pie", "-nostdlib", "-static",
      "-Wl,--build-id=none,-Ttext-segment=0x100000"]  # fmt: skip
PATIENCE = 1800         # seconds, only there to end a test that hangs

pytestmark = [pytest.mark.boot, pytest.mark.fetch]


@pytest.fixture(scope="module")
def debugger() -> list[str]:
    try:
        return gdb.command()
    except (FetchError, OSError) as error:
        pytest.skip(f"no gdb, and none could be fetched: {error}")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gdb") / "tasks.elf"
    subprocess.run([*CC, "-o", str(path), str(GUEST)], check=True)
    return path


def session(debugger: list[str], symbols: Path | None, arguments: str, *commands: str) -> list[str]:
    """The lines gdb prints for commands, connected with a pcemu of its own over a pipe."""
    machine = f"{shlex.quote(sys.executable)} -m pcemu -nodefaults -serial null -S -gdb stdio {arguments}"
    words = [word for line in (f"target remote | {machine}", *commands, "kill") for word in ("-ex", line)]
    setup = ["-ex", "set pagination off", "-ex", "set confirm off", "-ex", "set width 0", "-ex", "set remotetimeout 600"]
    files = [] if symbols is None else [str(symbols)]
    done = subprocess.run([*debugger, "-nx", "-q", "-batch", *setup, *words, *files], cwd=ROOT, capture_output=True,
                          text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)  # fmt: skip
    said = done.stdout + done.stderr
    assert not re.search("warning: (?!No executable)", said), said
    return said.splitlines()


def find(said: list[str], *patterns: str) -> None:
    """Each is in the output, in this order or not."""
    text = "\n".join(said)
    for pattern in patterns:
        assert re.search(pattern, text, re.MULTILINE), f"not found: {pattern}\n{text}"


@pytest.mark.parametrize("how", ["", "-accel tcg,jit=off", "-icount 3"])
def test_source_level(debugger: list[str], tasks: Path, how: str) -> None:
    said = session(debugger, tasks, f"-cpu qemu32 {how} -kernel {tasks}",
                   "break run", "continue", "print *task", "next", "next", "print task->runs", "finish", "delete",
                   "watch tasks[2].runs", "continue", "continue", "delete", "rwatch total", "continue", "backtrace", "delete",
                   "break schedule if total == 500", "continue", "print total", "print tasks", "info registers eip cr0",
                   "monitor info status", "x/2i $eip", "info threads")  # fmt: skip
    find(said, r"^Breakpoint 1, run \(task=0x\w+ <tasks>\) at ",
         r"^\$1 = \{name = 0x\w+ \"shell\", state = READY, runs = 0, next = 0x\w+ <tasks\+\d+>\}$", r"^\$2 = 1$",
         r"^0x\w+ in schedule \(\) at .*tasks.c:46$", r"^Hardware watchpoint 2: tasks\[2\].runs$",
         r"^Old value = 0$\n^New value = 1$", r"^Old value = 1$\n^New value = 2$", r"^Hardware read watchpoint 3: total$",
         r"^Value = \d+$\nrun ", r"^#0 +run ", r"^#1 +0x\w+ in schedule ", r"^Breakpoint 4, schedule ", r"^\$3 = 500$",
         r"runs = 167, next = 0x\w+ <tasks\+\d+>\}, \{",
         r"^eip +0x\w+ +0x\w+ <schedule>$", r"^cr0 .*\[ PE ", r"^=> 0x\w+ <schedule>:", r"CPU#0 \[running\]",
         r"^VM status: paused \(debug\)$")  # fmt: skip


def test_wide_target_in_32_bit_code(debugger: list[str], tasks: Path) -> None:
    """A processor with long mode is 64 bits wide to gdb, whatever mode it is in."""
    said = session(debugger, None, f"-kernel {tasks}", "hbreak *0x101000", "continue",
                   "info registers rip rax efer", "info registers r8", "maintenance packet qqemu.PhyMemMode")  # fmt: skip
    find(said, r"^rip +0x101000 ", r"^r8 +0x0 +0$", r"^efer +0x0 +\[ \]$", r'received: "0"')


def test_from_the_reset_vector(debugger: list[str]) -> None:
    said = session(debugger, None, f"-bios {guests.get('seabios')}", "info registers rip cs", "x/xb 0xfffffff0",
                   "stepi", "info registers rip")  # fmt: skip
    find(said, r"^rip +0xfff0 ", r"^cs +0xf000 ", r"^0xfffffff0:\t0xea$", r"^rip +0xe05b ")


INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
grep -E ' (__fentry__|start_kernel|init_uts_ns|rest_init|jiffies_64|do_syscall_64)$' /proc/kallsyms
poweroff -f
"""
TYPES = """
struct new_utsname { char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65]; };
struct new_utsname *unused;
"""


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(initrd, symbols) of Debian's kernel: what it says in /proc/kallsyms, as an ELF file with a type of ours."""
    place = tmp_path_factory.mktemp("debian")
    (place / "initrd").write_bytes(mkinitramfs.build(INIT.encode(), guests.get("busybox"), {}))
    args = "-m 256 -nographic -nodefaults -serial file:{dir}/log -kernel {cloud} -initrd {dir}/initrd"
    case = runner.Case(name="kallsyms", args=f'{args} -append "console=ttyS0 nokaslr"', output="{dir}/log",
                       lines=[r"\w+ T start_kernel"])  # fmt: skip
    runner.run(case, Files(), place)
    (place / "types.c").write_text(TYPES)
    files = [str(place / name) for name in ("log", "symbols", "types.c")]
    subprocess.run([sys.executable, str(EXAMPLES / "kallsyms.py"), *files], check=True)
    return place / "initrd", place / "symbols"


@pytest.mark.parametrize("how", ["", "-accel tcg,jit=off"])
def test_debian_kernel(debugger: list[str], debian: tuple[Path, Path], how: str) -> None:
    """Stop in start_kernel, step, print a structure, go on; a watchpoint on jiffies; into what has run for long."""
    initrd, symbols = debian
    said = session(debugger, symbols, f'-m 256 {how} -kernel {guests.get("cloud")} -initrd {initrd} -append nokaslr',
                   "hbreak *&start_kernel", "continue", "x/i $pc", "stepi", "p *(long *)$rsp - (long)&start_kernel",
                   "set print null-stop on", "p *(struct new_utsname *)&init_uts_ns", "info registers cr0 cr4 efer", "delete",
                   "break *&rest_init", "continue", "delete", "watch *(long *)&jiffies_64", "continue", "continue", "delete",
                   "break *&do_syscall_64", "continue", "info registers cs", "continue", "delete", "continue")  # fmt: skip
    find(said, r"^Breakpoint 1, 0x\w+ in start_kernel", r"^=> 0x\w+ <start_kernel>:", r"^\$1 = 5$",
         r"sysname = \"Linux\".*nodename = \"\(none\)\"", r"release = \"\d[\w.-]+-cloud-amd64\"",
         r"^cr0 .*\bPG\b", r"^efer .*\bLMA\b", r"^Breakpoint 2, 0x\w+ in rest_init", r"^Hardware watchpoint 3: ",
         r"^Breakpoint 4, 0x\w+ in do_syscall_64", r"^cs +0x10 ",
         r"exited normally")  # fmt: skip
    values = re.findall(r"^Old value = (-?\d+)$\n^New value = (-?\d+)$", "\n".join(said), re.MULTILINE)
    assert [int(new) - int(old) for old, new in values] == [1, 1]
