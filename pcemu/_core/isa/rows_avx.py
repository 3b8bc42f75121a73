"""AVX, AVX2, FMA and F16C rows (SDM vol. 2). The VEX forms of SSE instructions are made from rows_sse.py's tables.

`avx` is the rule of all of them: XCR0 must admit YMM state. `lig`: VEX.L is ignored; `avx2_l1`: the 256-bit form came with
AVX2; `legacy`: what the instruction of the same name without V does is all there is to do (no vector register is written,
no operand must be aligned), so its handler runs.
"""
import runpy
from pathlib import Path

_SSE = runpy.run_path(str(Path(__file__).with_name("rows_sse.py")))
_pairs = _SSE["_pairs"]

_TWO = ["PABSB", "PABSW", "PABSD", "PHMINPOSUW", "AESIMC"]            # V,W: no first source
_OWN = ["MOVDQA", "PBLENDVB", "BLENDVPS", "BLENDVPD"]              # listed below
_ONLY_128 = ["PHMINPOSUW", "DPPD", "AESKEYGENASSIST", "PCLMULQDQ"]
# `VEX 66 0F 3A op` with a 256-bit form before AVX2
_AVX_MAP3 = ["ROUNDPS", "ROUNDPD", "BLENDPS", "BLENDPD", "DPPS"]

# prefix and opcode: V,W
_UNARY = (
    "NP28 VMOVAPS 6628 VMOVAPD NP10 VMOVUPS 6610 VMOVUPD 666F VMOVDQA F36F VMOVDQU NP52 VRSQRTPS NP53 VRCPPS "
    "NP51 VSQRTPS 6651 VSQRTPD NP5A VCVTPS2PD 665A VCVTPD2PS NP5B VCVTDQ2PS 665B VCVTPS2DQ F35B VCVTTPS2DQ "
    "66E6 VCVTTPD2DQ F3E6 VCVTDQ2PD F2E6 VCVTPD2DQ F312 VMOVSLDUP F316 VMOVSHDUP F212 VMOVDDUP"
)
_STORES = (
    "NP29 VMOVAPS 6629 VMOVAPD NP11 VMOVUPS 6611 VMOVUPD 667F VMOVDQA F37F VMOVDQU NP2Bm VMOVNTPS 662Bm "
    "VMOVNTPD 66E7m VMOVNTDQ"
)
# V,H,W
_BINARY = (
    "NP58 VADDPS 6658 VADDPD NP59 VMULPS 6659 VMULPD NP5C VSUBPS 665C VSUBPD NP5D VMINPS 665D VMINPD NP5E "
    "VDIVPS 665E VDIVPD NP5F VMAXPS 665F VMAXPD 667C VHADDPD F27C VHADDPS 667D VHSUBPD F27D VHSUBPS 66D0 "
    "VADDSUBPD F2D0 VADDSUBPS"
)
_SCALAR = (
    "F358 VADDSS F258 VADDSD F359 VMULSS F259 VMULSD F35C VSUBSS F25C VSUBSD F35D VMINSS F25D VMINSD F35E "
    "VDIVSS F25E VDIVSD F35F VMAXSS F25F VMAXSD F351 VSQRTSS F251 VSQRTSD F352 VRSQRTSS F353 VRCPSS F35A "
    "VCVTSS2SD F25A VCVTSD2SS"
)
# AVX2: V,H,W with VEX.W picking the element
_BY_W = "45 VPSRLVD 45 VPSRLVQ 46 VPSRAVD - - 47 VPSLLVD 47 VPSLLVQ"
# opcode's low digit: name, packed or scalar
_FMA = "6 VFMADDSUB P 7 VFMSUBADD P 8 VFMADD P 9 VFMADD S A VFMSUB P B VFMSUB S C VFNMADD P D VFNMADD S E VFNMSUB P F VFNMSUB S"


def _line(opcode: str, name: str, operands: str, attrs: str, feat: str = "avx") -> str:
    return f"VEX {opcode} | {name} {operands} | feat={feat} avx {attrs}"


