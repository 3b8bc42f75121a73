"""The documentation says what is so: transcripts run again, quotations are there, rules hold, links lead somewhere."""

from __future__ import annotations

import ast
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcemu.testing.harness import TestMachine
from scripts import reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path[:0] = [str(DOCS), str(DOCS / "examples" / "metronome")]

import transcripts  # noqa: E402 - found by the path above
from metronome import Metronome  # noqa: E402 - found by the path above

PAGES = sorted(DOCS.glob("*.md"))
IDS = [page.stem for page in PAGES]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the guests of the examples are assembled here")
@pytest.mark.parametrize("page", transcripts.pages(), ids=lambda page: page.stem)
def test_transcripts(page: Path) -> None:
    pytest.importorskip("capstone")
    if "$ gdb " in page.read_text() and shutil.which("gdb") is None:
        pytest.skip("gdb is not installed (tests/boot/test_gdb.py fetches one)")
    old, new = transcripts.rerun(page)
    assert old == new, f"python docs/transcripts.py --write {page.name}\n{transcripts.difference(page, old, new)}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_quotations(page: Path) -> None:
    assert not transcripts.misquoted(page)


def test_a_transcript_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    console = "```console\n$ echo one; echo two; echo three\none\n...\n$ echo four\nfive\n```\n"
    page.write_text(console + "\n```pycon\n>>> 6 * 7\n41\n```\n")
    old, new = transcripts.rerun(page)
    assert new == old.replace("five", "four").replace("41", "42")


# -- links ------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor that GitHub and MyST give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=[*IDS, "README"])
def test_links(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        if name.startswith("reference/"):
            assert name.removeprefix("reference/") in reference.PAGES, target
            continue
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)), target


def test_paths_in_pages_exist() -> None:
    """What is in backquotes and looks like a file of the tree is one."""
    for page in PAGES:
        for path in re.findall(r"`((?:pcemu|docs|tests|scripts|firmware)/[\w./-]+)`", page.read_text()):
            built = path.startswith(("pcemu/data/", "docs/_build")) or path.endswith((".so", "-"))
            assert built or (ROOT / path).exists(), f"{page.name}: {path}"


# -- the rules of the house -------------------------------------------------------------------------------------

MAY_IMPORT = {
    "_core": set(),
    "qom": set(),
    "debug": {"qom"},
    "hw": {"qom", "net"},
    "net": {"qom", "chardev"},
    "chardev": {"qom"},
    "block": {"qom"},
    "backends": {"qom"},
    "machine": {"hw", "qom", "debug", "_core", "backends", "loader", "chardev", "block", "monitor", "net"},
    "loader": {"hw", "qom", "machine"},
    "monitor": {"machine", "hw", "qom", "debug", "chardev", "net", "block"},
    "testing": {"machine", "hw", "qom", "debug"},
}


def imports(path: Path) -> Iterator[str]:
    """The rooms a module imports from, but for what only type checkers see."""
    tree = ast.parse(path.read_text())
    unseen = {id(node) for test in ast.walk(tree) if isinstance(test, ast.If) and "TYPE_CHECKING" in ast.unparse(test.test)
              for node in ast.walk(test)}  # fmt: skip
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("pcemu."))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_the_architecture_says(room: str) -> None:
    for path in (ROOT / "pcemu" / room).rglob("*.py"):
        beyond = set(imports(path)) - MAY_IMPORT[room] - {room, "__version__"}
        assert not beyond, f"{path.relative_to(ROOT)} imports {sorted(beyond)}"


def test_the_table_of_rooms_says_the_same() -> None:
    text = (DOCS / "architecture.md").read_text()
    for room, allowed in MAY_IMPORT.items():
        (cell,) = re.findall(rf"^\| `{room}` \| .* \| (.*) \|$", text, re.MULTILINE)
        named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", cell))))
        assert named & set(MAY_IMPORT) == allowed, room


# -- the device of the pages ------------------------------------------------------------------------------------


def test_metronome() -> None:
    m = TestMachine()
    device = m.add(Metronome, irq=7, iobase=0x310)
    m.outl(0x310, 500)
    m.clock.advance(1_600_000)
    assert m.isa_irq[7].times == [(500_000, 1)]
    assert m.inl(0x310) == 3 and m.isa_irq[7].level == 0
    assert (m.inw(0x310), m.inb(0x311)) == (3, 0)
    m.outl(0x310, 0)
    assert m.clock.pending() == [] and device.ticks == 0
    m.outl(0x310, 1000)
    m.reset()
    assert m.clock.pending() == [] and device.period == 0


def test_the_class_fits_thirty_lines() -> None:
    text = (DOCS / "examples" / "metronome" / "metronome.py").read_text()
    assert len([line for line in text[text.index("class "):].splitlines() if line.strip()]) <= 30


# -- the reference ----------------------------------------------------------------------------------------------


def test_reference_pages(tmp_path: Path) -> None:
    assert reference.main([str(tmp_path)]) == 0
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert "| `-kernel` |" in pages["command-line.md"]
    from pcemu.monitor import table

    for entries, prefix in ((table.COMMANDS, ""), (table.INFO, "info ")):
        for entry in table.entries(entries):
            shown = entry.name.replace("|", "\\|")
            assert f"| `{prefix}{shown}" in pages["monitor.md"], entry.name
    for name in (*table.QMP, *table.EVENTS):
        assert f"| `{name}` |" in pages["qmp.md"], name
    assert "## isa-serial" in pages["devices.md"]
    assert "| `EE` | `OUT DX,AL` |" in pages["instructions.md"]
