"""Compiled code at its limits: what does not fit is left to the interpreter, and comes out the same."""

from __future__ import annotations

from typing import Any

import pytest


def run(snippet: Any, code: bytes, heat: int) -> tuple[dict[str, int], dict[str, int]]:
    memory, cpu = snippet.make(code, "max")
    memory.st(snippet.DATA, 4, 3)
    cpu.set("fs", 16)
    for name, value in (("fs_base", 0), ("fs_limit", 0xFFFFFFFF), ("fs_attr", 0xCF9300)):
        cpu.set(name, value)
    if heat and not cpu.enable_jit(size=1 << 20, heat=heat):
        pytest.skip("no compiled code on this host")
    assert cpu.run(1_000_000) == "halted"
    return {name: cpu.get(name) for name in (*snippet.REGISTERS, "eflags")} | {"icount": cpu.icount}, cpu.stats()


@pytest.mark.parametrize("blocks", [1, 2, 9])
@pytest.mark.parametrize("insns", [
    "inc esi; mov edx, 0; div dword ptr fs:[ebx]; mov eax, ecx",            # out of line: six stubs for each division,
    "inc esi; ror eax, 3; mov edi, fs:[ebx]; adc edi, fs:[ebx+4]",          # flags of two instructions in each of them,
    "addps xmm0, xmm1; mulps xmm2, xmm3; subps xmm4, xmm5; mov edi, fs:[ebx]",      # vector registers to save and restore
])
def test_long_blocks_with_much_out_of_line(snippet: Any, insns: str, blocks: int) -> None:
    one = "; ".join([insns] * 15)
    body = "; ".join(f"{one}; jc 2f; jmp 3{n % 10}f; 3{n % 10}: " for n in range(blocks))
    code = snippet.assemble(f"mov ecx, 60; 1: {body}; 2: dec ecx; jnz 1b")
    plain, _ = run(snippet, code, 0)
    compiled, stats = run(snippet, code, 2)
    assert compiled == plain
    assert stats["compiled"]
    assert stats["compiled_bytes"] < 1 << 20


def test_what_compiled_code_retires_is_counted(snippet: Any) -> None:
    """A loop of five instructions whose load finds RAM 64 times, then a device, which takes it out of compiled code."""
    code = snippet.assemble("mov ecx, 100; 1: inc esi; mov eax, [edi]; add edi, 0x400; dec ecx; jnz 1b")
    _, stats = run(snippet, code, 2)
    # two rounds before it is compiled; then whole rounds; then one instruction before the load, and the three after it (but once)
    assert stats["compiled_retired"] == 62 * 5 + 36 + 35 * 3


def test_exits_are_counted_by_their_reasons(snippet: Any) -> None:
    """A loop whose load is a device's: each goes back to the run loop, which runs it alone, and then the rest of the loop."""
    _, stats = run(snippet, snippet.assemble("mov ecx, 100; 1: inc esi; mov eax, [0x10000]; dec ecx; jnz 1b"), 2)
    exits = {name: count for name, count in stats.items() if name.startswith(("exit_", "left_", "stop_")) and count}
    assert exits["exit_alone"] == stats["single"] == 100
    assert exits["exit_halt"] == exits["stop_halted"] == 1
    assert sum(count for name, count in exits.items() if name.startswith("stop_")) == 1
    # but for two before the loop is compiled
    assert exits["left_handler"] == 98
    assert not {"exit_fault", "exit_error", "left_own_code", "left_dropped"} & set(exits)
    assert stats["tlb_misses"] == stats["tlb_fills"] + stats["tlb_l2_hits"]