def _from_sse() -> list[str]:
    out = []
    for opc, n in _pairs(_SSE["_INT2"]):
        if n not in _OWN:
            out.append(_line(f"66 0F {opc}", "V" + n, "Vx,Hx,Wx", "avx2_l1"))
    for feat, text in _SSE["_MAP2"].items():
        for opc, n in _pairs(text):
            if n in _OWN:
                continue
            short = feat == "aes" or n in _ONLY_128
            operands = "Vx,Wx" if n in _TWO or n.startswith("PMOV") else "Vx,Hx,Wx"
            rule = "vex_l0" if short else "avx2_l1"
            out.append(_line(f"66 0F 38 {opc}", "V" + n, operands, rule, "aes" if feat == "aes" else "avx"))
    for feat, text in _SSE["_MAP3"].items():
        for opc, n in _pairs(text):
            scalar = n in ("ROUNDSS", "ROUNDSD")
            operands = "Vx,Wx,Ib" if n in ("ROUNDPS", "ROUNDPD", "AESKEYGENASSIST") else "Vx,Hx,Wx,Ib"
            rule = "lig" if scalar else "vex_l0" if n in _ONLY_128 else "" if n in _AVX_MAP3 else "avx2_l1"
            out.append(_line(f"66 0F 3A {opc}", "V" + n, operands, rule, feat if feat in ("aes", "pclmulqdq") else "avx"))
    for opc, n in _pairs(_SSE["_PACKED"]):
        out += [_line(f"NP 0F {opc}", f"V{n}PS", "Vx,Hx,Wx", ""), _line(f"66 0F {opc}", f"V{n}PD", "Vx,Hx,Wx", "")]
    for n, opc in (("E", "60 61"), ("I", "62 63")):
        for o, kind in zip(opc.split(), "MI", strict=True):
            rule = "vex_l0 f=:oszapc" + (" legacy" if kind == "I" else "")
            out.append(_line(f"66 0F 3A {o}", f"VPCMP{n}STR{kind}", "Vdq,Wdq,Ib", rule))
    for opc, letter, kinds in (("71", "W", "246"), ("72", "D", "246"), ("73", "Q", "2367")):
        for reg in kinds:
            name = {"2": "PSRL", "3": "PSRL", "4": "PSRA", "6": "PSLL", "7": "PSLL"}[reg] + ("DQ" if reg in "37" else letter)
            out.append(_line(f"66 0F {opc} /{reg} r", "V" + name, "Hx,Ux,Ib", "avx2_l1"))
    return out


def _tables() -> list[str]:
    out = []
    for table, operands, rule in ((_UNARY, "Vx,Wx", ""), (_BINARY, "Vx,Hx,Wx", ""), (_SCALAR, "Vx,Hx,Wx", "lig")):
        for opc, n in _pairs(table):
            out.append(_line(f"{opc[:2]} 0F {opc[2:]}", n, operands, rule))
    for opc, n in _pairs(_STORES):
        out.append(_line(f"{opc[:2]} 0F {opc[2:4]} {opc[4:]}", n, "Mx,Vx" if opc[4:] else "Wx,Vx", ""))
    for pre, suffix in zip(("NP", "66", "F3", "F2"), ("PS", "PD", "SS", "SD"), strict=True):
        out.append(_line(f"{pre} 0F C2", "VCMP" + suffix, "Vx,Hx,Wx,Ib", "lig" if suffix[0] == "S" else ""))
    for w, (opc, n) in enumerate(_pairs(_BY_W)):
        if n != "-":
            out.append(_line(f"66 0F 38 {opc}", n, "Vx,Hx,Wx", f"vex_w{w & 1}", "avx2"))
    for order, high in (("132", "9"), ("213", "A"), ("231", "B")):
        words = _FMA.split()
        for low, n, kind in zip(words[::3], words[1::3], words[2::3], strict=True):
            for w, width in enumerate("SD"):
                out.append(_line(f"66 0F 38 {high}{low}", n + order + kind + width, "Vx,Hx,Wx",
                                 f"vex_w{w} {'lig' if kind == 'S' else ''}", "fma"))
    for opc, index in (("90", "D"), ("91", "Q")):
        for w, width in enumerate("DQ"):
            out.append(_line(f"66 0F 38 {opc} m", f"VPGATHER{index}{width}", "Vx,Mx,Hx", f"vsib vex_w{w}", "avx2"))
            out.append(_line(f"66 0F 38 {int(opc) + 2} m", f"VGATHER{index}P{'SD'[w]}", "Vx,Mx,Hx", f"vsib vex_w{w}", "avx2"))
    return out


