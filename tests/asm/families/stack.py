"""PUSH POP PUSHA POPA ENTER LEAVE, CALL RET JMP near, and what happens where the stack ends."""
from __future__ import annotations

from collections.abc import Iterator

from ..case import ALL, LEGACY, Case, Fault, Value, regname
from ..layout import MODES, le

V = 0xF1E2D3C4B5A69788


def where(n: int) -> tuple[str, ...]:
    """Modes in which a stack operation of n bits exists: 64-bit mode has no 32-bit ones."""
    return tuple(m for m in ALL if (n == 16 or (n == 64) == (MODES[m].bits == 64)))


def near(n: int) -> tuple[str, ...]:
    """Modes in which a near branch of n bits exists."""
    return tuple(m for m in ALL if (n == 64) == (MODES[m].bits == 64))


def dash(n: int) -> str:
    """64 bits are the default: no REX.W."""
    return "- " if n == 64 else ""


def pushes(n: int) -> Iterator[Case]:
    w = n // 8
    mask = (1 << n) - 1
    v = V & mask
    at = f"stack - {w}"
    d = regname("d", n)
    common = {"modes": where(n), "size": n}

    def pushed(name: str, code: str, value: int, **more: object) -> Case:
        return Case(name, code, omem={at: le(value, w)}, out={"rsp": at}, **common, **more)

    yield pushed("push r", f"= {dash(n)}52", v, regs={d: v})
    yield pushed("push r (FF)", f"= {dash(n)}FF /6d", v, regs={d: v})
    yield pushed("push m", f"= {dash(n)}FF /6m", v, m=v, access="r")
    yield pushed("push imm", f"= {dash(n)}68 iz:{0x89ABCDEF & (1 << min(n, 32)) - 1}", (0x89ABCDEF if n < 64 else -0x76543211) & mask)
    yield pushed("push imm8", f"= {dash(n)}6A ib:0x85", -0x7B & mask)
    yield Case("push rsp pushes the old value", f"= {dash(n)}54", omem={at: ("stack & mask", w)}, out={"rsp": at}, **common)
    yield Case("push [rsp+4] reads before", "push %p [esp+4]" if n != 64 else "push %p [rsp+4]", [m for m in where(n) if n == 64 or MODES[m].bits == 32],
               n, mem={"stack+4": le(v, w)}, omem={at: le(v, w), "stack+4": le(v, w)}, out={"rsp": at}, twins=False)
    if n == 64:
        yield Case("push r9, pop r12", "push r9; pop r12", ("long64",), regs={"r9": V}, out={"r12": V}, omem={"stack-8": le(V, 8)})

    up: dict[str, Value] = {"rsp": f"stack + {w}"}
    top = {"stack": le(v, w)}
    yield Case("pop r", f"= {dash(n)}5A", mem=dict(top), omem=dict(top), out={d: v} | up, **common)
    yield Case("pop r (8F)", f"= {dash(n)}8F /0d", mem=dict(top), omem=dict(top), out={d: v} | up, **common)
    yield Case("pop m", f"= {dash(n)}8F /0m", mem=dict(top), omem=dict(top), om=v, out=up, access="w", **common)
    yield Case("pop rsp", f"= {dash(n)}5C", mem={"stack": ("stack - 64 & mask", w)}, omem={"stack": ("stack - 64 & mask", w)},
               out={regname("sp", n): "stack - 64"}, **common)
    if n != 16:
        yield Case("pop [rsp] addresses with the new rsp", "pop %p [esp]" if n != 64 else "pop %p [rsp]", [m for m in where(n) if MODES[m].bits > 16], n,
                   mem=dict(top), omem={"stack": le(v, w), f"stack+{w}": le(v, w)}, out=up, twins=False)
    # at the ends of the stack
    for mode in ("vm86", "pm32", "compat", "long64"):
        if mode not in where(n):
            continue
        low = Fault(14, 6, f"guard - {w} + stackbase")
        for name, code in (("push r", "52"), ("push imm", "6A ib:1"), ("push m", "FF /6m")):
            yield Case(f"{name} below the stack", f"= {dash(n)}{code}", (mode,), n, regs={"rsp": "guard"}, fault=low)
        high = Fault(14, 4, "guard + 0x1000 + stackbase")
        for name, code in (("pop r", "5A"), ("pop m", "8F /0m")):
            yield Case(f"{name} above the stack", f"= {dash(n)}{code}", (mode,), n, regs={"rsp": "guard + 0x1000"}, fault=high)
            yield Case(f"{name} across the end", f"= {dash(n)}{code}", (mode,), n, regs={"rsp": "guard + 0xFFF"}, fault=high)
    for mode in ("real", "pm16", "vm86"):
        if n < 64:
            cpl = None if mode != "pm16" else 3
            yield Case("pop across the limit", f"= {dash(n)}5A", (mode,), n, regs={"rsp": 0xFFFF}, fault=Fault(12), cpl=cpl)
            if mode != "real":
                yield Case("push at 1", f"= {dash(n)}52", (mode,), n, regs={"rsp": 1}, fault=Fault(12), cpl=cpl)
    for mode in ("pm32", "compat", "long64"):
        if mode in where(n) and w > 2:
            for name, code in (("push", "52"), ("pop", "5A"), ("call", "FF /2d"), ("ret", "C3")):
                yield Case(f"{name}, misaligned stack", f"= {dash(n)}{code}", (mode,), n, regs={"rsp": "stack + 2", "cr0": "cr0 | 0x40000", d: "code"},
                           flags="X", fault=Fault(17))
    if n == 64:
        for text in ("mov rax, [rsp]", "mov [rsp+8], rax", "add [rbp], eax", "movups xmm1, [rsp+rax*2]"):
            yield Case(f"{text}: #SS", text, ("long64",), 64, regs={"rsp": 1 << 47, "rbp": 1 << 47, "rax": 0}, fault=Fault(12))
            yield Case(f"{text}: across the canonical end", text, ("long64",), 64, regs={"rsp": (1 << 47) - 1, "rbp": (1 << 47) - 1, "rax": 0},
                       fault=Fault(12))
            yield Case(f"fs: {text}: #GP", text.replace("[", "fs:["), ("long64",), 64, regs={"rsp": 1 << 47, "rbp": 1 << 47, "rax": 0}, fault=Fault(13))
        yield Case("mov across the canonical end", "mov [rbx], rax", ("long64",), 64, regs={"rbx": (1 << 47) - 1}, fault=Fault(13))
        yield Case("push, non-canonical rsp", "= - 52", ("long64",), 64, regs={"rsp": (1 << 47) + 4}, fault=Fault(12))
        yield Case("pop, non-canonical rsp", "= - 5A", ("long64",), 64, regs={"rsp": 1 << 47}, fault=Fault(12))


