"""A picture of pcemu's speed against QEMU's: python -m bench.plot FIGURES.json PICTURE.svg

FIGURES.json is what ``python -m bench.run --output`` writes. Bars are the geometric means of the rows, on a logarithmic
scale; points are the workloads; the marks across the bars are the floors.
"""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

from bench.measure import Run
from bench.report import Results, group_rows, mean_speed

FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
INK, PALE, GRID, MARK = "#1f2933", "#52606d", "#e4e7eb", "#b42318"
COLORS = {"64": "#2b6cb0", "32": "#7cb5e8"}
LEFT, RIGHT, TOP, BAR, GAP = 380, 24, 64, 9, 12
WIDTH = 940
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)


def results_of(turns: list[dict[str, Any]]) -> Results:
    return [{name: Run(**run) for name, run in turn.items()} for turn in turns]


def picture(figures: dict[str, Any]) -> str:
    widths = [bits for bits in COLORS if bits in figures]
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for bits in widths:
        for title, floor, members in group_rows(results_of(figures[bits])):
            rows.setdefault((title, floor), {})[bits] = members
    points = [speed for row in rows.values() for members in row.values() for line in members if (speed := line.speed())]
    low, high = min(0.5, *points) / 1.15, max(2.0, *points) * 1.15

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    parts: list[str] = []

    def text(at: float, y: float, words: str, color: str = INK, size: int = 12, anchor: str = "start") -> None:
        parts.append(f"<text x='{at:.0f}' y='{y:.0f}' font-size='{size}' fill='{color}' text-anchor='{anchor}' {FONT}>"
                     f"{escape(words)}</text>")  # fmt: skip

    row_height = BAR * len(widths) + GAP
    bottom = TOP + row_height * len(rows)
    text(12, 22, "pcemu's speed as a multiple of QEMU TCG's (CPU time; 1 = as fast)", size=14)
    at = 12.0
    for bits in widths:
        parts.append(f"<rect x='{at:.0f}' y='34' width='14' height='{BAR}' fill='{COLORS[bits]}'/>")
        text(at + 20, 43, f"{bits}-bit guest", PALE, 11)
        at += 110
    parts.append(f"<line x1='{at + 7:.0f}' y1='32' x2='{at + 7:.0f}' y2='46' stroke='{MARK}' stroke-width='2'/>")
    text(at + 20, 43, "floor", PALE, 11)
    parts.append(f"<circle cx='{at + 77:.0f}' cy='39' r='2.2' fill='{INK}'/>")
    text(at + 88, 43, "a workload", PALE, 11)
    for tick in TICKS:
        if low <= tick <= high:
            stroke = INK if tick == 1 else GRID
            parts.append(f"<line x1='{x(tick):.1f}' y1='{TOP - 8}' x2='{x(tick):.1f}' y2='{bottom}' stroke='{stroke}'/>")
            text(x(tick), bottom + 15, f"{tick:g}", PALE, 11, "middle")
    y = float(TOP)
    for (title, floor), row in rows.items():
        text(LEFT - 10, y + BAR * len(widths) / 2 + 4, title if len(title) < 56 else title[:54] + "…", size=11, anchor="end")
        for i, bits in enumerate(widths):
            speed = mean_speed(row.get(bits, ()))
            if speed is None:
                continue
            start, end = sorted((x(1), x(speed)))
            top = y + BAR * i
            parts.append(f"<rect x='{start:.1f}' y='{top:.0f}' width='{end - start:.1f}' height='{BAR - 1}' "
                         f"fill='{COLORS[bits]}'/>")  # fmt: skip
            parts += [f"<circle cx='{x(value):.1f}' cy='{top + BAR / 2 - 0.5:.1f}' r='2.2' fill='{INK}'/>"
                      for line in row[bits] if (value := line.speed())]  # fmt: skip
        parts.append(f"<line x1='{x(floor):.1f}' y1='{y - 2:.0f}' x2='{x(floor):.1f}' y2='{y + BAR * len(widths) + 1:.0f}' "
                     f"stroke='{MARK}' stroke-width='2'/>")  # fmt: skip
        y += row_height
    means = [(bits, mean_speed(line for _, _, members in group_rows(results_of(figures[bits])) for line in members
                               if line.workload.name != "boot")) for bits in widths]  # fmt: skip
    total = ", ".join(f"{bits}-bit {mean:.2f}" for bits, mean in means if mean)
    text(12, bottom + 38, f"Geometric mean of all workloads: {total}. {figures['date']}, {figures['host']}.", PALE, 11)
    return (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {bottom + 50:.0f}' width='{WIDTH}' "
            f"height='{bottom + 50:.0f}' role='img' aria-label='pcemu and QEMU compared'>\n"
            f"<rect width='{WIDTH}' height='{bottom + 50:.0f}' fill='#ffffff'/>\n" + "\n".join(parts) + "\n</svg>\n")  # fmt: skip


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: python -m bench.plot FIGURES.json PICTURE.svg", file=sys.stderr)
        return 2
    try:
        figures = json.loads(Path(sys.argv[1]).read_text())
    except (OSError, ValueError) as error:
        print(f"bench.plot: {sys.argv[1]}: {error}", file=sys.stderr)
        return 1
    Path(sys.argv[2]).write_text(picture(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
