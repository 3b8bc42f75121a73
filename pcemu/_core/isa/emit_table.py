"""Which emitter compiles which handler: by the handler's name, op_<mnemonic>_<forms>_<bits>.

A rule is (class, mnemonics, forms). The class names an emitter in jit.pyx; the rule's number for a mnemonic (its place in
the list, unless given after ``=``) is what the emitter gets as `sub`. A handler without a rule is called.
"""
from __future__ import annotations

import re
from typing import Any

CC = ["o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"]


def _cc(prefix: str) -> str:
    return " ".join(f"{prefix}{cc}={i}" for i, cc in enumerate(CC))


# sub of the arithmetic group is the machine's own: add or adc sbb and sub xor cmp
RULES: list[tuple[str, str, str]] = [
    ("mov", "mov", "rr ri rm mr mi ro or"),
    ("alu", "add=0 or=1 and=4 sub=5 xor=6 cmp=7", "rr ri rm mr mi"),
    ("test", "test", "rr ri rm mr mi"),
    ("adc", "adc=2 sbb=3", "rr ri rm mr mi"),
    ("unary", "inc=0 dec=1 not=2 neg=3", "r m"),
    ("lea", "lea", "rm"),
    ("movx", "movzxb=0 movzxw=1 movsxb=2 movsxw=3 movsxd=4", "rr rm"),
    ("shift", "shl=4 shr=5 sar=7", "ri rc mi mc"),
    ("rotate", "rol=0 ror=1", "ri rc mi mc"),
    ("imul", "imul", "rr rm rri rmi"),
    ("mul", "mul=4 imul1=5", "r m"),
    ("div", "div=6 idiv=7", "r m"),
    ("push", "push", "r i m"),
    ("pop", "pop", "r"),
    ("leave", "leave", ""),
    ("jcc", _cc("j"), "j"),
    ("jmp", "jmp", "j"),
    ("call", "call", "j"),
    ("jmpi", "jmp=0 call=1", "r m"),
    ("ret", "ret=0", ""),
    ("ret", "ret=1", "i"),
    ("setcc", _cc("set"), "r m"),
    ("cmovcc", _cc("cmov"), "rr rm"),
    ("cbw", "cbw", ""),
    ("cwd", "cwd", ""),
    ("bswap", "bswap", "r"),
    ("xchg", "xchg", "rr mr"),
    ("nop", "nope nop90 endbr prefetchnta prefetcht0 prefetcht1 prefetcht2 prefetchw", "* m rr"),
    ("bt", "bt=4 bts=5 btr=6 btc=7", "ri rr mi"),
    ("scan", "bsf=0 bsr=1 tzcnt=2 lzcnt=3 popcnt=4", "rr rm"),
    ("cmpxchg", "cmpxchg", "mr"),
    ("xadd", "xadd", "mr"),
    ("shd", "shld=0 shrd=1", "rri rrc"),
    ("dir", "cld=0 std=1", ""),
]