def all_registers(n: int) -> Iterator[Case]:
    w = n // 8
    order = ["a", "c", "d", "b", "sp", "bp", "si", "di"]
    regs: dict[str, Value] = {regname(r, n): 0x01010101 * (i + 1) & (1 << n) - 1 for i, r in enumerate(order) if r != "sp"}
    image: dict[str, tuple[Value, int]] = {f"stack - {w * (i + 1)}": ("stack & mask", w) if r == "sp" else (regs[regname(r, n)], w)
                                           for i, r in enumerate(order)}
    full = {"rbp": 0, "rsi": 0, "rdi": 0}
    yield Case("pusha", "= 60", LEGACY, n, regs=full | regs, omem=dict(image), out={"rsp": f"stack - {8 * w}"})
    shifted = {k.replace("stack -", f"stack + {8 * w} -"): v for k, v in image.items()}
    yield Case("popa", "= 61", LEGACY, n, regs=full, mem=dict(shifted), omem=dict(shifted), out=regs | {"rsp": f"stack + {8 * w}"})
    # not one register or byte changes when it does not fit
    for mode in ("vm86", "pm32", "compat"):
        yield Case("pusha below the stack", "= 60", (mode,), n, regs={"rsp": f"guard + {3 * w}"}, fault=Fault(14, 6, f"guard - {w} + stackbase"),
                   loose="cr2")
        yield Case("popa above the stack", "= 61", (mode,), n, regs={"rsp": f"guard + 0x1000 - {3 * w}"},
                   fault=Fault(14, 4, "guard + 0x1000 + stackbase"))
    yield Case("pusha at 7", "= 60", ("pm16",), n, regs={"rsp": 7}, fault=Fault(12), cpl=3)


