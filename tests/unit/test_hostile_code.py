"""What a guest may try against its emulator: each program must end as the interpreter ends it, under compiled code too.

The same programs run under the address sanitizer (`make asan`), where a stray access of the core's own would end the process.
"""

from __future__ import annotations

from typing import Any

import pytest


def end(snippet: Any, code: bytes, heat: int, at: int, registers: dict[str, int]) -> dict[str, Any]:
    memory, cpu = snippet.make(b"", "max")
    memory.write(at, code)
    for name, value in ({"rip": at} | registers).items():
        cpu.set(name, value)
    if heat and not cpu.enable_jit(size=1 << 20, heat=heat):
        pytest.skip("no compiled code on this host")
    why = cpu.run(20_000)
    names = (*snippet.REGISTERS, "eip", "eflags", "cr2", "mxcsr", *(f"xmm{i}" for i in range(8)))
    return {"why": why, "icount": cpu.icount, "ram": memory.read(0, snippet.SIZE)} | {name: cpu.get(name) for name in names}


def same(snippet: Any, text: str, at: int = 0, code: bytes = b"", **registers: int) -> dict[str, Any]:
    at = at or snippet.CODE
    code = code or snippet.assemble(text)
    plain = end(snippet, code, 0, at, registers)
    for heat in (1, 5):
        assert end(snippet, code, heat, at, registers) == plain
    return plain


def vector(snippet: Any, outcome: dict[str, Any]) -> int:
    return int(outcome["eip"]) - snippet.STUBS - 1


@pytest.mark.parametrize(("insn", "expected"), [
    ("movaps xmm0, [edi+1]", 13), ("addps xmm0, [edi+8]", 13), ("movntps [edi+4], xmm1", 13), ("pshufb xmm0, [edi+15]", 13),
    ("movdqa [edi+2], xmm1", 13), ("vmovaps ymm0, [edi+16]", 6),
    ("mov ebx, 0; div ebx", 0), ("mov edx, 5; mov ebx, 5; div ebx", 0), ("mov eax, 0x80000000; cdq; or ebx, -1; idiv ebx", 0),
    ("mov ax, 0x8000; mov bl, 255; idiv bl", 0), ("aam 0", 0),
    ("movss xmm0, [esi]; divss xmm0, xmm7", 19), ("cvtps2dq xmm0, [esi]", 19), ("movaps xmm0, [esi]; sqrtps xmm0, xmm0", 19),
    ("ud2", 6), (".byte 0xf0; add eax, ebx", 6), (".byte 0xf0; mov [edi], eax", 6), ("mov eax, cr9", 6), ("int3", 3),
    ("into", -1), ("bound eax, [edi]", 5),
])
def test_what_faults_in_a_hot_loop(snippet: Any, insn: str, expected: int) -> None:
    """The loop is harmless for thirty rounds, then not."""
    text = f"""
        mov edi, 0x2000; mov esi, 0x2040; mov dword ptr [esi], 0x7fa00000; mov dword ptr [esi+4], 0xbf800000
        mov dword ptr [edi+0x60], 0x1f80; ldmxcsr [edi+0x60]; xorps xmm7, xmm7; xor ecx, ecx
        mov dword ptr [edi], 5; mov dword ptr [edi+4], 4
    1:  inc ecx; add ebp, ecx; cmp ecx, 30; jb 1b
        mov dword ptr [edi+0x60], 0; ldmxcsr [edi+0x60]
        mov eax, 1
        {insn}
        jmp 1b"""
    found = same(snippet, text)
    if expected >= 0:
        assert vector(snippet, found) == expected


@pytest.mark.parametrize("insn", [
    "lock add dword ptr [edi+0xffd], ecx", "lock xadd [edi+0xfff], eax", "lock cmpxchg8b [edi+0xffc]", "xchg [edi+0xffe], eax",
    "mov eax, [edi+0xffe]; add ebx, eax", "mov [edi+0xffd], ecx", "movups xmm0, [edi+0xff8]; paddd xmm1, xmm0",
    "movups [edi+0xff3], xmm1", "push dword ptr [edi+0xffe]; pop dword ptr [edi+0xffd]", "rol dword ptr [edi+0xfff], 5",
    "fld qword ptr [edi+0xffc]; fstp tbyte ptr [edi+0xffb]", "bts dword ptr [edi+0xffe], 31",
])
def test_operands_across_pages(snippet: Any, insn: str) -> None:
    same(snippet, f"mov ecx, 50; 1: mov edi, 0x3000; {insn}; add ebx, eax; dec ecx; jnz 1b")


@pytest.mark.parametrize("tail", range(1, 12))
def test_code_at_the_end_of_memory(snippet: Any, tail: int) -> None:
    """A loop in the last bytes of RAM; its last instruction ends in the device behind it, or just before that."""
    body = snippet.assemble("1: inc ebx; dec ecx; jnz 1b; mov eax, 0x12345678; mov edx, 0x87654321")[:-1]
    code = body[:5 + tail]
    same(snippet, "", at=snippet.SIZE - len(code), code=code)


