"""MOVS CMPS STOS LODS SCAS INS OUTS: single and repeated, both directions, every address size, and faults in the middle."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import Case, Fault, Value, regname
from ..layout import MODES, PORTS, le
from .arithmetic import modes

SIZES = (8, 16, 32, 64)
SRC, DST = 0x80, 0x40           # rsi and rdi begin at data + these
V = 0xF1E2D3C4B5A69788
PAGED = ("vm86", "pm32", "compat", "long64")


def code(op: int, n: int) -> str:
    return f"{op + (n > 8):02X}"


def step(n: int, count: int = 1) -> str:
    return f"{count * n // 8:+}"


def put(values: list[int], at: int, n: int) -> dict[str, bytes]:
    return {f"data + {at:#x}": b"".join(le(v, n // 8) for v in values)}


def singles(n: int) -> Iterator[Case]:
    w = n // 8
    mask = (1 << n) - 1
    v, u = V & mask, 0x1122334455667788 & mask
    for d in "dD":
        move = -w if d == "D" else w
        si: dict[str, Value] = {"rsi": f"data + {SRC} + {move}"}
        di: dict[str, Value] = {"rdi": f"data + {DST} + {move}"}
        common = {"modes": modes(n), "size": n, "flags": d}
        yield Case("movs", f"= {code(0xA4, n)}", mem=put([v], SRC, n), omem=put([v], SRC, n) | put([v], DST, n), out=si | di, **common)
        yield Case("stos", f"= {code(0xAA, n)}", regs={regname("a", n): v}, omem=put([v], DST, n), out=di, **common)
        yield Case("lods", f"= {code(0xAC, n)}", mem=put([v], SRC, n), omem=put([v], SRC, n), out=si | {regname("a", n): v}, **common)
        for x, y in ((v, u), (u, v), (v, v)):
            f = flags.sub(x, y, n)[1]
            both = put([x], SRC, n) | put([y], DST, n)
            yield Case("cmps", f"= {code(0xA6, n)}", mem=both, omem=dict(both), out=si | di, oflags=f, **common)
            yield Case("scas", f"= {code(0xAE, n)}", regs={regname("a", n): x}, mem=put([y], DST, n), omem=put([y], DST, n), out=di,
                       oflags=f, **common)
    # a segment prefix changes the source's segment only; an address-size prefix the registers
    yield Case("movs fs:", f"= {code(0xA4, n)}".replace("= ", ".byte 0x64\n= "), modes(n), n, regs={"rsi": 0x20},
               mem={"fsdata + 0x20": le(v, w)}, omem={"fsdata + 0x20": le(v, w)} | put([v], DST, n),
               out={"rsi": 0x20 + w, "rdi": f"data + {DST} + {w}"}, twins=False)
    for mode in modes(n):
        bits = MODES[mode].bits
        if bits == 64:
            continue                        # the 32-bit registers do not reach data there
        regs: dict[str, Value] = {}
        if bits == 32:
            regs = {"rsi": 0x98761080, "rdi": 0x56781040}
            if mode != "pm32s":
                regs |= {"ds_base": 0x30000, "es_base": 0x30000}
        out: dict[str, Value] = {"rsi": f"data + {SRC} + {w}", "rdi": f"data + {DST} + {w}"}
        if regs:
            out = {"rsi": 0x98761080 + w, "rdi": 0x56781040 + w}
        yield Case("movs with 67", f"= 67 {code(0xA4, n)}", (mode,), n, regs=regs, mem=put([v], SRC, n),
                   omem=put([v], SRC, n) | put([v], DST, n), out=out, twins=False)


def repeats(n: int) -> Iterator[Case]:
    w = n // 8
    mask = (1 << n) - 1
    values = [(V >> 3 * i) & mask for i in range(5)]
    common = {"modes": modes(n), "size": n, "twins": False}
    for d in "dD":
        k = -1 if d == "D" else 1
        first = SRC if d == "d" else SRC + 4 * w
        begin: dict[str, Value] = {"rsi": f"data + {first}", "rdi": f"data + {first} + 0x100", "rcx": 5}
        done: dict[str, Value] = {"rsi": f"data + {first + k * 5 * w}", "rdi": f"data + {first + k * 5 * w} + 0x100", "rcx": 0}
        src = put(values, SRC, n)
        dst = put(values, SRC + 0x100, n)
        yield Case("rep movs", f"= F3 {code(0xA4, n)}", regs=begin, mem=src, omem=src | dst, out=done, flags=d, **common)
        yield Case("rep lods", f"= F3 {code(0xAC, n)}", regs=begin, mem=src, omem=src, flags=d,
                   out={"rsi": done["rsi"], "rcx": 0, regname("a", n): values[4 if d == "d" else 0]}, **common)
        yield Case("rep stos", f"= F3 {code(0xAA, n)}", regs=begin | {regname("a", n): values[1]},
                   omem=put([values[1]] * 5, SRC + 0x100, n), out={"rdi": done["rdi"], "rcx": 0}, flags=d, **common)
        for prefix in ("F3", "F2"):
            yield Case("rep movs, count 0", f"= {prefix} {code(0xA4, n)}", regs=begin | {"rcx": 0}, flags=d, **common)
            yield Case("rep cmps, count 0", f"= {prefix} {code(0xA6, n)}", regs=begin | {"rcx": 0}, flags=d, **common)
    # compare and scan stop at the element that decides
    a, b = values[:5], values[:3] + [values[3] ^ 1] + values[4:]
    both = put(a, SRC, n) | put(b, SRC + 0x100, n)
    begin = {"rsi": f"data + {SRC}", "rdi": f"data + {SRC} + 0x100", "rcx": 5}

    def at(count: int) -> dict[str, Value]:
        return {"rsi": f"data + {SRC + count * w}", "rdi": f"data + {SRC + count * w} + 0x100", "rcx": 5 - count}

    yield Case("repe cmps", f"= F3 {code(0xA6, n)}", regs=begin, mem=both, omem=both, out=at(4), oflags=flags.sub(a[3], b[3], n)[1], **common)
    yield Case("repne cmps", f"= F2 {code(0xA6, n)}", regs=begin, mem=both, omem=both, out=at(1), oflags=flags.sub(a[0], b[0], n)[1], **common)
    same = put(a, SRC, n) | put(a, SRC + 0x100, n)
    yield Case("repe cmps to the end", f"= F3 {code(0xA6, n)}", regs=begin, mem=same, omem=same, out=at(5), oflags=flags.sub(a[4], a[4], n)[1], **common)
    dst = put([7, 7, 7, 5, 7], SRC + 0x100, n)
    for prefix, value, count in (("F3", 7, 4), ("F2", 5, 4), ("F2", 9, 5), ("F3", 1, 1)):
        end = {k: v for k, v in at(count).items() if k != "rsi"}
        last = [7, 7, 7, 5, 7][count - 1]
        yield Case(f"rep scas for {value}", f"= {prefix} {code(0xAE, n)}", regs=begin | {regname("a", n): value}, mem=dst, omem=dst, out=end,
                   oflags=flags.sub(value, last, n)[1], **common)
    # overlapping: each element is read after the one before is written
    run = put([values[0]] + [0] * 4, SRC, n)
    yield Case("rep movs onto the next element", f"= F3 {code(0xA4, n)}", regs={"rsi": f"data + {SRC}", "rdi": f"data + {SRC} + {w}", "rcx": 4},
               mem=run, omem=put([values[0]] * 5, SRC, n), out={"rsi": f"data + {SRC} + {4 * w}", "rdi": f"data + {SRC} + {5 * w}", "rcx": 0}, **common)
    # across a page inside data
    edge = 0x1000 - 2 * w + w // 2
    src, dst = put(values, edge, n), put(values, edge - 0x800, n)
    yield Case("rep movs across a page", f"= F3 {code(0xA4, n)}", regs={"rsi": f"data + {edge}", "rdi": f"data + {edge - 0x800}", "rcx": 5}, mem=src,
               omem=src | dst, out={"rsi": f"data + {edge + 5 * w}", "rdi": f"data + {edge - 0x800 + 5 * w}", "rcx": 0}, **common)
    for mode in modes(n):                       # the count is CX, ECX or RCX
        bits = MODES[mode].bits
        high = {16: 0x1230000, 32: 0, 64: 0}[bits]
        src = put(values[:2], SRC, n)
        yield Case("rep lods, count register", f"= F3 {code(0xAC, n)}", (mode,), n, regs={"rcx": high | 2}, mem=src, omem=src,
                   out={"rcx": high, "rsi": f"data + {SRC + 2 * w}", regname("a", n): values[1]}, twins=False)


def faults(n: int) -> Iterator[Case]:
    w = n // 8
    a = {regname("a", n): 0}
    for op, name, s, d in ((0xA4, "movs", 1, "w"), (0xA6, "cmps", 1, "r"), (0xAA, "stos", 0, "w"), (0xAC, "lods", 1, ""), (0xAE, "scas", 0, "r")):
        for mode in modes(n):
            if mode in PAGED:
                if s:
                    yield Case(f"{name}: source", f"= {code(op, n)}", (mode,), n, regs={"rsi": "hole"}, fault=Fault(14, 4, "hole + database"), twin="pf")
                if d:
                    yield Case(f"{name}: destination", f"= {code(op, n)}", (mode,), n, regs={"rdi": "hole"},
                               fault=Fault(14, 6 if d == "w" else 4, "hole + database"), twin="pf")
            elif mode != "real" or w > 1:
                off = 0xFFFF if mode == "real" else f"0x6000 - {w} + 1"
                if s:
                    yield Case(f"{name}: source", f"= {code(op, n)}", (mode,), n, regs={"rsi": off}, fault=Fault(13), twin="limit")
                if d:
                    yield Case(f"{name}: destination", f"= {code(op, n)}", (mode,), n, regs={"rdi": off}, fault=Fault(13), twin="limit")
            if mode == "long64":
                for r, on in (("rsi", s), ("rdi", d)):
                    if on:
                        yield Case(f"{name}: {r} non-canonical", f"= {code(op, n)}", (mode,), n, regs={r: 1 << 47}, fault=Fault(13), twin="canonical")
            if mode in PAGED and w > 1:
                for r, on in (("rsi", s), ("rdi", d)):
                    if on:
                        yield Case(f"{name}: {r} misaligned", f"= {code(op, n)}", (mode,), n, regs={r: "data + 0x81", "cr0": "cr0 | 0x40000"},
                                   flags="X", fault=Fault(17), twin="ac")
    # a repeated one stops at the element that faults, with the registers there and what is done, done
    edge = 0x2000 - 3 * w
    values = [(V >> 5 * i) & (1 << n) - 1 for i in range(3)]
    for mode in PAGED:
        if mode not in modes(n):
            continue
        src = put(values, SRC, n)
        yield Case("rep movs faults at the fourth", f"= F3 {code(0xA4, n)}", (mode,), n, regs={"rdi": f"data + {edge}", "rcx": 10}, mem=src,
                   omem=src | put(values, edge, n), out={"rcx": 7, "rdi": "hole", "rsi": f"data + {SRC + 3 * w}"}, fault=Fault(14, 6, "hole + database"))
        tail = put(values, edge, n)
        yield Case("rep movs faults reading the fourth", f"= F3 {code(0xA4, n)}", (mode,), n, regs={"rsi": f"data + {edge}", "rcx": 10}, mem=tail,
                   omem=tail | put(values, DST, n), out={"rcx": 7, "rsi": "hole", "rdi": f"data + {DST + 3 * w}"}, fault=Fault(14, 4, "hole + database"))
        yield Case("rep stos faults at the fourth", f"= F3 {code(0xAA, n)}", (mode,), n, regs={"rdi": f"data + {edge}", "rcx": 10} | a,
                   omem=put([0] * 3, edge, n), out={"rcx": 7, "rdi": "hole"}, fault=Fault(14, 6, "hole + database"))
        zero = put([0] * 3, edge, n)
        f = flags.sub(0, 0, n)[1]
        yield Case("repe scas faults at the fourth", f"= F3 {code(0xAE, n)}", (mode,), n, regs={"rdi": f"data + {edge}", "rcx": 10} | a, mem=zero,
                   omem=zero, out={"rcx": 7, "rdi": "hole"}, oflags=f, fault=Fault(14, 4, "hole + database"))
    for mode in ("pm16", "pm32s"):
        if n < 64:
            yield Case("rep lods faults at the limit", f"= F3 {code(0xAC, n)}", (mode,), n, regs={"rsi": 0x6000 - 2 * w, "rcx": 10},
                       mem={"0x36000 - 2 * n // 8": le(0, 2 * w)}, out={"rcx": 8, "rsi": 0x6000, regname("a", n): 0}, fault=Fault(13))


def ports() -> Iterator[Case]:
    """Ports go through the device of layout.PORTS; a port the I/O permission bitmap does not admit is #GP(0)."""
    for n in (8, 16, 32, 64):
        w = min(n, 32) // 8
        data = bytes(0xA2 + i for i in range(w))
        v = int.from_bytes(data, "little")
        common = {"modes": modes(n), "size": n}
        dx = {"rdx": PORTS + 2}
        name = code(0x6C, n), code(0x6E, n)
        yield Case("ins", f"= {name[0]}", regs=dx, omem={f"data + {DST}": data}, out={"rdi": f"data + {DST + w}"}, io=(("r", 2, w, v),), **common)
        out = 0x41424344 & (1 << 8 * w) - 1
        mem = {f"data + {SRC}": le(out, w)}
        yield Case("outs", f"= {name[1]}", regs=dx, mem=mem, omem=mem, out={"rsi": f"data + {SRC + w}"}, io=(("w", 2, w, out),), **common)
        yield Case("rep ins", f"= F3 {name[0]}", regs=dx | {"rcx": 3}, omem={f"data + {DST}": data * 3}, out={"rdi": f"data + {DST + 3 * w}", "rcx": 0},
                   io=(("r", 2, w, v),) * 3, twins=False, **common)
        mem3 = {f"data + {SRC}": b"".join(le(out + i, w) for i in range(3))}
        yield Case("rep outs", f"= F3 {name[1]}", regs=dx | {"rcx": 3}, mem=mem3, omem=mem3, out={"rsi": f"data + {SRC + 3 * w}", "rcx": 0},
                   io=tuple(("w", 2, w, out + i) for i in range(3)), twins=False, **common)
        yield Case("rep outs, count 0", f"= F3 {name[1]}", regs=dx | {"rcx": 0}, io=(), twins=False, **common)
        for mode in PAGED:
            if mode not in modes(n):
                continue
            for what, op, r in (("ins", name[0], "rdi"), ("outs", name[1], "rsi")):
                yield Case(f"{what}, port not admitted", f"= {op}", (mode,), n, regs={"rdx": PORTS + 8}, fault=Fault(13), io=())
                yield Case(f"{what}, port half admitted", f"= {op}", (mode,), n, regs={"rdx": PORTS + 7}, io=() if w > 1 else None,
                           **({"fault": Fault(13)} if w > 1 else {"count": False, "out": {r: f"data + {(DST if r == 'rdi' else SRC) + w}"},
                              "loose": "", "omem": {f"data + {DST}": b"\xa7"} if r == "rdi" else {}}))
                # the device is not touched when memory faults
                yield Case(f"{what}: page fault", f"= {op}", (mode,), n, regs=dx | {r: "hole"}, fault=Fault(14, 6 if r == "rdi" else 4, "hole + database"),
                           io=(), twin="pf")
        for mode in ("real", "pm16"):
            if n < 64 and (w > 1 or mode == "pm16"):
                off = 0xFFFF if mode == "real" else f"0x6000 - {w} + 1"
                yield Case("ins: limit", f"= {name[0]}", (mode,), n, regs=dx | {"rdi": off}, fault=Fault(13), io=(), twin="limit")
                yield Case("outs: limit", f"= {name[1]}", (mode,), n, regs=dx | {"rsi": off}, fault=Fault(13), io=(), twin="limit")