def frames(n: int) -> Iterator[Case]:
    w = n // 8
    bp = regname("bp", n)

    def image(*words: Value) -> dict[str, tuple[Value, int]]:
        return {f"stack - {w * (i + 1)}": (v, w) for i, v in enumerate(words)}

    common = {"modes": where(n), "size": n}
    frame = f"stack - {w} & mask"
    yield Case("enter 16, 0", "= " + dash(n) + "C8 iw:16 ib:0", omem=image("stack + 0x100 & mask"), out={bp: frame, "rsp": f"stack - {w} - 16"}, **common)
    yield Case("enter 8, 1", "= " + dash(n) + "C8 iw:8 ib:1", omem=image("stack + 0x100 & mask", frame), out={bp: frame, "rsp": f"stack - {2 * w} - 8"},
               **common)
    links = {f"stack + 0x100 - {w}": le(0x1111, w), f"stack + 0x100 - {2 * w}": le(0x2222, w)}
    yield Case("enter 0, 3 copies the display", "= " + dash(n) + "C8 iw:0 ib:3", mem=dict(links), omem=links | image("stack + 0x100 & mask", 0x1111, 0x2222, frame),
               out={bp: frame, "rsp": f"stack - {4 * w}"}, **common)
    yield Case("enter: the level is modulo 32", "= " + dash(n) + "C8 iw:0 ib:0x20", omem=image("stack + 0x100 & mask"), out={bp: frame, "rsp": f"stack - {w}"},
               **common)
    yield Case("leave", "= " + dash(n) + "C9", mem={"stack+0x100": le(0x2468, w)}, omem={"stack+0x100": le(0x2468, w)},
               out={bp: 0x2468, "rsp": f"stack + 0x100 + {w}"}, **common)
    for mode in ("vm86", "pm32", "compat", "long64"):
        if mode in where(n):
            yield Case("enter below the stack", "= " + dash(n) + "C8 iw:0 ib:0", (mode,), n, regs={"rsp": "guard"},
                       fault=Fault(14, 6, f"guard - {w} + stackbase"))
            # the last word of the new frame is tried as well
            yield Case("enter, locals below the stack", "= " + dash(n) + "C8 iw:0x1000 ib:0", (mode,), n, fault=Fault(14, 6, f"stack - {w} - 0x1000 + stackbase"))
            yield Case("leave above the stack", "= " + dash(n) + "C9", (mode,), n, regs={"rbp": "guard + 0x1000"},
                       fault=Fault(14, 4, "guard + 0x1000 + stackbase"))


