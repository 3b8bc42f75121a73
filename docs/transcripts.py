"""Runs what the pages show, so that what they show is true.

    python docs/transcripts.py                  compare every page with what its commands print now
    python docs/transcripts.py --write          ... and put into the page what they print now
    python docs/transcripts.py architecture.md  one page

A block of kind `console` holds commands behind "$ " and their output, "> " going on with a command. One of kind `pycon` is
Python as it is typed. A line "..." in an output stands for any number of lines. Everything of a page runs in one directory, in
the order of the page; blocks of other kinds are only text. Two comments are obeyed as well:

    <!-- install: DIR -->   the package in DIR is there from here on, as after `pip install DIR`
    <!-- from FILE -->      the block that follows is a piece of FILE
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
BLOCK = re.compile(r"^```(console|pycon)\n(.*?)^```$|^<!-- (install): (\S+) -->$", re.MULTILINE | re.DOTALL)
QUOTE = re.compile(r"^<!-- from (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE = 1200
# What runs the Python of a page: a chunk of source in, what it printed out.
INTERPRETER = """
import contextlib, io, json, sys
names = {"__name__": "page"}
for line in sys.stdin:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(json.loads(line), "<page>", "single"), names)
        except Exception as error:
            print(f"{type(error).__name__}: {error}")
    print(json.dumps(printed.getvalue()), flush=True)
"""


@dataclass
class Step:
    """What is typed, as it is shown, and what comes out."""

    shown: list[str]
    source: str
    output: list[str]

    @property
    def compound(self) -> bool:
        """Python that goes on to an empty line: a class, a loop."""
        return self.source.partition("\n")[0].endswith(":")


class Place:
    """A directory to run in: the tree's own directories are there, and `pcemu` and `python` are this interpreter's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("docs", "pcemu", "tests"):
            (directory / name).symlink_to(ROOT / name)
        tools = directory / "bin"
        tools.mkdir()
        for name, command in (("python", ""), ("pcemu", " -m pcemu"), ("pcemu-img", " -m pcemu.img")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{command} "$@"\n')
            (tools / name).chmod(0o755)
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(directory), "LC_ALL": "C.UTF-8",
                    "HOME": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
        self.interpreter: subprocess.Popen[str] | None = None

    def run(self, kind: str, source: str) -> list[str]:
        text = self.console(source) if kind == "console" else self.python(source)
        return [line.rstrip() for line in text.replace("\r", "").splitlines()]

    def console(self, command: str) -> str:
        done = subprocess.run(["bash", "-c", command], cwd=self.directory, env=self.env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
        return done.stdout

    def install(self, package: str) -> None:
        """What pip leaves behind, but for the building: modules, and the metadata that entry points are found by."""
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        for module in (ROOT / package).glob("*.py"):
            (self.directory / module.name).symlink_to(module)
        info = self.directory / f"{project['name']}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        (info / "entry_points.txt").write_text("".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()))

    def python(self, source: str) -> str:
        """In one interpreter for the page, which does not mix with this one."""
        if self.interpreter is None:
            self.interpreter = subprocess.Popen([sys.executable, "-c", INTERPRETER], cwd=self.directory, env=self.env, text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.interpreter.stdin is not None and self.interpreter.stdout is not None
        self.interpreter.stdin.write(json.dumps(source + "\n") + "\n")
        self.interpreter.stdin.flush()
        answer: str = json.loads(self.interpreter.stdout.readline())
        return answer

    def close(self) -> None:
        if self.interpreter is not None:
            self.interpreter.communicate()


def steps(kind: str, text: str) -> Iterator[Step]:
    prompt, more = ("$ ", "> ") if kind == "console" else (">>> ", "... ")
    step: Step | None = None
    for line in text.splitlines():
        if line.startswith(prompt):
            if step:
                yield step
            step = Step([line], line[len(prompt):], [])
        elif step and not step.output and (line.startswith(more) or (line == "..." and step.compound)):
            step.shown.append(line)
            step.source += "\n" + line[len(more):]
        elif step:
            step.output.append(line.rstrip())
        else:
            raise SystemExit(f"transcripts: output without a command: {line}")
    if step:
        yield step


def agrees(shown: list[str], real: list[str]) -> bool:
    """Are they the same, a line '...' being any number of lines?"""
    if not shown:
        return not real
    if shown[0].strip() == "...":
        return any(agrees(shown[1:], real[i:]) for i in range(len(real) + 1))
    return bool(real) and shown[0] == real[0] and agrees(shown[1:], real[1:])


def rerun(page: Path) -> tuple[str, str]:
    """The page, and the page as it ought to be."""
    text = page.read_text()
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory))

        def again(match: re.Match[str]) -> str:
            if match[3]:
                place.install(match[4])
                return match[0]
            lines: list[str] = []
            for step in steps(match[1], match[2]):
                real = place.run(match[1], step.source)
                lines += [*step.shown, *(step.output if agrees(step.output, real) else real)]
            return "\n".join([f"```{match[1]}", *lines, "```"])

        try:
            return text, BLOCK.sub(again, text)
        finally:
            place.close()


def misquoted(page: Path) -> list[str]:
    """Blocks that say where they are from, and are not to be found there."""
    quotes = QUOTE.findall(page.read_text())
    return [f"{page.name}: not in {file}:\n{text}" for file, text in quotes if text not in (ROOT / file).read_text()]


def pages() -> list[Path]:
    return [page for page in sorted(DOCS.glob("*.md")) if BLOCK.search(page.read_text()) or QUOTE.search(page.read_text())]


def difference(page: Path, old: str, new: str) -> str:
    titles = f"{page.name}, as it is", f"{page.name}, run again"
    return "\n".join(difflib.unified_diff(old.splitlines(), new.splitlines(), *titles, n=2, lineterm=""))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the documentation's transcripts with what happens.")
    parser.add_argument("--write", action="store_true", help="bring the pages up to date")
    parser.add_argument("page", nargs="*", type=Path)
    options = parser.parse_args()
    status = 0
    for page in options.page or pages():
        page = page if page.exists() else DOCS / page
        for quote in misquoted(page):
            status = 1
            print(quote)
        old, new = rerun(page)
        if old != new:
            status = 1
            print(difference(page, old, new))
            if options.write:
                page.write_text(new)
    return 0 if options.write else status


if __name__ == "__main__":
    sys.exit(main())
