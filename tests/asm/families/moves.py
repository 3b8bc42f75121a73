"""MOV in all its forms, MOVZX MOVSX MOVSXD, XCHG XADD CMPXCHG CMPXCHG8B/16B, LEA, CBW .. CQO, XLAT, SALC, flag instructions."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import ALL, LEGACY, Case, Fault, regname
from ..layout import MODES, le
from .arithmetic import modes

SIZES = (8, 16, 32, 64)
V = 0xF1E2D3C4B5A69788


def moves() -> Iterator[Case]:
    for n in SIZES:
        v = V & (1 << n) - 1
        common = {"modes": modes(n), "size": n}
        d, b, a = regname("d", n), regname("b", n), regname("a", n)
        yield Case("mov r, r", "mov %d, %b", regs={b: v}, out={d: v}, **common)
        yield Case("mov r, r (other direction)", "{load} mov %d, %b", regs={b: v}, out={d: v}, **common)
        yield Case("mov r, m", "{load} mov %d, %m", m=v, out={d: v}, access="r", **common)
        yield Case("mov m, r", "{store} mov %m, %b", regs={b: v}, om=v, access="w", **common)
        wide = n > 8
        imm = v if n < 64 else 0xFFFFFFFFB5A69788
        kind = f"i{'z' if wide else 'b'}:{imm & (1 << min(n, 32)) - 1}"
        yield Case("mov r, imm (C6/C7)", f"= {0xC6 + wide:02X} /0d {kind}", out={d: imm}, **common)
        yield Case("mov m, imm", f"= {0xC6 + wide:02X} /0m {kind}", om=imm, access="w", **common)
        yield Case("mov r, imm (B0/B8)", f"= {0xB2 + 8 * wide:02X} iv:{v}", out={d: v}, **common)
        # moffs: an offset as wide as the address size
        yield Case("mov acc, moffs", f"= {0xA0 + wide:02X} ia:data+0x40", m=v, out={a: v}, **common)
        yield Case("mov moffs, acc", f"= {0xA2 + wide:02X} ia:data+0x40", regs={a: v}, om=v, **common)
        for off, kind, err in (("hole", "pf", 4), ("sup", "pf-user", 5)):
            for code, w in ((0xA0, 0), (0xA2, 2)):
                for mode in ("vm86", "pm32", "compat", "long64"):
                    if mode in modes(n):
                        yield Case(f"moffs {off}", f"= {code + wide:02X} ia:{off}", (mode,), n, fault=Fault(14, err | w, f"{off} + database"),
                                   twin=kind)
        for code in (0xA0, 0xA2):
            for mode, off in (("real", 0xFFFF), ("pm16", "0x6000-n//8+1")):
                if n < 64 and (n > 8 or mode == "pm16"):
                    yield Case("moffs limit", f"= {code + wide:02X} ia:{off}", (mode,), n, fault=Fault(13), twin="limit")
        if n == 64:
            yield Case("movabs", "movabs rdx, 0x123456789abcdef0", ("long64",), out={"rdx": 0x123456789ABCDEF0})
            yield Case("mov r32 clears the upper half", "mov edx, ebx", ("long64",), regs={"rbx": V}, out={"rdx": V & 0xFFFFFFFF})
            yield Case("mov r9d, imm", "mov r9d, 0x80000001", ("long64",), out={"r9": 0x80000001})
    for mode in LEGACY:         # an address-size prefix changes the width of the offset
        if mode != "vm86":
            yield Case("moffs with 67", ".byte 0x67\n= A1 " + ("id" if mode in ("real", "pm16") else "iw") + ":0x1040", (mode,), 32,
                       regs={} if mode in ("real", "pm16", "pm32s") else {"ds_base": 0x30000}, m=None,
                       mem={"data+0x40": le(V, 4)}, out={"eax": V & 0xFFFFFFFF}, twins=False)


def extensions() -> Iterator[Case]:
    for n in (16, 32, 64):
        for src in (8, 16):
            for i, v in enumerate((0x80 if src == 8 else 0x8001, 0x7F, 0xFF)):
                reg = {8: "bl", 16: "bx"}[src]
                for op, r in (("movzx", v), ("movsx", flags.signed(v, src) & (1 << n) - 1)):
                    code = {("movzx", 8): "B6", ("movzx", 16): "B7", ("movsx", 8): "BE", ("movsx", 16): "BF"}[op, src]
                    common = {"modes": modes(n), "size": n, "out": {regname("d", n): r}, "twins": i == 0}
                    yield Case(f"{op} r{n}, r{src}", f"= 0F {code} /2b", regs={reg: v}, **common)
                    yield Case(f"{op} r{n}, m{src}", f"= 0F {code} /2m", m=v, msize=src // 8, access="r", **common)
    yield Case("movzx edx, bh", "movzx edx, bh", regs={"rbx": 0x1234}, out={"edx": 0x12})
    for n in (16, 32, 64):
        v = 0x80000001
        r = {16: 1, 32: v, 64: flags.signed(v, 32)}[n]
        yield Case(f"movsxd r{n}", "= 63 /2b", ("long64",), n, regs={"rbx": v}, out={regname("d", n): r})
        yield Case(f"movsxd r{n}, m", "= 63 /2m", ("long64",), n, m=v, msize=4, out={regname("d", n): r}, access="r")


def exchanges() -> Iterator[Case]:
    for n in SIZES:
        mask = (1 << n) - 1
        x, y = V & mask, 0x1122334455667701 & mask
        d, b, a = regname("d", n), regname("b", n), regname("a", n)
        common = {"modes": modes(n), "size": n}
        yield Case("xchg r, r", f"= {0x86 + (n > 8):02X} /3d", regs={d: x, b: y}, out={d: y, b: x}, **common)
        yield Case("xchg m, r", "xchg %m, %b", regs={b: y}, m=x, om=y, out={b: x}, access="rw", lock=True, **common)
        if n > 8:
            yield Case("xchg acc, r", "= 91", regs={a: x, regname("c", n): y}, out={a: y, regname("c", n): x}, **common)
            yield Case("nop", "= 90", modes(n), n)
        total, f = flags.add(x, y, n)
        yield Case("xadd r, r", "xadd %d, %b", regs={d: x, b: y}, out={b: x} | {d: total}, oflags=f, feat="i486", **common)
        yield Case("xadd m, r", "xadd %m, %b", regs={b: y}, m=x, om=total, out={b: x}, oflags=f, access="rw", lock=True, feat="i486", **common)
        yield Case("xadd same register", "xadd %d, %d", regs={d: x}, out={d: 2 * x & mask}, oflags=flags.add(x, x, n)[1], twins=False, **common)
        for acc, dst, src in ((x, x, y), (y, x, 3)):
            equal = acc == dst
            _, f = flags.sub(acc, dst, n)
            name = "cmpxchg " + ("equal" if equal else "unequal")
            regs = {a: acc, b: src}
            yield Case(name, "cmpxchg %d, %b", regs=regs | {d: dst}, out={d: src} if equal else {a: dst}, oflags=f, feat="i486", **common)
            yield Case(name, "cmpxchg %m, %b", regs=regs, m=dst, om=src if equal else None, out={} if equal else {a: dst}, oflags=f,
                       access="rw", lock=True, feat="i486", **common)
    yield Case("xchg eax, eax by 90 leaves the upper half", "= 90", ("long64",), 32, regs={"rax": V}, count=False)
    yield Case("xchg r8d, eax", "xchg r8d, eax", ("long64",), regs={"r8": V, "rax": 5}, out={"r8": 5, "eax": V & 0xFFFFFFFF})
    for n, op, feat in ((64, "cmpxchg8b", "cx8"), (128, "cmpxchg16b", "cx16")):
        half = n // 2
        old = 0x0123456789ABCDEFFEDCBA9876543210 & (1 << n) - 1
        new = 0x1111111122222222AAAAAAAABBBBBBBB & (1 << n) - 1
        hi, lo = (("edx", "eax"), ("ecx", "ebx")) if n == 64 else (("rdx", "rax"), ("rcx", "rbx"))
        where = ALL if n == 64 else ("long64",)
        for acc in (old, old + 1):
            equal = acc == old
            regs = {hi[0]: acc >> half, hi[1]: acc & (1 << half) - 1, lo[0]: new >> half, lo[1]: new & (1 << half) - 1}
            yield Case(f"{op} {'equal' if equal else 'unequal'}", f"{op} [%DI]", where, 64 if n == 128 else 0, n // 8, regs=regs, m=old,
                       om=new if equal else None, out={} if equal else {hi[0]: old >> half, hi[1]: old & (1 << half) - 1},
                       oflags="Z" if equal else "z", access="rw", lock=True, feat=feat, align=16 if n == 128 else 0)


def addresses() -> Iterator[Case]:
    """LEA through every addressing form (SDM vol. 2, tables 2-1 to 2-3); LEA of a register is #UD."""
    r16 = {"bx": 0x1234, "bp": 0x8001, "si": 0x9000, "di": 0x0FF0}
    for text, parts in (("bx+si", ("bx", "si")), ("bx+di", ("bx", "di")), ("bp+si", ("bp", "si")), ("bp+di", ("bp", "di")), ("si", ("si",)),
                        ("di", ("di",)), ("bx", ("bx",)), ("bp", ("bp",))):
        for disp in (0, 5, -3, 0x7FFF):
            ea = sum(r16[p] for p in parts) + disp & 0xFFFF
            for n in (16, 32):
                yield Case(f"lea [{text}{disp:+}]", f"lea %c, [{text}{disp:+}]", LEGACY, n, regs=dict(r16), out={regname("c", n): ea})
    yield Case("lea [disp16]", "lea %c, [0x9876]", ("real", "vm86", "pm16"), 32, out={"ecx": 0x9876})
    regs = {"rax": 0x80000010, "rcx": 0x3, "rdx": 0xFFFFFFF0, "rbx": 0x12345678, "rbp": 0x100, "rsi": 0x7FFFFFFF, "rdi": 0x20000000}
    names = ["rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi"]
    for n in (16, 32, 64):
        for i, base in enumerate(names):
            index = names[(i + 3) % 7]
            for scale, disp in ((1, 0), (2, 0x7F), (4, -0x80), (8, 0x12345678)):
                ea = regs[base] + regs[index] * scale + disp
                e = {32: "e" + base[1:], 64: base}
                x = {32: "e" + index[1:], 64: index}
                yield Case(f"lea [{base}+{index}*{scale}{disp:+}], 32-bit address", f"lea %d, [{e[32]}+{x[32]}*{scale}{disp:+}]", modes(n), n,
                           regs=dict(regs), out={regname("d", n): ea & 0xFFFFFFFF & (1 << n) - 1})
                yield Case(f"lea [{base}+{index}*{scale}{disp:+}]", f"lea %d, [{base}+{index}*{scale}{disp:+}]", ("long64",), n,
                           regs=dict(regs), out={regname("d", n): ea & (1 << n) - 1})
            yield Case(f"lea [{base}]", f"lea %d, [{'e' + base[1:]}]", modes(n), n, regs=dict(regs), out={regname("d", n): regs[base] & (1 << n) - 1})
        yield Case("lea [disp32]", "lea %d, ds:[0x12345678]", [m for m in modes(n) if MODES[m].bits > 16], n,
                   out={regname("d", n): 0x12345678 & (1 << n) - 1})
        yield Case("lea [esp]", "lea %d, [esp+4]", modes(n), n, out={regname("d", n): "stack + 4 & mask"})
        yield Case("lea r12, r13", "lea %d, [r13+r12*8]", ("long64",), n, regs={"r13": 5, "r12": 0x1000000000000001},
                   out={regname("d", n): (0x8000000000000008 + 5) & (1 << n) - 1})
        yield Case("lea rip-relative", "lea %d, [rip+0x1000]", ("long64",), n, out={regname("d", n): "end + 0x1000 & mask"})
        yield Case("lea eip-relative", "lea %d, [eip-0x1000]", ("long64",), n, out={regname("d", n): "end - 0x1000 & mask"})
        yield Case("lea of a register", "= 8D /2b", modes(n), n, fault=Fault(6), count=False)
    # the same forms as operands, by a load
    for text, off in (("bx+si", 4), ("bp+di+2", 6), ("si-4", 0), ("bx", 0)):
        yield Case(f"mov al, ds:[{text}]", f"mov al, ds:[{text}]", ("real", "vm86", "pm16", "pm32s"),
                   regs={"bx": "data", "si": 4, "bp": "data", "di": 4} | ({"si": "data + 4"} if text == "si-4" else {}),
                   mem={f"data+{off}": b"\x5a"}, out={"al": 0x5A}, twins=False)
    for seg, base in (("fs", "fsdata"), ("gs", "gsdata")):
        for n in (8, 16, 32, 64):
            yield Case(f"mov {seg}:", f"mov %a, {seg}:[%DI]", modes(n), n, regs={"rdi": 0x10}, mem={f"{base}+0x10": le(V, 8)},
                       out={regname("a", n): V & (1 << n) - 1}, twins=False)
    yield Case("rip-relative load", "mov eax, [rip+1f]; hlt\n1: .long 0x13579bdf", ("long64",), out={"eax": 0x13579BDF}, end="end - 5", twins=False)


