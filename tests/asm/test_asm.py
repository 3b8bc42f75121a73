"""Every case of the ring, a family at a time; and that a case can fail."""
from __future__ import annotations

from dataclasses import replace

import pytest

from . import machine, runner, snippets
from .assembler import AsmError, assemble
from .case import Case, Fault, expand


@pytest.mark.parametrize("family", runner.family_names())
def test_family(family: str) -> None:
    count, failed = runner.run(runner.instances(family))
    assert count
    assert not failed, f"{len(failed)} of {count} cases:\n" + "\n".join(failed[:10])


GOOD = Case("add", "add %d, %m", ("pm32",), 32, regs={"edx": 1}, m=0xFFFFFFFF, out={"edx": 0}, oflags="osZAPC", access="r")
FAULT = Case("load", "mov eax, [%DI]", ("pm32",), regs={"rdi": "hole"}, fault=Fault(14, 4, "hole"))


def errors(case: Case) -> list[str]:
    inst = expand(case, case.modes[0])
    inst.code, = assemble([(32, inst.text)])
    inst.values["end"] = inst.values["code"] + len(inst.code)
    return runner.run_instance(machine.machine(), inst, 0, False)


@pytest.mark.parametrize("change, says", [
    ({"out": {"edx": 1}}, "rdx"), ({"out": {"edx": 0, "ecx": 5}}, "rcx"), ({"oflags": "osZAPc"}, "flags"), ({"oflags": "OsZAPC"}, "flags"),
    ({"om": 5}, "memory at 0x31040"), ({"fault": Fault(13)}, "expected exception 13"), ({"end": "end - 1"}, "rip"),
    ({"code": "int3"}, "exception 3"), ({"code": "1: jmp 1b"}, "budget"), ({"omem": {"stack": b"\0"}}, "memory at 0x41800"),
    ({"io": (("r", 0, 1, 0),)}, "ports"), ({"check": lambda state: "odd"}, "odd"),
])
def test_wrong_expectations_are_noticed(change: dict[str, object], says: str) -> None:
    assert errors(GOOD) == []
    assert any(says in e for e in errors(replace(GOOD, **change))), change
    assert errors(GOOD) == []                       # and what a failure left behind does not spread


@pytest.mark.parametrize("change, says", [
    ({"fault": Fault(13, 4, "hole")}, "exception 14"), ({"fault": Fault(14, 6, "hole")}, "error code 0x4"),
    ({"fault": Fault(14, 4, "hole + 1")}, "cr2"), ({"fault": Fault(14, 4, "hole", "end")}, "rip"), ({"fault": None}, "ended in exception 14"),
    ({"out": {"eax": 0}}, "rax"), ({"omem": {"stack": b"\1"}}, "memory at 0x41800"),
])
def test_wrong_faults_are_noticed(change: dict[str, object], says: str) -> None:
    assert errors(FAULT) == []
    assert any(says in e for e in errors(replace(FAULT, **change))), change


def test_every_file_of_snippets_says_what_it_means(tmp_path: runner.Path) -> None:
    f = tmp_path / "t.S"
    f.write_text("#: a title\n#: modes all -real | sizes 16 64\n#: in %a=mask rbx=data+4 flags=Cz\n#: mem data = 01 w:end\n"
                 "#: out ax=1 undef=a loose=rcx\n#: fault 14 err=2 cr2=hole | cpl 0\n  nop  # nothing\n#: another\n  hlt\n")
    a, b, c = snippets.parse(f)
    assert (a.name, a.size, b.size, c.name) == ("a title", 16, 64, "another")
    assert "real" not in a.modes and "long64" in a.modes and list(b.modes) == ["long64"]
    assert a.regs == {"ax": "mask", "rbx": "data+4"} and a.flags == "Cz" and b.regs["rax"] == "mask"
    assert a.mem == {"data": [(1, 1), ("end", 2)]} and a.out == {"ax": 1} and (a.undef, a.loose.strip()) == ("a", "rcx")
    assert a.fault == Fault(14, 2, "hole") and a.cpl == 0 and c.fault is None
    f.write_text("#: bad\n#: mods all\n nop\n")
    with pytest.raises(ValueError, match=r"t\.S:1: bad"):
        list(snippets.parse(f))


def test_the_assembler_names_the_snippet() -> None:
    assert assemble([(16, "mov ax, bx"), (64, "mov rax, rbx"), (32, "mov eax, ebx")]) == [b"\x89\xd8", b"\x48\x89\xd8", b"\x89\xd8"]
    with pytest.raises(AsmError, match="mov rax, ebx"):
        assemble([(64, "nop"), (64, "mov rax, ebx")])
    with pytest.raises(AsmError, match="symbol"):
        assemble([(64, "jmp somewhere")])
