"""Integer instructions against the host's processor: random and boundary operands, every operand size and form."""
from __future__ import annotations

import random

import pytest

from .rig import DATA, GPR, Machine, assemble, differences, emulated, fresh_fx, native, needs_x86_64

pytestmark = needs_x86_64

R = {8: ["al", "cl", "dl", "bl", "ah", "ch", "sil", "r9b"], 16: ["ax", "cx", "dx", "bx", "si", "r9w"],
     32: ["eax", "ecx", "edx", "ebx", "esi", "r9d"], 64: ["rax", "rcx", "rdx", "rbx", "rsi", "r9"]}
PTR = {8: "byte", 16: "word", 32: "dword", 64: "qword"}
EDGES = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, (1 << 63) - 1, (1 << 64) - 1]


def rr(name: str, sizes: tuple[int, ...] = (8, 16, 32, 64)) -> list[str]:
    out = []
    for n in sizes:
        regs = R[n]
        out += [f"{name} {regs[0]}, {regs[1]}", f"{name} {regs[3]}, {regs[0]}", f"{name} {regs[2]}, {regs[2]}",
                f"{name} {regs[-1]}, {regs[1]}" if n != 8 else f"{name} {regs[4]}, {regs[5]}"]
    return out


def mem(name: str, sizes: tuple[int, ...] = (8, 16, 32, 64), rm: bool = True, mr: bool = True) -> list[str]:
    out = []
    for n in sizes:
        if rm:
            out += [f"{name} {R[n][2]}, {PTR[n]} ptr [rdi + 8]", f"{name} {R[n][0]}, {PTR[n]} ptr [rdi + rbp*4 + 4093]"]
        if mr:
            out += [f"{name} {PTR[n]} ptr [rdi + 16], {R[n][3]}", f"{name} {PTR[n]} ptr [rdi + 4095], {R[n][0]}"]
    return out


def imm(name: str) -> list[str]:
    out = []
    for n in (8, 16, 32, 64):
        for v in (1, 0x7F, -128, 0x12 if n == 8 else 0x1234):
            out += [f"{name} {R[n][1]}, {v}", f"{name} {PTR[n]} ptr [rdi + 24], {v}", f"{name} {R[n][0]}, {v}"]
    return out


def one(name: str) -> list[str]:
    return [f"{name} {r}" for n in R for r in (R[n][1], R[n][-1])] + [f"{name} {PTR[n]} ptr [rdi + 4094]" for n in R]


CC = ["o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"]
W = (16, 32, 64)

