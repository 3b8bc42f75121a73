"""Lockstep: that it finds a mistake of every class of emitters, and that runs with devices, faults and new code agree."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
import snippet

from pcemu._core import lockstep
from pcemu._core.isa.emit_table import CLASSES
from pcemu.debug.lockstep import describe

VALUES = ("mov eax, 0x89abcdef; mov edx, 0x12345678; mov esi, 0x1f; mov edi, 0x7fff0003; mov ebp, 0x55aa33cc; mov ecx, 3;"
          "mov [ebx], eax; mov [ebx+4], edx; mov [ebx+8], esi; mov [ebx+12], edi; movdqu xmm0, [ebx]; pshufd xmm1, xmm0, 0x1b;"
          "pshufd xmm2, xmm0, 0x4e; pshufd xmm3, xmm0, 0x93;")
FIRST = 0x4000
SSE_ON = "mov eax, cr4; or eax, 0x600; mov cr4, eax; mov eax, cr0; and eax, -13; mov cr0, eax; "
AVX_ON = "mov eax, cr4; or eax, 0x40000; mov cr4, eax; xor ecx, ecx; xor edx, edx; mov eax, 7; xsetbv; "

# an instruction of each class, or what it takes to see it
SAMPLES = {
    "mov": "mov esi, edi", "alu": "add esi, edx", "test": "test edi, 1; setz al", "adc": "stc; adc esi, edx",
    "unary": "neg esi",
    "lea": "lea esi, [edi+edx*4+3]", "movx": "movzx esi, dl", "shift": "shl esi, 3", "rotate": "rol esi, 5",
    "imul": "imul esi, edx",
    "mul": "mul esi", "div": "xor edx, edx; div esi", "push": "push esi; pop edx", "pop": "push esi; pop edx",
    "leave": "push ebp; mov ebp, esp; leave", "jcc": "test edx, edx; jz 2f; inc esi; 2:", "jmp": "jmp 2f; 2:",
    "call": "call 2f; 2: pop esi", "jmpi": "mov esi, offset 2f; jmp esi; 2:", "ret": "push offset 2f; ret; 2:",
    "setcc": "test edx, edx; setz al", "cmovcc": "test edx, edx; cmovz esi, edi", "cbw": "cwde", "cwd": "cdq",
    "bswap": "bswap esi",
    "xchg": "xchg esi, edi", "nop": "nop", "bt": "bts esi, 7", "scan": "bsf esi, edi", "bmi": "andn esi, edi, edx",
    "cmpxchg": "lock cmpxchg [ebx], esi", "xadd": "lock xadd [ebx], esi", "shd": "shld esi, edi, 3", "dir": "std; cld",
    "sahf": "mov ah, dl; sahf; setbe al",
    "vec": "paddd xmm0, xmm2", "vst": "movdqu [ebx+16], xmm2", "vtog": "movmskps esi, xmm0", "gtov": "movd xmm0, esi",
    "vflags": "comiss xmm0, xmm2; setp al", "vzero": "vzeroupper", "time": "rdtsc",
    "mmx": "movq mm0, [ebx]; paddb mm0, [ebx+8]; paddb mm0, mm0; movq [ebx+40], mm0",
    "mmxmove": "movd mm0, esi; movq [ebx+40], mm0",
    "loop": "mov ecx, 2; 2: inc esi; loop 2b", "string": "cld; lea edi, [ebx+8]; mov ecx, 5; rep stosb",
    "x87": "fninit; fld1; fadd st(0), st(0); fistp dword ptr [ebx+40]",
}


@pytest.fixture(scope="module")
def code() -> dict[str, bytes]:
    """Each sample in a loop, all assembled at once; they begin 512 bytes apart."""
    text = f".fill {FIRST - snippet.CODE}\n"
    for name, sample in SAMPLES.items():
        on = SSE_ON + (AVX_ON if name == "vzero" else "")
        text += f".balign 512; {on}{VALUES}\n mov byte ptr [ebx+32], 3\n1:\n{sample}\ndec byte ptr [ebx+32]\njnz 1b\nhlt\n"
    whole = snippet.assemble(text)[FIRST - snippet.CODE:]
    return {name: whole[512 * i:512 * (i + 1)] for i, name in enumerate(SAMPLES)}


def _machine(code: bytes, at: int = snippet.CODE, **options: Any) -> tuple[Any, Any]:
    memory, cpu = snippet.make(b"", "max")
    memory.write(at, code)
    cpu.set("eip", at)
    if not cpu.lockstep(**options):
        pytest.skip("nothing is compiled on this host")
    return memory, cpu


@pytest.mark.parametrize("name", [c for c in CLASSES if c != "none"])
def test_finds_a_mistake_of_every_class(name: str, code: dict[str, bytes]) -> None:
    assert name in SAMPLES, f"no sample of emitter class {name}: add one"
    at = FIRST + 512 * list(SAMPLES).index(name)
    _, cpu = _machine(code[name], at)
    assert cpu.run(10_000) == "halted"
    assert cpu.get("eip") > at + 0x40
    stats = cpu.stats()
    assert stats["lockstep_compared"] >= stats["lockstep_instructions"] - 12
    _, cpu = _machine(code[name], at, inject=CLASSES.index(name))
    with pytest.raises(lockstep.LockstepDifference) as found:
        cpu.run(10_000)
    facts = found.value.facts
    assert facts["registers"] or facts["memory"]
    report = describe(facts)
    assert "handlers" in report and "guest:" in report and "host:" in report


def test_a_store_into_its_own_unit() -> None:
    """Of a block that is compiled with the one that stores: by handlers it runs alone, or not, while nothing is compiled."""
    _, cpu = _machine(snippet.assemble("1: inc dword ptr [2f + 1]; nop; jmp 2f; 2: mov eax, 5; jmp 1b"))
    assert cpu.run(500_000) == "budget"
    assert cpu.stats()["lockstep_compared"] > 250_000