def conversions() -> Iterator[Case]:
    for i, v in enumerate((0x8000000080008080, 0x7F7F7F7F7F7F7F7F)):
        for n in (16, 32, 64):
            half = flags.signed(v, n // 2) & (1 << n) - 1
            sign = (1 << n) - 1 if v >> (n - 1) & 1 else 0
            low = {"modes": modes(n), "size": n, "twins": i == 0}
            yield Case("cbw/cwde/cdqe", "= 98", regs={regname("a", n): v & (1 << n) - 1}, out={regname("a", n): half}, **low)
            yield Case("cwd/cdq/cqo", "= 99", regs={regname("a", n): v & (1 << n) - 1}, out={regname("d", n): sign}, **low)
    yield Case("xlat", "xlatb", regs={"rbx": "data + 0x20", "al": 0x33}, mem={"data+0x53": b"\x99"}, out={"al": 0x99})
    yield Case("xlat fs:", "fs xlatb", regs={"rbx": 0x20, "al": 0x33}, mem={"fsdata+0x53": b"\x98"}, out={"al": 0x98}, twins=False)
    for mode, err in (("vm86", 4), ("pm32", 4), ("compat", 4), ("long64", 4)):
        yield Case("xlat fault", "xlatb", (mode,), regs={"rbx": "hole - 0x33", "al": 0x33}, fault=Fault(14, err, "hole + database"), twin="pf")
    yield Case("xlat limit", "xlatb", ("pm16", "pm32s"), regs={"rbx": 0x6000 - 0x32, "al": 0x33}, fault=Fault(13), twin="limit")
    for carry in (0, 1):
        yield Case("salc", ".byte 0xD6", LEGACY, flags="C" if carry else "c", out={"al": 0xFF * carry})
    for op, before, after in (("cmc", "C", "c"), ("cmc", "c", "C"), ("clc", "C", "c"), ("stc", "c", "C"), ("cld", "D", "d"), ("std", "d", "D")):
        yield Case(f"{op} from {before}", op, flags=before, oflags=after)
    for f, v in (("SZAPC", 0xD5), ("szapc", 0), ("SzApC", 0x91)):
        for where, feat in ((LEGACY, ""), (("long64",), "sahf64")):
            yield Case("sahf", "sahf", where, regs={"ah": v | 0x2A}, oflags=f, feat=feat)
            yield Case("lahf", "lahf", where, flags=f, out={"ah": v | 2}, feat=feat)
    yield Case("lahf without lahf_lm", "lahf", ("long64",), cpu="max,-lahf-lm", fault=Fault(6), count=False)


def cases() -> Iterator[Case]:
    yield from moves()
    yield from extensions()
    yield from exchanges()
    yield from addresses()
    yield from conversions()