# Vector instructions, by what their operands are. Attributes: a, a memory operand of 16 bytes must be aligned; w, the destination
# is written whole; 0, with itself as source the old value does not matter; f, floating point (the handler's while an exception
# is unmasked); x, reads XMM0 as well; then log2 of the bytes of a memory operand. The encoding is the row's (Encoding below).
VECTOR: list[tuple[str, str, str, str]] = [
    ("vec", "a4", "rr rm", """paddb paddw paddd paddq paddsb paddsw paddusb paddusw pmullw pmulhw pmulhuw pmuludq pmaddwd psadbw
        pavgb pavgw pminub pmaxub pminsw pmaxsw pand por packsswb packuswb packssdw punpcklbw punpckhbw punpcklwd
        punpckhwd punpckldq punpckhdq punpcklqdq punpckhqdq psllw pslld psllq psrlw psrld psrlq psraw psrad
        psignb psignw psignd pmulhrsw pmaddubsw phaddw phaddd phaddsw phsubw phsubd phsubsw pshufb pmulld pmuldq
        pminsb pmaxsb pminuw pmaxuw pminsd pmaxsd pminud pmaxud packusdw andps andpd orps orpd unpcklps unpckhps
        unpcklpd unpckhpd aesenc aesenclast aesdec aesdeclast"""),
    ("vec", "a04", "rr rm", """pxor xorps xorpd pandn andnps andnpd psubb psubw psubd psubq psubsb psubsw psubusb psubusw
        pcmpeqb pcmpeqw pcmpeqd pcmpeqq pcmpgtb pcmpgtw pcmpgtd pcmpgtq"""),
    ("vec", "aw4", "rr rm", "movaps movapd movdqa movntdqa pabsb pabsw pabsd phminposuw movsldup movshdup aesimc"),
    ("vec", "w4", "rr rm", "movups movupd movdqu lddqu"),
    ("vec", "ax4", "rr rm", "pblendvb blendvps blendvpd"),
    ("vec", "aw4", "rri rmi", "pshufd pshuflw pshufhw aeskeygenassist"),
    ("vec", "a4", "rri rmi", "shufps shufpd pblendw blendps blendpd palignr mpsadbw pclmulqdq"),
    ("vec", "4", "ri", "psllw pslld psllq psrlw psrld psrlq psraw psrad pslldq psrldq"),
    ("vec", "w3", "rr rm", "pmovsxbw pmovsxwd pmovsxdq pmovzxbw pmovzxwd pmovzxdq movddup movq"),
    ("vec", "w2", "rr rm", "pmovsxbd pmovsxwq pmovzxbd pmovzxwq"),
    ("vec", "w1", "rr rm", "pmovsxbq pmovzxbq"),
    ("vec", "4", "rr", "movss movsd movhlps movlhps"),
    ("vec", "w2", "rm", "movss"),
    ("vec", "w3", "rm", "movsd"),
    ("vec", "3", "rm", "movlps movhps movlpd movhpd"),
    ("vec", "2", "rri rmi", "insertps"),
    ("vec", "af4", "rr rm", """addps addpd subps subpd mulps mulpd divps divpd minps minpd maxps maxpd
        addsubps addsubpd haddps haddpd hsubps hsubpd"""),
    ("vec", "f2", "rr rm", "addss subss mulss divss minss maxss sqrtss cvtss2sd"),
    ("vec", "f3", "rr rm", "addsd subsd mulsd divsd minsd maxsd sqrtsd cvtsd2ss"),
    ("vec", "afw4", "rr rm", "sqrtps sqrtpd cvtdq2ps cvtps2dq cvttps2dq cvtpd2ps cvtpd2dq cvttpd2dq"),
    ("vec", "fw3", "rr rm", "cvtps2pd cvtdq2pd"),
    ("vec", "af4", "rri rmi", "cmpps cmppd dpps dppd"),
    ("vec", "f2", "rri rmi", "cmpss roundss"),
    ("vec", "f3", "rri rmi", "cmpsd roundsd"),
    ("vec", "afw4", "rri rmi", "roundps roundpd"),
    ("vst", "a4", "mr", "movaps movapd movdqa movntps movntpd movntdq"),
    ("vst", "4", "mr", "movups movupd movdqu"),
    ("vst", "3", "mr", "movsd movq movlps movlpd movhps movhpd"),
    ("vst", "2", "mr", "movss"),
    ("vst", "s", "mr", "movdr"),
    ("vst", "0", "mri", "pextrb"),
    ("vst", "1", "mri", "pextrw"),
    ("vst", "s", "mri", "pextrdq"),
    ("vst", "2", "mri", "extractps"),
    ("vtog", "4", "rr", "movmskps movmskpd pmovmskb movdr"),
    ("vtog", "4", "rri", "pextrb pextrw pextrdq extractps"),
    ("vtog", "f2", "rr rm", "cvtss2si cvttss2si"),
    ("vtog", "f3", "rr rm", "cvtsd2si cvttsd2si"),
    ("gtov", "ws", "rr rm", "movd"),
    ("gtov", "fs", "rr rm", "cvtsi2ss cvtsi2sd"),
    ("gtov", "0", "rri rmi", "pinsrb"),
    ("gtov", "1", "rri rmi", "pinsrw"),
    ("gtov", "s", "rri rmi", "pinsrdq"),
    ("vflags", "f2", "rr rm", "comiss ucomiss"),
    ("vflags", "f3", "rr rm", "comisd ucomisd"),
    ("vflags", "a4", "rr rm", "ptest"),
]
HOST = ["any", "pni", "ssse3", "sse4_1", "sse4_2", "aes", "pclmulqdq"]     # what compiled code may need of the host
V_BITS = {"a": 8, "w": 16, "0": 32, "f": 64, "x": 128}      # on top of log2 of the bytes (7: the size in the handler's name)

