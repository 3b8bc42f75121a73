"""No row of the instruction table without a case: in each legal mode, operand size and form, its faults included."""
from __future__ import annotations

from . import coverage


def test_every_row_has_its_cases() -> None:
    missing = set(coverage.missing())
    listed = set(coverage.listed())
    assert not missing - listed, "without a case:\n" + "\n".join(sorted(missing - listed)[:40])
    assert not listed - missing, "has a case now, take it from missing.txt:\n" + "\n".join(sorted(listed - missing)[:40])


def test_the_requirements_are_what_they_should_be() -> None:
    """Samples, so that a slip in the rules does not quietly require nothing."""
    rows = {coverage.label(r): r.id for r in coverage.rows()}
    need: dict[tuple[int, str], set[str]] = {}
    for row, mode, what in coverage.required():
        need.setdefault((row, mode), set()).add(what)
    add = need[rows["01 ADD Ev,Gv"], "long64"]
    assert add == {"r 16", "r 32", "r 64", "m 16", "m 32", "m 64", "fault memory", "locked", "fault lock"}
    assert need[rows["50+r PUSH Zv"], "long64"] == {"r 16", "r 64", "fault lock"}
    assert need[rows["F4 HLT"], "vm86"] == {"fault priv"} and "fault priv" in need[rows["F4 HLT"], "pm32"]
    assert need[rows["27 DAA"], "long64"] == {"fault mode"} and need[rows["0F 00 /2 LLDT Ew"], "real"] == {"fault mode"}
    assert {"fault unit", "fault feature"} <= need[rows["NP 0F 58 ADDPS Vps,Wps"], "real"]
    assert len(need) > 5000