# VMOVDR, VPINSRDQ, VPEXTRDQ: as in rows_sse.py. VZERO is VZEROUPPER, with VEX.L VZEROALL.
ROWS = "\n".join(_from_sse() + _tables()) + """
VEX NP 0F 77       | VZERO                | feat=avx avx
VEX NP 0F C6       | VSHUFPS Vx,Hx,Wx,Ib  | feat=avx avx
VEX 66 0F C6       | VSHUFPD Vx,Hx,Wx,Ib  | feat=avx avx
VEX 66 0F 70       | VPSHUFD Vx,Wx,Ib     | feat=avx avx avx2_l1
VEX F3 0F 70       | VPSHUFHW Vx,Wx,Ib    | feat=avx avx avx2_l1
VEX F2 0F 70       | VPSHUFLW Vx,Wx,Ib    | feat=avx avx avx2_l1
VEX F3 0F 10 r     | VMOVSS Vss,Hss,Uss   | feat=avx avx lig
VEX F2 0F 10 r     | VMOVSD Vsd,Hsd,Usd   | feat=avx avx lig
VEX F3 0F 10 m     | VMOVSS Vss,Mss       | feat=avx avx lig
VEX F2 0F 10 m     | VMOVSD Vsd,Msd       | feat=avx avx lig
VEX F3 0F 11 r     | VMOVSS Uss,Hss,Vss   | feat=avx avx lig
VEX F2 0F 11 r     | VMOVSD Usd,Hsd,Vsd   | feat=avx avx lig
VEX F3 0F 11 m     | VMOVSS Mss,Vss       | feat=avx avx lig legacy
VEX F2 0F 11 m     | VMOVSD Msd,Vsd       | feat=avx avx lig legacy
VEX NP 0F 12 r     | VMOVHLPS Vq,Hq,Uq    | feat=avx avx vex_l0
VEX NP 0F 16 r     | VMOVLHPS Vq,Hq,Uq    | feat=avx avx vex_l0
VEX NP 0F 12 m     | VMOVLPS Vq,Hq,Mq     | feat=avx avx vex_l0
VEX NP 0F 16 m     | VMOVHPS Vq,Hq,Mq     | feat=avx avx vex_l0
VEX 66 0F 12 m     | VMOVLPD Vq,Hq,Mq     | feat=avx avx vex_l0
VEX 66 0F 16 m     | VMOVHPD Vq,Hq,Mq     | feat=avx avx vex_l0
VEX NP 0F 13 m     | VMOVLPS Mq,Vq        | feat=avx avx vex_l0 legacy
VEX NP 0F 17 m     | VMOVHPS Mq,Vq        | feat=avx avx vex_l0 legacy
VEX 66 0F 13 m     | VMOVLPD Mq,Vq        | feat=avx avx vex_l0 legacy
VEX 66 0F 17 m     | VMOVHPD Mq,Vq        | feat=avx avx vex_l0 legacy
VEX 66 0F 6E       | VMOVD Vdq,Ey         | feat=avx avx vex_l0
VEX 66 0F 7E       | VMOVDR Ey,Vdq        | feat=avx avx vex_l0 legacy
VEX F3 0F 7E       | VMOVQ Vq,Wq          | feat=avx avx vex_l0
VEX 66 0F D6 m     | VMOVQ Mq,Vq          | feat=avx avx vex_l0 legacy
VEX 66 0F D6 r     | VMOVQ Uq,Vq          | feat=avx avx vex_l0
VEX F2 0F F0 m     | VLDDQU Vx,Mx         | feat=avx avx
VEX 66 0F 38 2A m  | VMOVNTDQA Vx,Mx      | feat=avx avx avx2_l1
VEX NP 0F 50       | VMOVMSKPS Gd,Ux      | feat=avx avx
VEX 66 0F 50       | VMOVMSKPD Gd,Ux      | feat=avx avx
VEX 66 0F D7       | VPMOVMSKB Gd,Ux      | feat=avx avx avx2_l1
VEX 66 0F C4       | VPINSRW Vdq,Hdq,Ed,Ib | feat=avx avx vex_l0
VEX 66 0F 3A 20    | VPINSRB Vdq,Hdq,Ed,Ib | feat=avx avx vex_l0
VEX 66 0F 3A 22    | VPINSRDQ Vdq,Hdq,Ey,Ib | feat=avx avx vex_l0
VEX 66 0F 3A 21    | VINSERTPS Vdq,Hdq,Wd,Ib | feat=avx avx vex_l0
VEX 66 0F C5       | VPEXTRW Gd,Udq,Ib    | feat=avx avx vex_l0 legacy
VEX 66 0F 3A 14    | VPEXTRB Ed,Vdq,Ib    | feat=avx avx vex_l0 legacy
VEX 66 0F 3A 15    | VPEXTRW Ed,Vdq,Ib    | feat=avx avx vex_l0 legacy
VEX 66 0F 3A 16    | VPEXTRDQ Ey,Vdq,Ib   | feat=avx avx vex_l0 legacy
VEX 66 0F 3A 17    | VEXTRACTPS Ed,Vdq,Ib | feat=avx avx vex_l0 legacy
VEX 66 0F F7       | VMASKMOVDQU Vdq,Udq  | feat=avx avx vex_l0 legacy
VEX NP 0F AE /2 m  | VLDMXCSR Md          | feat=avx avx vex_l0 legacy end
VEX NP 0F AE /3 m  | VSTMXCSR Md          | feat=avx avx vex_l0 legacy
VEX NP 0F 2E       | VUCOMISS Vss,Wss     | feat=avx avx lig legacy f=:oszapc
VEX 66 0F 2E       | VUCOMISD Vsd,Wsd     | feat=avx avx lig legacy f=:oszapc
VEX NP 0F 2F       | VCOMISS Vss,Wss      | feat=avx avx lig legacy f=:oszapc
VEX 66 0F 2F       | VCOMISD Vsd,Wsd      | feat=avx avx lig legacy f=:oszapc
VEX F3 0F 2A       | VCVTSI2SS Vss,Hss,Ey | feat=avx avx lig
VEX F2 0F 2A       | VCVTSI2SD Vsd,Hsd,Ey | feat=avx avx lig
VEX F3 0F 2C       | VCVTTSS2SI Gy,Wss    | feat=avx avx lig legacy
VEX F2 0F 2C       | VCVTTSD2SI Gy,Wsd    | feat=avx avx lig legacy
VEX F3 0F 2D       | VCVTSS2SI Gy,Wss     | feat=avx avx lig legacy
VEX F2 0F 2D       | VCVTSD2SI Gy,Wsd     | feat=avx avx lig legacy
VEX 66 0F 38 17    | VPTEST Vx,Wx         | feat=avx avx f=:oszapc
VEX 66 0F 38 0E    | VTESTPS Vx,Wx        | feat=avx avx vex_w0 f=:oszapc
VEX 66 0F 38 0F    | VTESTPD Vx,Wx        | feat=avx avx vex_w0 f=:oszapc
VEX 66 0F 38 0C    | VPERMILPS Vx,Hx,Wx   | feat=avx avx vex_w0
VEX 66 0F 38 0D    | VPERMILPD Vx,Hx,Wx   | feat=avx avx vex_w0
VEX 66 0F 3A 04    | VPERMILPS Vx,Wx,Ib   | feat=avx avx vex_w0
VEX 66 0F 3A 05    | VPERMILPD Vx,Wx,Ib   | feat=avx avx vex_w0
VEX 66 0F 38 18 m  | VBROADCASTSS Vx,Md   | feat=avx avx vex_w0
VEX 66 0F 38 18 r  | VBROADCASTSS Vx,Udq  | feat=avx2 avx vex_w0
VEX 66 0F 38 19 m  | VBROADCASTSD Vx,Mq   | feat=avx avx vex_w0 vex_l1
VEX 66 0F 38 19 r  | VBROADCASTSD Vx,Udq  | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 38 1A m  | VBROADCASTF128 Vx,Mdq | feat=avx avx vex_w0 vex_l1
VEX 66 0F 38 5A m  | VBROADCASTI128 Vx,Mdq | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 38 78    | VPBROADCASTB Vx,Wb   | feat=avx2 avx vex_w0
VEX 66 0F 38 79    | VPBROADCASTW Vx,Ww   | feat=avx2 avx vex_w0
VEX 66 0F 38 58    | VPBROADCASTD Vx,Wd   | feat=avx2 avx vex_w0
VEX 66 0F 38 59    | VPBROADCASTQ Vx,Wq   | feat=avx2 avx vex_w0
VEX 66 0F 3A 06    | VPERM2F128 Vx,Hx,Wx,Ib | feat=avx avx vex_w0 vex_l1
VEX 66 0F 3A 46    | VPERM2I128 Vx,Hx,Wx,Ib | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 3A 18    | VINSERTF128 Vx,Hx,Wdq,Ib | feat=avx avx vex_w0 vex_l1
VEX 66 0F 3A 38    | VINSERTI128 Vx,Hx,Wdq,Ib | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 3A 19    | VEXTRACTF128 Wdq,Vx,Ib | feat=avx avx vex_w0 vex_l1
VEX 66 0F 3A 39    | VEXTRACTI128 Wdq,Vx,Ib | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 38 16    | VPERMPS Vx,Hx,Wx     | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 38 36    | VPERMD Vx,Hx,Wx      | feat=avx2 avx vex_w0 vex_l1
VEX 66 0F 3A 00    | VPERMQ Vx,Wx,Ib      | feat=avx2 avx vex_w1 vex_l1
VEX 66 0F 3A 01    | VPERMPD Vx,Wx,Ib     | feat=avx2 avx vex_w1 vex_l1
VEX 66 0F 3A 02    | VPBLENDD Vx,Hx,Wx,Ib | feat=avx2 avx vex_w0
VEX 66 0F 3A 4A    | VBLENDVPS Vx,Hx,Wx,Lx | feat=avx avx vex_w0
VEX 66 0F 3A 4B    | VBLENDVPD Vx,Hx,Wx,Lx | feat=avx avx vex_w0
VEX 66 0F 3A 4C    | VPBLENDVB Vx,Hx,Wx,Lx | feat=avx avx vex_w0 avx2_l1
VEX 66 0F 38 2C m  | VMASKMOVPS Vx,Hx,Mx  | feat=avx avx vex_w0
VEX 66 0F 38 2D m  | VMASKMOVPD Vx,Hx,Mx  | feat=avx avx vex_w0
VEX 66 0F 38 2E m  | VMASKMOVPS Mx,Hx,Vx  | feat=avx avx vex_w0
VEX 66 0F 38 2F m  | VMASKMOVPD Mx,Hx,Vx  | feat=avx avx vex_w0
VEX 66 0F 38 8C m  | VPMASKMOVD Vx,Hx,Mx  | feat=avx2 avx vex_w0
VEX 66 0F 38 8C m  | VPMASKMOVQ Vx,Hx,Mx  | feat=avx2 avx vex_w1
VEX 66 0F 38 8E m  | VPMASKMOVD Mx,Hx,Vx  | feat=avx2 avx vex_w0
VEX 66 0F 38 8E m  | VPMASKMOVQ Mx,Hx,Vx  | feat=avx2 avx vex_w1
VEX 66 0F 38 13    | VCVTPH2PS Vx,Wx      | feat=f16c avx vex_w0
VEX 66 0F 3A 1D    | VCVTPS2PH Wx,Vx,Ib   | feat=f16c avx vex_w0
"""