CLASSES = ["none", *dict.fromkeys(r[0] for r in [*RULES, *VECTOR])]
FORMS = ["", "rr", "ri", "rm", "mr", "mi", "r", "m", "i", "j", "rc", "mc", "rri", "rmi", "rrc", "mri", "mrc", "rrr", "rrm", "rmr",
         "qq", "qm", "mq", "qi", "qr", "rq", "t", "tt", "ro", "or"]


def _rules() -> dict[tuple[str, str], tuple[int, int]]:
    out = {}
    for cls, mnemonics, forms in RULES:
        for n, word in enumerate(mnemonics.split()):
            name, _, sub = word.partition("=")
            for form in [""] if not forms else ["" if f == "*" else f for f in forms.split()]:
                out[name, form] = (CLASSES.index(cls), int(sub) if sub else n)
    for cls, attributes, forms, mnemonics in VECTOR:
        bits = sum(V_BITS[a] for a in attributes[:-1]) | (7 if attributes[-1] == "s" else int(attributes[-1]))
        for name in mnemonics.split():
            for form in forms.split():
                out[name, form] = (CLASSES.index(cls), bits)
    return out


def classify(handler: str, rules: dict[tuple[str, str], tuple[int, int]]) -> tuple[int, int, int, int]:
    """(class, sub, form, log2 of the size in bytes) of a handler."""
    m = re.fullmatch(r"op_([a-z0-9]+?)(?:_([a-z]+))?(?:_(8|16|32|64))?", handler)
    if not m:
        return 0, 0, 0, 0
    name, form, bits = m[1], m[2] or "", m[3]
    size = {"8": 0, "16": 1, "32": 2, "64": 3}.get(bits or "", 4)
    cls, sub = rules.get((name, form), (0, 0))
    return cls, sub, FORMS.index(form) if form in FORMS else 0, size


def encoding(row: Any) -> tuple[int, int, int, int, int]:
    """(prefix as in VEX, map, opcode, ModRM, extension) of a row. ModRM: the digit of /digit, and ENC_SWAP: the first operand is
    in ModRM.rm. The extension is one that the host may lack."""
    swap = 16 if row.operands and row.operands[0][0] in "EWQUN" else 0
    return row.prefix or 0, row.map & 3, row.opcode, (row.reg or 0) | swap, HOST.index(row.feat) if row.feat in HOST else 0


def generate(handlers: list[str], rows: list[Any]) -> str:
    """The text of gen/emit.h; handlers in the table's order (number 1 first)."""
    rules = _rules()
    out = ["/* Generated by isa/gen.py from emit_table.py. */", "#include <stdint.h>"]
    out += [f"#define E_{c.upper()} {i}" for i, c in enumerate(CLASSES)]
    out += [f"#define FORM_{f.upper() or 'NONE'} {i}" for i, f in enumerate(FORMS)]
    out.append("typedef struct { uint8_t cls, sub, form, size; } EmitRow;")
    out.append("static const EmitRow emit_rows[] = {{0, 0, 0, 4},")
    out += [f" {{{', '.join(map(str, classify(h, rules)))}}}, /* {h} */" for h in handlers]
    out.append("};")
    out += [f"#define V_{name} {V_BITS[a]}" for a, name in zip("aw0fx", ("ALIGNED", "WHOLE", "SELF", "FP", "XMM0"), strict=True)]
    out.append("enum { ENC_SWAP = 16 };")
    out += [f"#define HOST_{h.upper()} {i}" for i, h in enumerate(HOST)]
    out.append("typedef struct { uint8_t prefix, map, opcode, modrm, host; } Encoding;")
    out.append("static const Encoding encodings[] = {{0, 0, 0, 0, 0},")
    out += [f" {{{', '.join(map(str, encoding(r)))}}}, /* {r.name} */" for r in rows]
    out.append("};")
    return "\n".join(out) + "\n"