def device_memory() -> Iterator[Case]:
    """Between a port and device memory: each is touched once."""
    at = {"rdx": PORTS, "es": "0xD000", "es_base": 0xD0000, "rdi": 8, "rsi": 8, "ds": "0xD000", "ds_base": 0xD0000}
    yield Case("insb to a device", "nop; insb", ("real",), regs=at, out={"rdi": 9}, io=(("r", 0, 1, 0xA0), ("w", 8, 1, 0xA0)), count=False)
    yield Case("outsw from a device", "nop; outsw", ("real",), regs=at, out={"rsi": 10}, io=(("r", 8, 2, 0xA9A8), ("w", 0, 2, 0xA9A8)), count=False)
    yield Case("rep movsb within a device", "nop; rep movsb", ("real",), regs=at | {"rcx": 2, "rdi": 0x20}, out={"rcx": 0, "rsi": 10, "rdi": 0x22},
               io=(("r", 8, 1, 0xA8), ("w", 0x20, 1, 0xA8), ("r", 9, 1, 0xA9), ("w", 0x21, 1, 0xA9)), count=False)
    yield Case("add to a device", "nop; add [di], dx", ("real",), regs=at, io=(("r", 8, 2, 0xA9A8), ("w", 8, 2, 0xAA88)), oflags="oSzaPc", count=False)


def cases() -> Iterator[Case]:
    yield from device_memory()
    for n in SIZES:
        yield from singles(n)
        yield from repeats(n)
        yield from faults(n)
    yield from ports()