def real_mode(snippet: Any, text: str | bytes, heat: int, cs: int = 0x100, more: dict[int, bytes] | None = None,
              **registers: int) -> tuple[dict[str, int], dict[str, int]]:
    """Real mode: code at CS:IP = 100:0, data at 300:0, stack at 400:0, all of them 64 KiB; IDT at 0 with HLTs at 0:400."""
    code = snippet.assemble(f".code16; {text}") if isinstance(text, str) else text
    memory, cpu = snippet.make(code, "max")
    for address, data in (more or {}).items():
        memory.write(address, data)
    memory.write(0, b"".join((snippet.STUBS + v).to_bytes(2, "little") + bytes(2) for v in range(32)))
    for name, selector in (("cs", cs), ("ds", 0x300), ("es", 0x300), ("ss", 0x400)):
        cpu.set(name, selector)
        cpu.set(f"{name}_base", selector * 16)
        cpu.set(f"{name}_limit", 0xFFFF)
        cpu.set(f"{name}_attr", 0x9B00 if name == "cs" else 0x9300)
    values = {"cr0": 0x10, "idt_base": 0, "idt_limit": 0x3FF, "rip": 0, "esp": 0x2000, "ebx": 0x10}
    for name, value in (values | registers).items():
        cpu.set(name, value)
    if heat and not cpu.enable_jit(size=1 << 20, heat=heat):
        pytest.skip("no compiled code on this host")
    assert cpu.run(1_000_000) == "halted"
    return {name: cpu.get(name) for name in (*snippet.REGISTERS, "eip", "eflags")} | {"icount": cpu.icount}, cpu.stats()


@pytest.mark.parametrize(("text", "registers"), [
    # arithmetic on memory, calls, the frame pointer, a jump by a table
    ("mov cx, 300; 1: push cx; mov ax, [bx+si+4]; add [bx+2], ax; adc dx, 3; call 3f; pop cx; loop 1b; hlt;"
     "3: push bp; mov bp, sp; mov ax, [bp+2]; lea di, [bx+si+7]; xor dl, ah; mov sp, bp; pop bp; mov si, 0x20;"
     "jmp word ptr cs:[4f - 0x1000]; 5: ret; 4: .word 5b - 0x1000", {}),
    # the stack pointer wraps; what lies above 64 KiB of it stays
    ("mov cx, 200; 1: push cx; push eax; pop edx; dec cx; jnz 1b", {"esp": 0x12340040, "eax": 0x55667788}),
    # LOOP counts 32 bits, JCXZ 16
    ("mov ecx, 0x10040; mov dx, 0; 1: inc dx; jcxz 2f; addr32 loop 1b; 2:", {}),
    # a word at the last byte of a segment: #GP, on the 16th round, with the addresses before it read
    ("mov si, 0xffe1; 1: inc si; mov ax, [si]; jmp 1b", {"edi": 0}),
    # ... of the stack segment: #SS
    ("mov bp, 0xffe1; 1: inc bp; add dx, [bp]; jmp 1b", {}),
])
def test_segments_and_16_bits(snippet: Any, text: str, registers: dict[str, int]) -> None:
    plain, _ = real_mode(snippet, text, 0, **registers)
    compiled, stats = real_mode(snippet, text, 2, **registers)
    assert compiled == plain
    assert stats["compiled_retired"] > 0.8 * compiled["icount"] - 40


def test_branches_wrap_at_64_kib(snippet: Any) -> None:
    """A loop in two pieces, at IP 1000 and IP FFF0, that go to each other over the ends of the segment."""
    loop = b"\x40\x49\x74\x03\xe9" + ((0xFFF0 - 0x1007) & 0xFFFF).to_bytes(2, "little") + b"\xf4"    # inc; dec; jz; jmp; hlt
    back = b"\xe9" + ((0x1000 - 0xFFF3) & 0xFFFF).to_bytes(2, "little")
    found = [real_mode(snippet, loop, heat, cs=0, eip=0x1000, ecx=50, more={0xFFF0: back})[0] for heat in (0, 2)]
    assert found[0] == found[1]
    assert found[0]["eax"] == 50