def test_a_loop_that_runs_off_the_end_of_memory(snippet: Any) -> None:
    """A slide of instructions up to the last byte: what lies behind is the device's."""
    code = snippet.assemble("; ".join(["mov edi, 0xff00; add ecx, 1"] + ["inc eax"] * 40))[:-1]
    same(snippet, "", at=snippet.SIZE - len(code), code=code)


def test_jumps_into_the_middle_of_instructions(snippet: Any) -> None:
    """The loop's instructions are read two ways in turn: B8 90 90 90 90 is a MOV from one place, four NOPs from the next."""
    text = """
        mov ecx, 60
    1:  test ecx, 1; jz 2f
        jmp 3f + 1
    2:  nop
    3:  .byte 0xb8, 0x40, 0x43, 0x90, 0x90
        add ebp, eax
        dec ecx; jnz 1b"""
    same(snippet, text)


@pytest.mark.parametrize(("prefixes", "expected"), [(13, -1), (14, 13), (15, 13), (40, 13)])
def test_prefixes_up_to_the_limit(snippet: Any, prefixes: int, expected: int) -> None:
    """INC EBX with 13 redundant prefixes and a ModRM byte is 15 bytes long; one more is #GP."""
    text = f"mov ecx, 40; 1: .byte {'0x3e, ' * prefixes} 0xff, 0xc3; dec ecx; jnz 1b"
    found = same(snippet, text)
    if expected >= 0:
        assert vector(snippet, found) == expected
    else:
        assert found["ebx"] == snippet.DATA + 40


def test_a_loop_that_overwrites_itself(snippet: Any) -> None:
    """Each round writes the next one's instruction, in the block that runs; then over its own end."""
    text = """
        mov ecx, 60
    1:  mov byte ptr [2f + 1], cl
    2:  mov al, 0
        movzx eax, al; add ebx, eax
        mov dword ptr [3f + 1], ebx
    3:  mov esi, 0
        add ebp, esi
        dec ecx; jnz 1b
        mov edi, offset 4f; mov ecx, 0x1000; mov al, 0xf4
    4:  rep stosb
        inc eax"""
    same(snippet, text)


def test_a_rep_that_comes_down_on_itself(snippet: Any) -> None:
    """In the last round it writes NOPs over the code behind it, which is compiled with it, and then over itself: that ends it."""
    text = f"""
        mov ebp, 12; mov eax, 0x90909090; std
    1:  xor ecx, ecx; cmp ebp, 1; jne 2f
        mov edi, offset 3f + 0x30; mov ecx, 100
    2:  rep stosd
    3:  {"; ".join(["lea esi, [esi+1]"] * 30)}
        dec ebp; jnz 1b"""
    assert same(snippet, text)["ecx"] > 80


def test_stack_pointers_at_the_edges(snippet: Any) -> None:
    """Pushes and calls that wrap at 4 GiB, or go into the device."""
    for pointer in (0, 2, 4, 0x10002, 0xFFFFFFFE):
        same(snippet, f"mov ecx, 20; 1: mov esp, {pointer:#x}; push ecx; call 2f; 2: pop eax; pop ebx; dec ecx; jnz 1b")


def test_returns_to_anywhere(snippet: Any) -> None:
    """A return whose address was changed on the stack, to the middle of its caller, then to a device."""
    text = """
        mov ecx, 40
    1:  call 3f
    2:  add ebx, 7
        inc eax
        dec ecx; jnz 1b
        push 0x20000; ret
    3:  test ecx, 3; jnz 4f
        add dword ptr [esp], 3
    4:  ret"""
    same(snippet, text)


@pytest.mark.parametrize("upper", [1, 0x40000000, 0xC0000000, 0xFFFFFFFF])
@pytest.mark.parametrize("insn", [
    "rep stosd", "rep stosw", "rep movsd", "rep movsb", "repe cmpsd", "repne scasd", "rep lodsd", "mov cx, 3; rep stosb",
    "stosd; lodsd; movsd; cmpsd; scasd", "1: add ebx, [esi+ecx*4]; loop 1b", "mov eax, [esi+ecx*8-1]; mov [edi+ecx], al",
    "push ecx; pop edx; enter 16, 3; leave; pushad; popad", "mov al, cl; mov ebx, esi; xlatb", "call 2f; jmp 3f; 2: ret 4; 3:",
    "bts [edi], ecx; shl dword ptr [edi], cl; shld [esi], edx, cl", "xchg [edi+ecx], esi; lock xadd [edi], ecx",
    "fld dword ptr [esi+ecx]; fstp tbyte ptr [edi+ecx*4]",
])
def test_what_64_bit_code_has_left_in_the_registers(snippet: Any, insn: str, upper: int) -> None:
    """32-bit code may find anything in the upper halves: a count of 5 that is one of 64 bits, and is shifted out of sight."""
    text = f"mov eax, [esi]; mov [edi], eax; mov [edi+4], eax; cld; jmp 9f; 9: {insn}; nop"
    values = {"rcx": 5, "rsi": 0x2400, "rdi": 0x2800, "rdx": 9, "rbx": 0x2000, "rbp": 0x2F00, "rsp": 0x2E00, "rax": 0x1234567}
    clean = same(snippet, text, **values)
    found = same(snippet, text, **{name: value | upper << 32 for name, value in values.items()})
    assert found | {name: found[name] & 0xFFFFFFFF for name in snippet.REGISTERS} == clean
