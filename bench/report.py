"""Figures of runs, as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measure import Run
from bench.workloads import GROUPS, WORKLOADS, Workload

SLOWEST = 0.9  # no workload is to be slower than that, as a multiple of QEMU's speed

Results = list[dict[str, Run]]  # one dictionary (emulator -> run) a turn


@dataclass(frozen=True)
class Line:
    """One workload: medians over the turns."""

    workload: Workload
    seconds: dict[str, float]  # by emulator
    speeds: dict[str, list[float]]  # pcemu's, as a multiple of each other emulator's, turn by turn

    def ratio(self, above: str, below: str) -> float | None:
        return self.seconds[above] / self.seconds[below] if above in self.seconds and below in self.seconds else None

    def speed(self, other: str = "qemu") -> float | None:
        return statistics.median(self.speeds[other]) if self.speeds.get(other) else None


def lines(results: Results) -> list[Line]:
    found = []
    for workload in WORKLOADS.values():
        turns = [{name: run.times[workload.name] for name, run in turn.items() if workload.name in run.times} for turn in results]
        names = dict.fromkeys(name for turn in turns for name in turn)
        if not names:
            continue
        seconds = {name: statistics.median(turn[name] for turn in turns if name in turn) for name in names}
        speeds = {name: [turn[name] / turn["pcemu"] for turn in turns if name in turn and "pcemu" in turn]
                  for name in names if name != "pcemu"}  # fmt: skip
        found.append(Line(workload, seconds, speeds))
    return found


def _table(rows: Iterable[Sequence[str]], titles: Sequence[str], left: int = 1) -> str:
    marks = ["---"] * left + ["--:"] * (len(titles) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (titles, marks, *rows))


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 20 else f"{value:.1f}"


def _spread(values: list[float] | None) -> str:
    if not values:
        return "-"
    middle = f"{statistics.median(values):.2f}"
    return f"{middle} ({min(values):.2f}-{max(values):.2f})" if len(values) > 1 else middle


def _range(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    low, high = (_ratio(min(known)), _ratio(max(known))) if known else ("-", "-")
    return low if low == high else f"{low}-{high}"


def workload_table(results: Results, others: Sequence[str]) -> str:
    """Each workload: seconds, slowdown against the host, speed against the other emulators."""
    rows = []
    for line in lines(results):
        rows.append([
            line.workload.name,
            *(_number(line.seconds.get(name), ".4f" if name == "native" else ".3f") for name in ("native", "pcemu", *others)),
            *(_ratio(line.ratio(name, "native")) for name in ("qemu", "pcemu")),
            *(_spread(line.speeds.get(name)) for name in others), f"{line.workload.floor:g}",
        ])  # fmt: skip
    return _table(rows, ["workload", "native, s", "pcemu, s", *(f"{name}, s" for name in others), "qemu/native", "pcemu/native",
                         *(f"speed against {name}" for name in others), "floor"])  # fmt: skip


def group_rows(results: Results) -> list[tuple[str, float, list[Line]]]:
    """(title, floor, workloads): a group's workloads that share a floor."""
    known = {line.workload.name: line for line in lines(results)}
    rows = []
    for group in GROUPS:
        mine = [known[workload.name] for workload in group.workloads if workload.name in known]
        for floor in dict.fromkeys(line.workload.floor for line in mine):
            members = [line for line in mine if line.workload.floor == floor]
            several = len({workload.floor for workload in group.workloads}) > 1
            title = f"{group.title}: {', '.join(m.workload.name for m in members)}" if several else group.title
            rows.append((title, floor, members))
    return rows


def mean_speed(members: Iterable[Line], other: str = "qemu") -> float | None:
    speeds = [speed for line in members if (speed := line.speed(other)) is not None]
    return statistics.geometric_mean(speeds) if speeds else None


def group_table(results: Results) -> str:
    """Each row of the goals: the geometric mean of its workloads, the slowest of them, the floor."""
    rows = []
    for title, floor, members in group_rows(results):
        speed = mean_speed(members)
        speeds = {line.workload.name: value for line in members if (value := line.speed()) is not None}
        slowest = min(speeds, key=lambda name: speeds[name]) if speeds else "-"
        met = "-" if speed is None else "yes" if speed >= floor and min(speeds.values()) >= SLOWEST else "**no**"
        rows.append([
            title, slowest, _range(line.ratio("qemu", "native") for line in members),
            _range(line.ratio("pcemu", "native") for line in members),
            _number(speed), _number(speeds.get(slowest)), f"{floor:g}", met,
        ])  # fmt: skip
    return _table(rows, ["group", "its slowest", "qemu/native", "pcemu/native", "speed against qemu", "the slowest's", "floor",
                         "met"], left=2)  # fmt: skip


def summary(results: Results, others: Sequence[str]) -> str:
    """Geometric means over all workloads but the boot; peak memory."""
    measured = [line for line in lines(results) if line.workload.name != "boot"]
    text = []
    for other in others:
        if (mean := mean_speed(measured, other)) is not None:
            text.append(f"- pcemu's speed against {other}'s, geometric mean of {len(measured)} workloads: **{mean:.2f}**")
    slow = [f"{line.workload.name} {speed:.2f}" for line in measured if (speed := line.speed()) is not None and speed < SLOWEST]
    text.append(f"- slower than {SLOWEST} of qemu's speed: {', '.join(slow) or 'none'}")
    for name in ("pcemu", *others):
        peaks = [turn[name].peak for turn in results if name in turn and turn[name].peak]
        if peaks:
            text.append(f"- {name}: at most {statistics.median(peaks):.0f} MiB resident, guest RAM included")
    return "\n".join(text)
