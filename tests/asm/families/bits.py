"""BT BTS BTR BTC, BSF BSR, POPCNT TZCNT LZCNT, BMI1 and BMI2, ADCX ADOX, BSWAP, MOVBE, CRC32."""
from __future__ import annotations

from collections.abc import Iterator

from .. import flags
from ..case import ALL, PROTECTED, Case, regname
from ..layout import MODES, le
from .arithmetic import modes

WIDE = (16, 32, 64)


def bit_tests() -> Iterator[Case]:
    for n in WIDE:
        a = 0x96C3A5F00F5A3C69 & (1 << n) - 1
        for digit, op in enumerate(("bt", "bts", "btr", "btc"), 4):
            writes = op != "bt"
            for i, bit in enumerate((3, 0, n - 1, n + 5, 2 * n + 4)):
                at = 1 << bit % n
                r = {"bt": a, "bts": a | at, "btr": a & ~at, "btc": a ^ at}[op]
                common = {"modes": modes(n), "size": n, "oflags": flags.word(c=a & at != 0), "undef": "osap", "twins": i == 0}
                dst = {regname("d", n): r} if writes else {}
                acc = {"access": "rw" if writes else "r", "lock": writes}
                yield Case(f"{op} bit {bit}", f"{op} %d, %b", regs={regname("d", n): a, regname("b", n): bit}, out=dst, **common)
                yield Case(f"{op} imm {bit}", f"= 0F BA /{digit}d ib:{bit}", regs={regname("d", n): a}, out=dst, **common)
                yield Case(f"{op} imm {bit}", f"= 0F BA /{digit}m ib:{bit}", m=a, om=r if writes else None, **acc, **common)
                if bit < n:
                    yield Case(f"{op} m, bit {bit}", f"{op} %m, %b", regs={regname("b", n): bit}, m=a, om=r if writes else None,
                               **acc, **common)
            # a register's bit offset is signed and reaches beyond the operand: by whole operands
            for bit in (-1, -n, n, 5 * n + 2, -3 * n + 1):
                word = bit // n
                at = 1 << bit % n
                r = {"bt": a, "bts": a | at, "btr": a & ~at, "btc": a ^ at}[op]
                where = f"data + 0x40 + {word * n // 8}"
                yield Case(f"{op} far bit {bit}", f"{op} %m, %b", modes(n), n, regs={regname("b", n): bit}, mem={where: le(a, n // 8)},
                           omem={where: le(r, n // 8)} if writes else {}, oflags=flags.word(c=a & at != 0), undef="osap", twins=False)


def counts() -> Iterator[Case]:
    for n in WIDE:
        mask = (1 << n) - 1
        for i, a in enumerate((0x0F10, 0, 1, 1 << (n - 1), mask, 0x00FF00FF00FF0000 & mask)):
            low = (a & -a).bit_length() - 1
            ones = bin(a).count("1")
            old = regname("d", n)
            forms: list[tuple[str, int | None, str, str, str]] = [
                ("bsf", low if a else None, flags.word(z=a == 0), "osapc", ""),
                ("bsr", a.bit_length() - 1 if a else None, flags.word(z=a == 0), "osapc", ""),
                ("tzcnt", low if a else n, flags.word(z=bool(a & 1), c=a == 0), "osap", "bmi1"),
                ("lzcnt", n - a.bit_length(), flags.word(z=a >> (n - 1) & 1, c=a == 0), "osap", "abm"),
                ("popcnt", ones, flags.word(z=a == 0) + "oscap".replace("z", ""), "", "popcnt"),
            ]
            for op, r, f, und, feat in forms:
                # without BMI1 and LZCNT the prefix is ignored: the feature's absence is tested below
                common = {"modes": modes(n), "size": n, "oflags": f, "undef": und, "feat": "" if feat in ("bmi1", "abm") else feat,
                          "twins": i == 0, "out": {} if r is None else {old: r}}
                if r is None:
                    common["loose"] = "rdx"         # undefined
                yield Case(f"{op} {a:#x}", f"{op} %d, %b", regs={regname("b", n): a}, **common)
                yield Case(f"{op} {a:#x}", f"{op} %d, %m", m=a, access="r", **common)
    for new, old, without in (("tzcnt", 4, "bmi1"), ("lzcnt", 27, "abm")):
        yield Case(f"{new} without {without}: the prefix is ignored", f"{new} %d, %b", ALL, 32, regs={"ebx": 0x08000010}, out={"edx": old},
                   oflags="z", undef="osapc", without=without, twins=False)


def bmi(n: int) -> Iterator[Case]:
    """BMI1, BMI2 and ADX: 32 and 64 bits; VEX-encoded ones not in real and virtual-8086 mode."""
    mask = (1 << n) - 1
    where = [m for m in PROTECTED if n != 64 or MODES[m].bits == 64]

    def pdep(src: int, sel: int) -> int:
        r = k = 0
        for i in range(n):
            if sel >> i & 1:
                r |= (src >> k & 1) << i
                k += 1
        return r

    def pext(src: int, sel: int) -> int:
        r = k = 0
        for i in range(n):
            if sel >> i & 1:
                r |= (src >> i & 1) << k
                k += 1
        return r

    def signed_shift(v: int, k: int) -> int:
        return flags.signed(v, n) >> k & mask

    for i, (a, b) in enumerate(((0x96C3A5F00F5A3C69 & mask, 0x0F0F00FF12345678 & mask), (mask, 0x0805), (0, 1), (1 << (n - 1), 0x1F04),
                                (0x123456789ABCDEF0 & mask, 0x40), (5, n))):
        start, length = b & 0xFF, b >> 8 & 0xFF
        ext = (a >> start) & ((1 << length) - 1)
        index = b & 0xFF
        low = a & (1 << index) - 1 if index < n else a
        k = b & (n - 1)

        def logic(r: int, carry: object, **more: int) -> str:
            return flags.word(z=r == 0, s=r >> (n - 1), o=0, c=bool(carry))

        # name, operands (d: destination, b: register or memory, c: the other), result, flags, undefined, feature
        table = [
            ("andn", "%d, %c, {}", ~b & a & mask, logic(~b & a & mask, 0), "ap", "bmi1"),
            ("bextr", "%d, {}, %c", ext, flags.word(z=ext == 0, o=0, c=0), "sap", "bmi1"),
            ("blsr", "%d, {}", a & a - 1, logic(a & a - 1, a == 0), "ap", "bmi1"),
            ("blsmsk", "%d, {}", (a ^ a - 1) & mask, logic((a ^ a - 1) & mask, a == 0).replace("Z", "z"), "ap", "bmi1"),
            ("blsi", "%d, {}", a & -a & mask, logic(a & -a & mask, a), "ap", "bmi1"),
            ("bzhi", "%d, {}, %c", low, logic(low, index >= n), "ap", "bmi2"),
            ("pdep", "%d, %c, {}", pdep(b, a), "", "", "bmi2"), ("pext", "%d, %c, {}", pext(b, a), "", "", "bmi2"),
            ("shlx", "%d, {}, %c", a << k & mask, "", "", "bmi2"), ("shrx", "%d, {}, %c", a >> k, "", "", "bmi2"),
            ("sarx", "%d, {}, %c", signed_shift(a, k), "", "", "bmi2"),
            ("rorx", "%d, {}, 13", (a >> 13 | a << (n - 13)) & mask, "", "", "bmi2"),
        ]
        common = {"modes": where, "size": n, "twins": i == 0}
        for op, form, r, f, und, feat in table:
            out = {regname("d", n): r}
            yield Case(f"{op} {a:#x}, {b:#x}", f"{op} {form.format('%b')}", regs={regname("b", n): a, regname("c", n): b}, out=out,
                       oflags=f, undef=und, feat=feat, **common)
            yield Case(f"{op} {a:#x}, {b:#x}", f"{op} {form.format('%m')}", regs={regname("c", n): b}, m=a, access="r", out=out,
                       oflags=f, undef=und, feat=feat, **common)
        product = a * b
        out = {regname("c", n): product >> n, regname("a", n): product & mask}
        yield Case(f"mulx {a:#x}, {b:#x}", "mulx %c, %a, %b", regs={regname("d", n): a, regname("b", n): b}, out=out, feat="bmi2", **common)
        yield Case(f"mulx {a:#x}, {b:#x}", "mulx %c, %a, %m", regs={regname("d", n): a}, m=b, access="r", out=out, feat="bmi2", **common)
        for op, flag in (("adcx", "c"), ("adox", "o")):
            for carry in (0, 1):
                total = a + b + carry
                every = {"modes": modes(n), "size": n, "flags": flag.upper() if carry else flag, "feat": "adx", "twins": i == carry == 0,
                         "oflags": flags.word(**{flag: total >> n}), "out": {regname("d", n): total & mask}}
                yield Case(f"{op} {a:#x}, {b:#x}", f"{op} %d, %b", regs={regname("d", n): a, regname("b", n): b}, **every)
                yield Case(f"{op} {a:#x}, {b:#x}", f"{op} %d, %m", regs={regname("d", n): a}, m=b, access="r", **every)


def bmi_rules() -> Iterator[Case]:
    """VEX.L must be 0; LOCK, 66, F2, F3 and REX before VEX are #UD, and VEX itself is in real and virtual-8086 mode."""
    from ..case import Fault
    ud = Fault(6)
    yield Case("andn with VEX.L", ".byte 0xC4,0xE2,0x64,0xF2,0xC8", ("pm16", "pm32", "compat", "long64"), fault=ud, count=False)
    for prefix in ("0x66", "0xF2", "0xF3", "0xF0"):
        yield Case(f"{prefix} andn", f".byte {prefix},0xC4,0xE2,0x60,0xF2,0xC8", ("pm16", "pm32", "compat", "long64"), fault=ud, count=False)
    yield Case("rex andn", ".byte 0x48,0xC4,0xE2,0x60,0xF2,0xC8", ("long64",), fault=ud, count=False)
    for name, code in (("andn", "E2,60,F2"), ("bextr", "E2,60,F7"), ("bzhi", "E2,60,F5"), ("pdep", "E2,63,F5"), ("pext", "E2,62,F5"),
                       ("mulx", "E2,63,F6"), ("shlx", "E2,61,F7"), ("shrx", "E2,63,F7"), ("sarx", "E2,62,F7")):
        bytes_ = ",".join("0x" + x for x in ["C4", *code.split(","), "C8"])
        yield Case(f"{name} in real mode", ".byte " + bytes_, ("real", "vm86"), fault=ud, twin="mode")
    for name, code in (("blsr", "E2,60,F3,C8"), ("blsmsk", "E2,60,F3,D0"), ("blsi", "E2,60,F3,D8"), ("rorx", "E3,7B,F0,C8,04")):
        yield Case(f"{name} in real mode", ".byte " + ",".join("0x" + x for x in ["C4", *code.split(",")]), ("real", "vm86"), fault=ud,
                   twin="mode")


def bytes_and_crc() -> Iterator[Case]:
    for n in (32, 64):
        v = 0x0123456789ABCDEF & (1 << n) - 1
        r = int.from_bytes(le(v, n // 8), "big")
        yield Case("bswap", "bswap %d", modes(n), n, regs={regname("d", n): v}, out={regname("d", n): r}, feat="i486")
    # of a 16-bit register BSWAP makes something undefined; processors clear it
    yield Case("bswap dx", "= 0F CA", ALL, 16, regs={"edx": 0x12345678}, loose="rdx", feat="i486", twin="runs")
    yield Case("bswap r11", "bswap r11", ("long64",), regs={"r11": 0x0102030405060708}, out={"r11": 0x0807060504030201})
    for n in WIDE:
        v = 0xF1E2D3C4B5A69788 & (1 << n) - 1
        r = int.from_bytes(le(v, n // 8), "big")
        yield Case("movbe load", "movbe %d, %m", modes(n), n, m=v, out={regname("d", n): r}, access="r", feat="movbe")
        yield Case("movbe store", "movbe %m, %d", modes(n), n, regs={regname("d", n): v}, om=r, access="w", feat="movbe")

    v = 0xF1E2D3C4B5A69788
    r = int.from_bytes(le(v, 8), "big")
    for code, m, om, out in (("F0", v, None, {"rdx": r}), ("F1", None, r, {})):
        yield Case("movbe with 66 and REX.W", f"= 66 48 0F 38 {code} /2m", ("long64",), 0, 8, regs={"rdx": v} if om else {}, m=m, om=om, out=out)

    def crc(c: int, data: bytes) -> int:
        for byte in data:               # Castagnoli's polynomial, reflected
            c ^= byte
            for _ in range(8):
                c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        return c

    for n in (8, 16, 32, 64):
        v = 0x8899AABBCCDDEEFF & (1 << n) - 1
        for start in (0, 0xFFFFFFFF):
            r = crc(start, le(v, n // 8))
            common = {"modes": modes(n), "size": n, "out": {"rdx": r}, "feat": "sse4.2", "twins": start == 0}
            yield Case(f"crc32 of {n} bits", f"crc32 {'rdx' if n == 64 else 'edx'}, %b", regs={"edx": start, regname("b", n): v}, **common)
            yield Case(f"crc32 of {n} bits", f"crc32 {'rdx' if n == 64 else 'edx'}, %m", regs={"edx": start}, m=v, access="r", **common)
    yield Case("crc32 rdx, m8", "crc32 rdx, byte ptr [rdi]", ("long64",), 8, regs={"rdx": 0}, m=7, out={"rdx": crc(0, b"\x07")})
    yield Case("crc32 rdx, bl", "crc32 rdx, bl", ("long64",), regs={"rdx": 0x1234_5678_0000_0000, "bl": 7}, out={"rdx": crc(0, b"\x07")})


def cases() -> Iterator[Case]:
    yield from bit_tests()
    yield from counts()
    for n in (32, 64):
        yield from bmi(n)
    yield from bmi_rules()
    yield from bytes_and_crc()
