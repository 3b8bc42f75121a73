"""The benchmark's own arithmetic: choosing workloads, medians of ratios, rows and floors, the picture."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import build, busy, handlers, monitor, plot, report, run, workloads
from bench.measure import Run


def test_groups_workloads_and_unknown_names() -> None:
    assert workloads.choose(["integer", "x87-functions", "boot"], 64) == ["alu", "divide", "crc", "x87-functions"]
    assert "wide-alu" not in workloads.choose([], 64) and "wide-alu" in workloads.choose([], 32)
    with pytest.raises(ValueError, match="'nonsense' is neither a group"):
        workloads.choose(["nonsense"], 64)


def test_how_latencies_are_summed_up() -> None:
    assert busy.spread([at / 1e6 for at in range(200, 0, -1)]) == [101, 199, 200]
    assert busy.spread([0.5]) == [500_000] * 3


@pytest.mark.parametrize("bits", workloads.BOTH)
def test_every_workload_is_in_the_guest(bits: int) -> None:
    source = "".join(path.read_text() for path in build.SOURCES)
    for function in re.findall(r"\brun_\w+", workloads.c_table(bits)):
        assert f" {function}(u32 rounds)" in source
    assert len(",".join(workloads.choose([], bits))) < 1500  # Linux' command line ends at 2048


def results() -> report.Results:
    turns = [(1.0, 2.0, 0.5), (1.0, 4.0, 0.5), (2.0, 6.0, 0.5)]
    return [{"pcemu": Run({"boot": 9.0, "alu": a, "divide": 1.0}, peak=100),
             "qemu": Run({"boot": 3.0, "alu": b, "divide": 0.5}, peak=200),
             "native": Run({"alu": c, "divide": 0.5})} for a, b, c in turns]  # fmt: skip


def test_a_ratio_is_the_median_of_the_ratios_within_turns() -> None:
    alu = report.lines(results())[0]
    assert alu.speeds["qemu"] == [2.0, 4.0, 3.0] and alu.speed() == 3.0
    assert alu.ratio("qemu", "native") == 8.0


def test_a_row_is_a_geometric_mean_and_no_workload_may_be_slow() -> None:
    (row,) = [line for line in report.group_table(results()).splitlines() if line.startswith("| straight integer")]
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[0] == "straight integer: alu, divide" and cells[1] == "divide"
    assert cells[4:] == ["1.22", "0.50", "1", "**no**"]  # sqrt(3 x 0.5) reaches the floor, but divide is under 0.9
    assert "geometric mean of 2 workloads: **1.22**" in report.summary(results(), ["qemu"])
    assert "divide 0.50" in report.summary(results(), ["qemu"])


def test_shares_of_instructions_with_and_without_a_handler() -> None:
    before = handlers.parse("instructions  100\r\ncompiled_retired  50\r\nop_aaa  7\r\nother  x\r\n")
    counts = handlers.parse("instructions  1100\ncompiled_retired  1000\nop_aaa  27\nop_hlt  10\n") - before
    assert counts == handlers.Counts(1000, 950, {"op_aaa": 20, "op_hlt": 10})
    assert counts.row("all", 92.0) == "| all | 0.0 | 92.0 | 3.0 | 5.0 | aaa 2.0, hlt 1.0 |"
    assert " 92.0 < |" in counts.row("all", 92.1)
    assert (counts + counts).calls == {"op_aaa": 40, "op_hlt": 20}


def test_the_picture_is_svg_with_a_bar_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [{name: {"times": r.times, "checksums": {}, "peak": r.peak} for name, r in turn.items()} for turn in results()]
    source, target = tmp_path / "figures.json", tmp_path / "picture.svg"
    source.write_text(json.dumps({"date": "2026-01-01", "host": "a <host>", "64": turns}))
    monkeypatch.setattr("sys.argv", ["plot", str(source), str(target)])
    assert plot.main() == 0
    tree = ET.parse(target)
    bars = [e for e in tree.iter("{http://www.w3.org/2000/svg}rect") if e.get("fill") == plot.COLORS["64"]]
    assert len(bars) == 3  # integer, boot, and the legend's


def test_bad_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--bits", "16"], ["--emulators", "vmware"], ["--runs", "0"]):
        with pytest.raises(SystemExit):
            run.main(arguments)
        assert "bench: error: --" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_a_monitor_is_asked_while_the_guest_computes(tmp_path: Path) -> None:
    found = monitor.round_trips(tmp_path, monitor.build(tmp_path, "computing"), 2)
    assert found.keys() == {name for name, _ in monitor.QUERIES}
    assert all(len(trips.all) == 2 and min(trips.all)[0] > 0 and trips.row() for trips in found.values())
    assert monitor.cost(tmp_path, 1000, True)[0] > 0


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_the_guests_that_are_asked(tmp_path: Path) -> None:
    assert all(monitor.build(tmp_path, guest).exists() for guest in monitor.GUESTS)
