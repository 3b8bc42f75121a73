"""Vector registers of compiled code against the interpreter's: what is in the host's registers where an operand takes the slow way,
where an instruction faults, and around handlers."""
from __future__ import annotations

import random
from typing import Any

import pytest

from . import rig

pytestmark = [rig.needs_x86_64, pytest.mark.compiled]

BUSY = "addps xmm1, xmm2; paddd xmm3, xmm1; mulsd xmm12, xmm13"       # three registers whose places in memory are out of date
WIDE = "vaddps ymm1, ymm1, ymm2; vpaddd ymm3, ymm3, ymm1; vmulsd xmm12, xmm12, xmm13"     # ... upper halves of two, zeros in one's
ACROSS = 0xFF8                                                          # offset of an operand in two pages
PROGRAMS = {
    "across": f"{BUSY}; movups xmm4, [rbx+{ACROSS}]; paddb xmm4, xmm1; movups [rbx+{ACROSS + 0x1000}], xmm4; subps xmm3, xmm4",
    "double across": f"{BUSY}; movsd xmm5, [rbx+{ACROSS + 4}]; addsd xmm12, xmm5; movsd [rbx+{ACROSS + 0x2004}], xmm12",
    "first touch": f"{BUSY}; addps xmm1, [rbx+0x4000]; pxor xmm3, xmm1; movaps [rbx+0x5000], xmm3; psubd xmm1, xmm12",
    "group": f"{BUSY}; movups xmm4, [rbx+0x3000]; movups xmm5, [rbx+0x3010]; addps xmm4, [rbx+0x3020]; movaps [rbx+0x3030], xmm4",
    "group across": f"{BUSY}; movups xmm4, [rbx+0xFE0]; movups xmm5, [rbx+0xFF0]; addps xmm4, [rbx+0x1000]; movaps [rbx+0x1010], xmm4",
    "group always across": f"mov ecx, 5000; 3: {BUSY}; movups xmm4, [rbx+0xFE8]; addps xmm4, [rbx+0x1000]; movups [rbx+0xFF8], xmm4; "
                           "add eax, [rbx+0x1008]; dec ecx; jnz 3b",
    "group often across": "mov edx, 30; 2: mov ecx, 200; mov rsi, rbx; 3: movups xmm4, [rsi]; movups xmm5, [rsi+24]; addps xmm4, xmm5; movups [rsi+40], xmm4; "
                          "add rsi, 48; test cl, 7; jnz 4f; paddd xmm3, xmm4; 4: dec ecx; jnz 3b; dec edx; jnz 2b",
    "nowhere": f"{BUSY}; movups xmm4, [rdi]; por xmm4, xmm1; movups [rdi], xmm4; paddw xmm1, xmm4",
    "absent": f"{BUSY}; mov eax, 0x7f000000; movaps xmm1, [rax]; paddd xmm1, xmm3",
    "absent store": f"{BUSY}; mov eax, 0x7f000000; movups [rax], xmm1; paddd xmm1, xmm3",
    "misaligned": f"{BUSY}; paddd xmm1, [rbx+8]; paddd xmm3, xmm1",
    "misaligned group": f"{BUSY}; movaps xmm4, [rbx]; paddd xmm1, [rbx+0x18]; paddd xmm3, xmm1",
    "misaligned store": f"{BUSY}; movaps [rbx+4], xmm1; paddd xmm3, xmm1",
    "handlers": f"{BUSY}; rcpps xmm1, xmm3; addps xmm2, xmm1; stmxcsr [rbx]; rsqrtss xmm12, xmm2; cpuid; subsd xmm12, xmm13",
    "mxcsr": f"{BUSY}; mov dword ptr [rbx], 0x7fc0; ldmxcsr [rbx]; mulps xmm1, xmm2; divsd xmm12, xmm13; stmxcsr [rbx+8]",
    "unmasked by VEX": f"{BUSY}; mov dword ptr [rbx], 0x1d80; vldmxcsr [rbx]; vmulps ymm1, ymm2, ymm3; inc eax; vdivsd xmm12, xmm12, xmm13; "
                       "vstmxcsr [rbx+8]; mov dword ptr [rbx], 0x1f80; vldmxcsr [rbx]; inc ecx; vaddps ymm3, ymm1, ymm2",
    "unmasked": f"{BUSY}; mov dword ptr [rbx], 0xf80; ldmxcsr [rbx]; paddd xmm3, xmm1; divps xmm1, xmm0; mulps xmm2, xmm1",
    "masked again": "mov dword ptr [rbx], 0x1d80; ldmxcsr [rbx]; addps xmm1, xmm2; or dword ptr [rbx], 0x1f80; ldmxcsr [rbx]; "
                    "subps xmm1, xmm3; mulsd xmm12, xmm13",
    "flags": f"{BUSY}; ucomisd xmm12, xmm13; setp al; seta cl; paddd xmm3, xmm1; setb dl; pushfq; pop r8; paddb xmm1, xmm3",
    "flags kept": f"{BUSY}; comiss xmm1, xmm2; mov [rbx+{ACROSS}], rax; movups xmm5, [rbx+{ACROSS}]; cmova r9, r10; jbe 1f; "
                  "addps xmm5, xmm1; 1: subps xmm3, xmm5",
    "flags from C": f"{BUSY}; pushfq; popfq; jl 2f; 2: addps xmm1, xmm3; sub eax, ecx; bt edx, 5; adc r8, r9; addps xmm2, xmm1; "
                    "setl al; rol r10, 3; addps xmm3, xmm2; setc r11b",
    "bits": "ptest xmm1, xmm2; setz al; setc cl; pxor xmm1, xmm1; ptest xmm1, xmm2; setz dl; ptest xmm15, [rbx+0x10]; pushfq; pop r8",
    "general": "cvttsd2si rax, xmm12; cvtsd2si ecx, xmm13; cvtsi2sd xmm1, rcx; cvtsi2ss xmm2, r11d; movq r13, xmm1; movd esi, xmm2; "
               "movq xmm3, r15; movd xmm4, r14d; pmovmskb r11d, xmm5; movmskps ebp, xmm6; pextrb r14d, xmm7, 3; pinsrw xmm8, ecx, 5; "
               "pinsrq xmm9, r11, 1; pextrq r10, xmm10, 1; pextrd [rbx], xmm11, 2; cvttss2si r9, [rbx]; pinsrb xmm1, [rbx+1], 7",
    "loop": f"mov ecx, 40; 3: {BUSY}; movups xmm4, [rbx+rcx*8+0xFD0]; addps xmm4, xmm1; movups [rbx+rcx*8+0x1FD0], xmm4; "
            "aesenc xmm1, xmm4; pshufb xmm2, xmm1; dec ecx; jnz 3b",
    "wide": f"{WIDE}; vmovups ymm4, [rbx+0x40]; vaddps ymm5, ymm4, [rbx+0x61]; vmovaps [rbx+0x80], ymm5; vpand ymm12, ymm5, ymm13",
    "wide across": f"{WIDE}; vpaddd ymm4, ymm1, [rbx+{ACROSS - 16}]; vmovups [rbx+{ACROSS + 0x1000}], ymm4; vsubps ymm3, ymm3, ymm4",
    "wide absent": f"{WIDE}; mov eax, 0x7f000000; vpaddd ymm1, ymm2, [rax]; vpaddd ymm1, ymm1, ymm3",
    "wide misaligned": f"{WIDE}; vmovaps ymm4, [rbx+0x20]; vmovdqa ymm5, [rbx+0x30]; vpaddd ymm1, ymm1, ymm3",
    "wide misaligned store": f"{WIDE}; vmovaps [rbx+0x21], ymm1; vpaddd ymm1, ymm1, ymm3",
    "upper halves": f"{WIDE}; paddd xmm1, xmm3; addsd xmm12, xmm13; movups [rbx+{ACROSS}], xmm1; vpaddd ymm4, ymm1, ymm12; "
                    "vaddps xmm3, xmm1, xmm3; movaps xmm6, xmm1; vpermq ymm7, ymm6, 0x4e; vpxor ymm8, ymm3, ymm7; mulps xmm8, xmm2",
    "upper halves zero": f"{WIDE}; paddd xmm2, xmm3; vzeroupper; vpaddd ymm4, ymm1, ymm5; movups xmm9, [rbx+{ACROSS}]; "
                         "vpaddd ymm6, ymm9, ymm10; vzeroupper; addps xmm1, xmm6",
    "all zero": f"{WIDE}; vzeroall; paddd xmm1, xmm2; movups [rbx+{ACROSS}], xmm1; vpaddd ymm3, ymm1, [rbx]; addps xmm15, xmm3",
    "wide handlers": f"{WIDE}; vrcpps ymm4, ymm1; vaddps ymm5, ymm4, ymm1; vpcmpeqd ymm6, ymm6, ymm6; vpgatherdd ymm7, [rbx+ymm8*1], ymm6; "
                     "vpsubd ymm9, ymm7, ymm1; cpuid; vpaddd xmm1, xmm1, xmm2",
    "fused": f"{WIDE}; vfmadd231ps ymm1, ymm2, [rbx+0x100]; vfnmsub132sd xmm12, xmm13, xmm1; vfmsubadd213pd ymm3, ymm1, ymm2; "
             f"vcvtps2ph [rbx+{ACROSS}], ymm1, 3; vcvtph2ps ymm4, [rbx+{ACROSS}]; vcvtps2ph xmm5, ymm4, 0",
    "wide flags": f"{WIDE}; vptest ymm1, ymm2; setz al; setc cl; vtestps xmm1, [rbx+0x10]; pushfq; pop r8; vucomisd xmm12, xmm13; "
                  "setp dl; seta r9b; vpmovmskb r11d, ymm1; vmovmskpd ebp, ymm3; vcvttsd2si rax, xmm12; vpextrw ecx, xmm1, 3",
    "wide elements": f"{WIDE}; vpinsrb xmm4, xmm1, r11d, 5; vpinsrq xmm5, xmm2, r9, 1; vcvtsi2sd xmm6, xmm12, r13; vmovq xmm7, r15; "
                     "vmovd xmm8, [rbx]; vextracti128 xmm9, ymm3, 1; vextractf128 [rbx+0x31], ymm1, 1; vinsertf128 ymm10, ymm1, [rbx], 1; "
                     "vblendvps ymm11, ymm1, ymm2, ymm3; vpsllw ymm14, ymm1, 3; vpsrldq ymm15, ymm2, 5; vmovhps [rbx+3], xmm1",
    "wide loop": f"mov ecx, 40; 3: {WIDE}; vmovups ymm4, [rbx+rcx*8+0xFD0]; vaddps ymm4, ymm4, ymm1; vmovups [rbx+rcx*8+0x1FD0], ymm4; "
                 "addps xmm3, xmm4; dec ecx; jnz 3b",
    "mixed loop": f"mov ecx, 40; 3: {BUSY}; vmovups ymm4, [rbx+rcx*8+0xFD0]; vaddps xmm2, xmm4, xmm1; vpaddd ymm1, ymm2, ymm4; "
                  "movups [rbx+rcx*8+0x1FD0], xmm1; test ecx, 1; jz 2f; vzeroupper; 2: dec ecx; jnz 3b",
    "bits by VEX": "andn eax, ecx, r11d; setz dl; andn r13, r14, [rbx]; js 1f; 1: bextr r11, r9, rcx; setz r8b; bextr esi, [rbx+8], r13d; "
                   "bzhi r14, r10, rbp; setc bpl; bzhi edx, [rbx], eax; pushfq; pop r15; jbe 2f; 2: blsr r12, r13; setc cl; blsi eax, r15d; "
                   "adc r9, 0; blsmsk r11d, [rbx]; seta sil; blsr rsi, [rbx+0x10]",
    "scatter by VEX": f"add r8, r9; pdep r11, r13, rax; pext rcx, rdx, [rbx]; mulx r14, r15, r13; mulx rax, rax, r11; mulx r11d, ecx, [rbx+{ACROSS}]; "
                      "shlx r13, r11, rcx; sarx eax, [rbx+8], r14d; shrx r9, r10, rdx; rorx r15, [rbx], 13; rorx ecx, r14d, 31; pushfq; pop r12; "
                      "cmp r14d, ecx; rorx r14, r14, 7; setl cl; mulx r13, r13, r14; adc r10, 5; shlx r13d, r13d, r13d",
    "mmx": f"{BUSY}; movq mm1, [rbx]; paddb mm1, [rbx+8]; movq mm2, mm1; punpckhwd mm2, mm1; punpcklbw mm3, [rbx+0x11]; packsswb mm2, mm3; "
           "phaddw mm4, mm2; pshufb mm1, mm2; palignr mm1, mm4, 3; pshufw mm5, mm1, 0x1b; psrlw mm5, 3; psllq mm2, mm3; pmaddubsw mm5, mm1; "
           f"psadbw mm6, mm5; movq [rbx+{ACROSS - 4}], mm5; pabsd mm7, [rbx+{ACROSS - 4}]; punpckhdq mm7, mm6; phsubd mm7, mm7; packuswb mm0, mm0",
    "mmx moves": "cmp r8, r9; movd mm0, r11d; movq mm1, r13; movd mm2, [rbx]; movq rax, mm1; movd r14d, mm2; movd [rbx+1], mm0; movntq [rbx+8], mm1; "
                 "movq2dq xmm1, mm1; movdq2q mm3, xmm12; pmovmskb ecx, mm3; pextrw r15d, mm1, 2; pinsrw mm4, r9d, 3; pinsrw mm4, [rbx+5], 0; "
                 "setb dl; addps xmm1, xmm2; pmovmskb r11d, mm4; emms; paddd mm5, mm4; fld1; movq mm6, mm5; faddp; emms; fldpi",
    "mmx pending": f"{BUSY}; fninit; mov word ptr [rbx], 0x340; fldcw [rbx]; fldz; fld1; fdivrp; paddd mm1, mm2; paddd mm3, mm4",
    "mmx across": f"{BUSY}; movq mm1, [rbx+{ACROSS + 4}]; paddw mm1, [rdi]; movq [rdi+2], mm1; por mm1, mm2; paddd xmm1, xmm3",
    "mmx full": "; ".join(f"addps xmm{i}, xmm{(i + 1) % 16}" for i in range(16)) + "; paddd mm1, mm2; pshufb mm1, [rbx]; subps xmm3, xmm15",
    "own code": f"{BUSY}; movups xmm4, [rip+4f]; movups [rip+4f], xmm3; paddd xmm1, xmm4; 4: .fill 16, 1, 0x90; paddd xmm1, xmm3",
}