def transfers(n: int) -> Iterator[Case]:
    w = n // 8
    to = "end & 0xFFFF" if n == 16 else "end"
    rel = "id" if n == 64 else "iz"
    common = {"modes": near(n), "size": n}
    a = regname("a", n)
    call = {"omem": {f"stack - {w}": ("end - 1 & mask", w)}, "out": {"rsp": f"stack - {w}"}, "end": to} | common
    yield Case("call rel", f"= {dash(n)}E8 {rel}:1\nhlt", **call)
    yield Case("call r", f"= {dash(n)}FF /2a\nhlt", regs={a: to}, **call)
    yield Case("call m", f"= {dash(n)}FF /2m\nhlt", m=to, access="r", **call)
    jump = {"end": to} | common
    yield Case("jmp rel", f"= {dash(n)}E9 {rel}:1\nhlt", **jump)
    yield Case("jmp rel8", f"= {dash(n)}EB ib:1\nhlt", **jump)
    yield Case("jmp rel8 back", f"= {dash(n)}EB ib:-0x23", mem={"code-0x23+" + ("3" if n == 16 else "2"): b"\xf4", "code-0x23+3": b"\xf4"}, twins=False,
               **(jump | {"modes": [m for m in near(n) if MODES[m].bits == (16 if n == 16 else 32 if n == 32 else 64)], "end": "end - 0x23"}))
    yield Case("jmp r", f"= {dash(n)}FF /4a\nhlt", regs={a: to}, **jump)
    yield Case("jmp m", f"= {dash(n)}FF /4m\nhlt", m=to, access="r", **jump)
    stack = {"mem": {"stack": (to, w)}, "omem": {"stack": (to, w)}}
    yield Case("ret", f"= {dash(n)}C3\nhlt", out={"rsp": f"stack + {w}"}, **stack, **jump)
    yield Case("ret imm", f"= {dash(n)}C2 iw:12\nhlt", out={"rsp": f"stack + {w} + 12"}, **stack, **jump)
    for mode in ("vm86", "pm32", "compat", "long64"):
        if mode not in near(n):
            continue
        low = Fault(14, 6, f"guard - {w} + stackbase")
        yield Case("call rel, no stack", f"= {dash(n)}E8 {rel}:1\nhlt", (mode,), n, regs={"rsp": "guard"}, fault=low)
        yield Case("call r, no stack", f"= {dash(n)}FF /2a\nhlt", (mode,), n, regs={"rsp": "guard", a: to}, fault=low)
        yield Case("call m, no stack", f"= {dash(n)}FF /2m\nhlt", (mode,), n, regs={"rsp": "guard"}, m=to, fault=low)
        high = Fault(14, 4, "guard + 0x1000 + stackbase")
        for code in ("C3", "C2 iw:4"):
            yield Case("ret, no stack", f"= {dash(n)}{code}", (mode,), n, regs={"rsp": "guard + 0x1000"}, fault=high)
    if n == 32:             # beyond the limit: nothing is pushed or popped
        bad = 0x10000
        for name, code, more in (("call rel", "E8 id:0x10000", {}), ("call r", "FF /2a", {"regs": {"eax": bad}}), ("call m", "FF /2m", {"m": bad}),
                                 ("jmp r", "FF /4a", {"regs": {"eax": bad}}), ("jmp m", "FF /4m", {"m": bad}), ("jmp rel", "E9 id:0x10000", {}),
                                 ("ret", "C3", {"mem": {"stack": le(bad, 4)}, "omem": {"stack": le(bad, 4)}})):
            yield Case(f"{name} beyond the limit", f"= {code}", ("real", "pm16", "pm32s"), 32, fault=Fault(13), **more)
    if n == 64:
        bad = 1 << 47
        for name, code, more in (("call r", "FF /2a", {"regs": {"rax": bad}}), ("call m", "FF /2m", {"m": bad}), ("jmp r", "FF /4a", {"regs": {"rax": bad}}),
                                 ("jmp m", "FF /4m", {"m": bad}), ("ret", "C3", {"mem": {"stack": le(bad, 8)}, "omem": {"stack": le(bad, 8)}})):
            yield Case(f"{name} to a non-canonical address", f"= - {code}", ("long64",), 64, fault=Fault(13), **more)


def cases() -> Iterator[Case]:
    for n in (16, 32, 64):
        yield from pushes(n)
        yield from frames(n)
        yield from transfers(n)
        if n < 64:
            yield from all_registers(n)