GROUPS: dict[str, tuple[list[str], str]] = {
    **{n: (rr(n) + mem(n) + imm(n), "a" if n in ("and", "or", "xor") else "") for n in
       ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")},
    "test": (rr("test") + mem("test", rm=False) + imm("test"), "a"),
    "mov": (rr("mov") + mem("mov") + imm("mov") + ["movabs rdx, 0x123456789abcdef0", "mov edx, 0x80000000"], ""),
    **{n: (one(n), "") for n in ("inc", "dec", "neg", "not")},
    "xchg": (rr("xchg") + mem("xchg", rm=False) + ["xchg r8, rax", "xchg eax, eax"], ""),
    "xadd": (rr("xadd") + mem("xadd", rm=False), ""),
    "cmpxchg": (rr("cmpxchg") + mem("cmpxchg", rm=False) + [f"mov {a}, {b}; cmpxchg {c}, {d}" for a, b, c, d in (
        ("rax", "rbx", "rbx", "rcx"), ("eax", "ebx", "ebx", "ecx"), ("al", "bl", "bl", "cl"))], ""),
    "cmpxchg8b": (["cmpxchg8b [rdi + 8]", "mov rax, [rdi + 4091]; mov edx, [rdi + 4095]; cmpxchg8b [rdi + 4091]"], ""),
    "cmpxchg16b": (["cmpxchg16b [rdi + 16]", "mov rax, [rdi + 16]; mov rdx, [rdi + 24]; cmpxchg16b [rdi + 16]"], ""),
    **{n: ([f"{n} {r}, {k}" for s in R for r in (R[s][0], R[s][3]) for k in (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63)]
           + [f"{n} {r}, cl" for s in R for r in (R[s][0], R[s][2])] + [f"{n} {PTR[s]} ptr [rdi + 4095], cl" for s in R]
           + [f"{n} {PTR[s]} ptr [rdi + 8], 1" for s in R] + [f"{n} {PTR[s]} ptr [rdi + 8], 5" for s in R], und)
       for n, und in (("shl", "ao"), ("shr", "ao"), ("sar", "ao"), ("rol", "o"), ("ror", "o"), ("rcl", "o"), ("rcr", "o"))},
    **{n: ([f"{n} {R[s][0]}, {R[s][3]}, {k}" for s in W for k in (1, 3, 15, 31, 63)] + [f"{n} {R[s][0]}, {R[s][3]}, cl" for s in (32, 64)]
           + [f"{n} {PTR[s]} ptr [rdi + 4095], {R[s][3]}, 5" for s in W], "ao") for n in ("shld", "shrd")},
    **{n: ([f"{n} {R[s][0]}, {R[s][3]}" for s in W] + [f"{n} {R[s][2]}, {k}" for s in W for k in (0, 5, 15, 31, 63)]
           + [f"movsx rdx, bl; {n} {PTR[s]} ptr [rdi + 256], {R[s][2]}" for s in W] + [f"{n} {PTR[s]} ptr [rdi + 4095], 3" for s in W], "osapz")
       for n in ("bt", "bts", "btr", "btc")},
    **{n: (rr(n, W) + mem(n, W, mr=False), u) for n, u in
       (("bsf", "osapc"), ("bsr", "osapc"), ("tzcnt", "osap"), ("lzcnt", "osap"), ("popcnt", ""))},
    "imul": (rr("imul", W) + mem("imul", W, mr=False) + [f"imul {R[s][0]}, {R[s][3]}, {k}" for s in W for k in (3, -100, 0x1234)]
             + [f"imul {R[s][0]}, {PTR[s]} ptr [rdi + 8], -7" for s in W], "szap"),
    "mul": ([f"{n} {R[s][3]}" for n in ("mul", "imul") for s in R] + [f"{n} {PTR[s]} ptr [rdi + 8]" for n in ("mul", "imul") for s in R], "szap"),
    "div": ([f"{n} {R[s][3]}" for n in ("div", "idiv") for s in R] + [f"{n} {PTR[s]} ptr [rdi + 8]" for n in ("div", "idiv") for s in R]
            + ["xor edx, edx; div rbx", "xor edx, edx; div ebx", "xor edx, edx; div bx", "cqo; idiv rbx", "cdq; idiv ebx", "cwd; idiv bx",
               "mov ah, 0; div bl", "cbw; idiv bl", "movzx edx, dl; mov rbx, 0x123456789; div rbx"], "oszapc"),
    "movx": ([f"{n} {R[s][2]}, {r}" for n in ("movzx", "movsx") for s in W for r in ("bl", "ah" if s != 64 else "sil")]
             + [f"{n} {R[s][2]}, bx" for n in ("movzx", "movsx") for s in (32, 64)] + ["movsxd rdx, ebx", "movsxd rdx, dword ptr [rdi + 4094]"]
             + [f"{n} {R[s][2]}, {p} ptr [rdi + 4095]" for n in ("movzx", "movsx") for s in (32, 64) for p in ("byte", "word")], ""),
    "lea": (["lea rdx, [rbx + rcx*8 - 77]", "lea edx, [rbx + rcx*4 + 0x12345]", "lea dx, [rbx + rbp*2]", "lea rdx, [rip + 0x1000]",
             "lea rdx, [ebx + ecx*2 + 5]", "lea r9, [rsp + 8]", "lea r9, [r13 + r12*1]"], ""),
    "convert": (["cbw", "cwde", "cdqe", "cwd", "cdq", "cqo", "bswap ebx", "bswap rbx", "xlatb", "lahf", "sahf", "cmc", "clc", "stc"], ""),
    "movbe": ([f"movbe {R[s][0]}, [rdi + 4095]" for s in W] + [f"movbe [rdi + 4095], {R[s][3]}" for s in W], ""),
    "crc32": (["crc32 ecx, bl", "crc32 ecx, bx", "crc32 ecx, ebx", "crc32 rcx, rbx", "crc32 rcx, byte ptr [rdi]", "crc32 ecx, dword ptr [rdi + 4095]"], ""),
    "setcc": ([f"set{c} bl" for c in CC] + [f"set{c} byte ptr [rdi]" for c in CC], ""),
    "cmovcc": ([f"cmov{c} {R[s][0]}, {R[s][3]}" for c in CC for s in W] + [f"cmov{c} edx, [rdi + 4094]" for c in CC], ""),
    "lazy-flags": ([f"{op}; set{c} bl; set{d} bh" for op in (
        "add al, cl", "adc ax, cx", "sub eax, ecx", "sbb rax, rcx", "inc cx", "dec al", "neg eax", "and rax, rcx", "shl cx, 1",
        "cmp al, cl", "cmp ax, cx", "cmp rax, rcx", "test al, cl", "xadd ecx, eax", "adc al, 0; sbb cx, 0")
        for c, d in zip(CC[::2], ("be", "l", "le", "p", "s", "o", "z", "c"), strict=True)], "oszapc"),
    "stack": (["push rbx", "push 0x12", "push -5", "push 0x12345678", "push qword ptr [rdi + 8]", "pop rdx", "pop qword ptr [rsp + 8]", "push bx",
               "pop bx", "push rsp", "pop rsp", "pushfq; pop rdx; and edx, 0x8d5", "enter 32, 0", "enter 64, 3", "mov rbp, rsp; leave"], ""),
    "string": (["movsb", "movsw", "movsd", "movsq", "stosb", "stosw", "stosd", "stosq", "lodsb", "lodsw", "lodsd", "lodsq", "scasb", "scasw",
                "scasd", "scasq", "cmpsb", "cmpsw", "cmpsd", "cmpsq", "std; movsd; cld", "std; stosw; cld"], ""),
    "bmi": ([f"{n} {a}, {b}, {c}" for n in ("andn", "pdep", "pext") for a, b, c in (("ecx", "ebx", "edx"), ("rcx", "rbx", "qword ptr [rdi]"))]
            + [f"{n} {a}, {b}, {c}" for n in ("bextr", "bzhi", "shlx", "shrx", "sarx") for a, b, c in (("ecx", "ebx", "edx"), ("rcx", "qword ptr [rdi]", "rbx"))]
            + [f"{n} {a}" for n in ("blsr", "blsmsk", "blsi") for a in ("ecx, ebx", "rcx, rbx", "rcx, qword ptr [rdi]")]
            + ["mulx rcx, rbx, rsi", "mulx ecx, ecx, esi", "rorx ecx, ebx, 7", "rorx rcx, [rdi], 63", "adcx rcx, rbx", "adox ecx, ebx",
               "adox rcx, [rdi]"], "ap"),
}


def random_machine(rng: random.Random) -> Machine:
    m = Machine(fx=fresh_fx())
    m.gpr = [rng.choice(EDGES) if rng.random() < 0.4 else rng.getrandbits(64) if rng.random() < 0.6 else rng.getrandbits(8) for _ in GPR]
    if rng.random() < 0.3:
        m.gpr[3] = m.gpr[0]
    m.gpr[4] = DATA + 0x2800
    m.gpr[5] = rng.randrange(16)
    m.gpr[6] = DATA + rng.choice((0x100, 0xFFF, 0x80))
    m.gpr[7] = DATA
    m.flags = 2 | (rng.getrandbits(12) & 0x8D5)
    m.data = rng.randbytes(0x3000)
    return m


def fix_registers(text: str, m: Machine) -> None:
    """Registers that address memory in a snippet must point into the data page."""
    if "rdi" not in text and "rsi" in text:
        return
    if "xlat" in text:
        m.gpr[3] = DATA
    if "enter 64, 3" in text:
        m.gpr[5] = DATA + 0x800
    if any(s in text for s in ("movs", "cmps", "lods")) and "movsx" not in text:
        m.gpr[6] = DATA + 0x1FFD


def shift_mask(text: str, m: Machine, undefined: str) -> str:
    """What a shift leaves undefined depends on its count (SDM vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR)."""
    if "bextr" in text:
        return "aps"
    if text.split()[0] not in ("shl", "shr", "sar", "rol", "ror", "rcl", "rcr") or ";" in text:
        return undefined
    if text.endswith(", 1"):
        return undefined.replace("o", "")
    bits = next(n for n in (8, 16, 32, 64) if text.split()[1].rstrip(",") in R[n] or text.split()[1] == PTR[n])
    k = (m.gpr[1] if text.endswith("cl") else int(text.rsplit(",", 1)[1])) & (63 if bits == 64 else 31)
    if k == 0:
        return ""
    return undefined + "c" if k >= bits and text[:2] in ("sh", "sa") else undefined


@pytest.mark.parametrize("group", GROUPS)
def test_against_host(group: str) -> None:
    lines, undefined = GROUPS[group]
    rng = random.Random(group)
    nat, emu = native(), emulated()
    bad = []
    faults = 0
    for text, code in zip(lines, assemble(lines), strict=True):
        for _ in range(24):
            m = random_machine(rng)
            fix_registers(text, m)
            after = emu.run(code, m, text.count(";") + 1)
            if after is None:
                faults += 1                  # #DE: the host must not see it
                assert "div" in text, f"{text}: the emulated instruction faulted"
                continue
            und = shift_mask(text, m, undefined)
            d = differences(text, m, nat.run(code, m), after, und)
            if d:
                bad.append(d)
                break
    assert not bad, f"{len(bad)} of {len(lines)} snippets differ:\n" + "\n".join(bad[:10])
    if group != "div":
        assert not faults


def test_repeated_strings() -> None:
    """REP forms: overlapping copies, direction, early ends."""
    rng = random.Random(7)
    nat, emu = native(), emulated()
    lines = ["rep movsb", "rep movsd", "rep movsq", "std; rep movsb; cld", "rep stosb", "rep stosq", "repe cmpsb", "repne scasb", "repe scasw",
             "repne cmpsd", "rep lodsb", "std; rep stosw; cld"]
    bad = []
    for text, code in zip(lines, assemble(lines), strict=True):
        for _ in range(40):
            m = random_machine(rng)
            m.data = bytes(rng.choice((0, 0, 0, 1)) for _ in range(0x3000))
            m.gpr[0] = rng.choice((0, 1))
            m.gpr[1] = rng.choice((0, 1, 3, 64, 500))
            m.gpr[6] = DATA + 0x1000 + rng.randrange(-8, 8) + (0x800 if "std" in text else 0)
            m.gpr[7] = m.gpr[6] + rng.choice((-1024, -3, -1, 0, 1, 5, 100, 2048))
            # several chunks count as several instructions: stop at the next snippet's byte instead
            emu.cpu.set_breakpoints([0x2000_0000 + 0x1000 + len(code)])
            after = emu.run_to_stop(code, m)
            emu.cpu.set_breakpoints([])
            assert after is not None
            d = differences(text, m, nat.run(code, m), after)
            if d:
                bad.append(d)
                break
    assert not bad, "\n".join(bad)