@pytest.fixture(scope="module")
def programs() -> dict[str, bytes]:
    return dict(zip(PROGRAMS, rig.assemble([text + "; hlt" for text in PROGRAMS.values()]), strict=True))


def _engine(heat: str, monkeypatch: pytest.MonkeyPatch) -> rig.Emulated:
    monkeypatch.setenv("PCEMU_JIT", heat)
    return rig.Emulated()


def _outcome(engine: rig.Emulated, code: bytes, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    fx = bytearray(rig.fresh_fx())
    for i in range(16):
        kind = rng.randrange(3)
        fx[160 + 16 * i:176 + 16 * i] = (rng.randbytes(16) if kind == 0 else b"".join(
            (rng.getrandbits(1) << 31 | rng.randrange(0x3F000000, 0x42000000)).to_bytes(4, "little") for _ in range(4)))
    for i in range(8):
        fx[32 + 16 * i:42 + 16 * i] = rng.randbytes(10)
    fx[4] = rng.randrange(256)
    gpr = [rng.getrandbits(64) for _ in range(16)]
    gpr[3], gpr[4], gpr[7] = rig.DATA, rig.DATA + 0x8000, 0x3000_0000
    before = rig.Machine(gpr, rng.getrandbits(12) & rig.ALL_FLAGS, bytes(fx), rng.randbytes(0x6000))
    c = engine.cpu
    c.set("cr4", c.get("cr4") | 1 << 18)
    c.set("xcr0", 7)
    for i in range(16):
        c.set(f"ymm{i}h", rng.getrandbits(128))
    why = "halted" if engine.run(code, before, 100_000, "halted") else "stopped"
    out: dict[str, Any] = {r: c.get(r) for r in (*rig.GPR, "rip", "eflags", "mxcsr", "cr2", "fsw", "ftw", *(f"ymm{i}" for i in range(16)),
                                                   *(f"st{i}" for i in range(8)))}
    out["at"] = why
    out["instructions"] = c.stats()["instructions"]
    out["memory"] = engine.mem.read(rig.DATA, 0x8000)
    return out


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_interpreted(name: str, programs: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        interpreted = _outcome(_engine("off", monkeypatch), programs[name], seed)
        engine = _engine("1", monkeypatch)
        compiled = _outcome(engine, programs[name], seed)
        assert engine.cpu.stats()["compiled"]
        assert {k: v for k, v in compiled.items() if v != interpreted[k]} == {}, f"interpreted: {interpreted}"