def test_a_branch_out_of_the_segment_faults_where_it_is(snippet: Any) -> None:
    """The limit is behind the HLT: LOOP's target lies beyond it, and ECX is what it was."""
    loop = b"\x40\xe2\xfd\xe2\x20\xf4"                    # inc ax; loop; loop +20; hlt
    found = [real_mode(snippet, loop, heat, cs=0, eip=0x1000, ecx=0x20001, cs_limit=0x1006)[0] for heat in (0, 1)]
    assert found[0] == found[1]
    assert found[0]["ecx"] == 0x20000
    assert found[0]["eip"] == snippet.STUBS + 13 + 1


@pytest.mark.parametrize("insn", [
    "imul eax, [edi], 0x7000001", "imul eax, [edi]", "mul dword ptr [edi]", "add eax, [edi]", "shl dword ptr [edi], 3",
    "neg dword ptr [edi]", "inc dword ptr [edi]", "cmp [edi], eax", "xadd [edi], eax", "adc eax, [edi]", "bt dword ptr [edi], 2",
])
def test_flags_behind_an_operand_that_the_handler_fetched(snippet: Any, insn: str) -> None:
    """The operand is RAM at first and a device later: then the handler does the instruction, and its flags are asked for."""
    code = snippet.assemble(f"mov ecx, 100; mov eax, 0x12345; 1: {insn}; pushfd; pop edx; rol esi, 3; xor esi, edx; "
                            "add edi, 0x400; or eax, 0x4000001; dec ecx; jnz 1b")
    plain, _ = run(snippet, code, 0)
    compiled, stats = run(snippet, code, 2)
    assert compiled == plain
    assert stats["compiled"]


def test_the_environment_switches_it_off(snippet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCEMU_JIT", "off")
    _, cpu = snippet.make(snippet.assemble("mov ecx, 1000; 1: dec ecx; jnz 1b"), "max")
    assert not cpu.enable_jit(heat=1) and not cpu.lockstep()
    assert cpu.run(10_000) == "halted"
    assert not cpu.stats()["compiled"]


@pytest.mark.parametrize("first", ["cmp edx, [ebx]", "sub edx, [ebx]", "cmp [ebx], ebp", "add edx, [ebx+4]", "test [ebx], edx"])
@pytest.mark.parametrize("then", ["inc eax", "dec eax", "rol eax, 3", "ror al, 1"])
@pytest.mark.parametrize("last", ["adc ebp, 3", "setb cl; add ebp, ecx", "pushfd; pop esi; add ebp, esi", "sets cl; add ebp, ecx",
                                  "jae 2f; add ebp, 7; 2:"])
def test_flags_that_are_left_alone_over_a_load_by_the_handler(snippet: Any, first: str, then: str, last: str) -> None:
    """INC leaves CF, a rotation all but CF and OF, of a comparison with memory; then a load finds each of its pages for the first
    time, which is the handler's, before the flags are asked for."""
    code = snippet.assemble("mov dword ptr [ebx], 5; mov dword ptr [ebx+4], -1; mov edi, 0x4000; 1: mov edx, 1; "
                            f"{first}; {then}; mov esi, [edi]; mov ecx, 0; {last}; rol ebp, 1; "
                            "add edi, 0x1000; cmp edi, 0xf000; jb 1b")
    plain, _ = run(snippet, code, 0)
    compiled, stats = run(snippet, code, 2)
    assert compiled == plain
    assert stats["compiled"]


@pytest.mark.parametrize("first", ["cmp dx, [bx]", "sub dx, [bx]", "cmp [bx], si", "cmp dx, si"])
@pytest.mark.parametrize("last", ["jae 2f", "jb 2f", "jbe 2f", "js 2f", "jl 2f"])
def test_a_carry_over_inc_where_a_branch_has_to_be_looked_at(snippet: Any, first: str, last: str) -> None:
    """In 16-bit code flags are home before a branch out of the unit: the carry was looked for where INC's stood by then."""
    text = f"mov word ptr [bx], 5; mov si, 7; mov dx, 3; {first}; inc ax; {last}; mov cl, 9; 2:"
    assert real_mode(snippet, text, 1)[0] == real_mode(snippet, text, 0)[0]
