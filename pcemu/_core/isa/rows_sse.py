"""SSE to SSE4.2, AES-NI and PCLMULQDQ rows (SDM vol. 2). MMX rows: rows_mmx.py.

Memory operands narrower than the register, and those that need no alignment, are the handler's business.
"""

# packed integers `66 0F op`: V,W
_INT2 = (
    "60 PUNPCKLBW 61 PUNPCKLWD 62 PUNPCKLDQ 63 PACKSSWB 64 PCMPGTB 65 PCMPGTW 66 PCMPGTD 67 PACKUSWB 68 PUNPCKHBW "
    "69 PUNPCKHWD 6A PUNPCKHDQ 6B PACKSSDW 6C PUNPCKLQDQ 6D PUNPCKHQDQ 6F MOVDQA 74 PCMPEQB 75 PCMPEQW 76 PCMPEQD "
    "D1 PSRLW D2 PSRLD D3 PSRLQ D4 PADDQ D5 PMULLW D8 PSUBUSB D9 PSUBUSW DA PMINUB DB PAND DC PADDUSB DD PADDUSW "
    "DE PMAXUB DF PANDN E0 PAVGB E1 PSRAW E2 PSRAD E3 PAVGW E4 PMULHUW E5 PMULHW E8 PSUBSB E9 PSUBSW EA PMINSW EB POR "
    "EC PADDSB ED PADDSW EE PMAXSW EF PXOR F1 PSLLW F2 PSLLD F3 PSLLQ F4 PMULUDQ F5 PMADDWD F6 PSADBW F8 PSUBB "
    "F9 PSUBW FA PSUBD FB PSUBQ FC PADDB FD PADDW FE PADDD")
# `66 0F 38 op`: V,W
_MAP2 = {
    "ssse3": "00 PSHUFB 01 PHADDW 02 PHADDD 03 PHADDSW 04 PMADDUBSW 05 PHSUBW 06 PHSUBD 07 PHSUBSW 08 PSIGNB 09 PSIGNW "
             "0A PSIGND 0B PMULHRSW 1C PABSB 1D PABSW 1E PABSD",
    "sse4_1": "10 PBLENDVB 14 BLENDVPS 15 BLENDVPD 20 PMOVSXBW 21 PMOVSXBD 22 PMOVSXBQ 23 PMOVSXWD 24 PMOVSXWQ "
              "25 PMOVSXDQ 28 PMULDQ 29 PCMPEQQ 2B PACKUSDW 30 PMOVZXBW 31 PMOVZXBD 32 PMOVZXBQ 33 PMOVZXWD 34 PMOVZXWQ "
              "35 PMOVZXDQ 38 PMINSB 39 PMINSD 3A PMINUW 3B PMINUD 3C PMAXSB 3D PMAXSD 3E PMAXUW 3F PMAXUD 40 PMULLD "
              "41 PHMINPOSUW",
    "sse4_2": "37 PCMPGTQ",
    "aes": "DB AESIMC DC AESENC DD AESENCLAST DE AESDEC DF AESDECLAST",
}
# `66 0F 3A op`: V,W,Ib
_MAP3 = {
    "ssse3": "0F PALIGNR",
    "sse4_1": "08 ROUNDPS 09 ROUNDPD 0A ROUNDSS 0B ROUNDSD 0C BLENDPS 0D BLENDPD 0E PBLENDW 40 DPPS 41 DPPD 42 MPSADBW",
    "aes": "DF AESKEYGENASSIST",
    "pclmulqdq": "44 PCLMULQDQ",
}
# `0F op` with the four prefixes NP 66 F3 F2 for PS PD SS SD: V,W
_ARITH = "51 SQRT 58 ADD 59 MUL 5C SUB 5D MIN 5E DIV 5F MAX"
# ... with two
_PACKED = "14 UNPCKL 15 UNPCKH 54 AND 55 ANDN 56 OR 57 XOR"
# prefix and opcode -> name: V,W
_SINGLES = {
    "sse": "NP12r MOVHLPS NP16r MOVLHPS NP52 RSQRTPS F352 RSQRTSS NP53 RCPPS F353 RCPSS NP28 MOVAPS NP10 MOVUPS F310 MOVSS",
    "sse2": "6628 MOVAPD 6610 MOVUPD F210 MOVSD F36F MOVDQU F37E MOVQ NP5A CVTPS2PD 665A CVTPD2PS F35A CVTSS2SD "
            "F25A CVTSD2SS NP5B CVTDQ2PS 665B CVTPS2DQ F35B CVTTPS2DQ 66E6 CVTTPD2DQ F3E6 CVTDQ2PD F2E6 CVTPD2DQ",
    "pni": "F312 MOVSLDUP F316 MOVSHDUP F212 MOVDDUP 667C HADDPD F27C HADDPS 667D HSUBPD F27D HSUBPS 66D0 ADDSUBPD "
           "F2D0 ADDSUBPS F2F0m LDDQU",
}
_STORES = {         # W,V
    "sse": "NP29 MOVAPS NP11 MOVUPS F311 MOVSS NP13m MOVLPS NP17m MOVHPS NP2Bm MOVNTPS",
    "sse2": "6629 MOVAPD 6611 MOVUPD F211 MOVSD 6613m MOVLPD 6617m MOVHPD 662Bm MOVNTPD 667F MOVDQA F37F MOVDQU "
            "66D6 MOVQ 66E7m MOVNTDQ",
}
_HALVES = {         # V,M
    "sse": "NP12m MOVLPS NP16m MOVHPS", "sse2": "6612m MOVLPD 6616m MOVHPD",
}


def _pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def _opcode(code: str) -> str:
    return f"{code[:2]} 0F {code[2:4]} {code[4:]}"


def _rows() -> str:
    out = [f"66 0F {opc} | {name} Vdq,Wdq | feat=sse2 sse" for opc, name in _pairs(_INT2)]
    out += [f"66 0F 38 {o} | {n} Vdq,Wdq | feat={f} sse" for f, text in _MAP2.items() for o, n in _pairs(text)]
    out += [f"66 0F 3A {o} | {n} Vdq,Wdq,Ib | feat={f} sse" for f, text in _MAP3.items() for o, n in _pairs(text)]
    for opc, name in _pairs(_ARITH):
        for pfx, suffix, feat in (("NP", "PS", "sse"), ("66", "PD", "sse2"), ("F3", "SS", "sse"), ("F2", "SD", "sse2")):
            out.append(f"{pfx} 0F {opc} | {name}{suffix} V{suffix.lower()},W{suffix.lower()} | feat={feat} sse")
            if name == "SQRT":
                out.append(f"{pfx} 0F C2 | CMP{suffix} V{suffix.lower()},W{suffix.lower()},Ib | feat={feat} sse")
    for opc, name in _pairs(_PACKED):
        out.append(f"NP 0F {opc} | {name}PS Vps,Wps | feat=sse sse")
        out.append(f"66 0F {opc} | {name}PD Vpd,Wpd | feat=sse2 sse")
    for table, operands in ((_SINGLES, "Vx,Wx"), (_STORES, "Wx,Vx"), (_HALVES, "Vx,Mx")):
        out += [f"{_opcode(o)} | {n} {operands} | feat={f} sse" for f, text in table.items() for o, n in _pairs(text)]
    for opc, letter, kinds in (("71", "W", "246"), ("72", "D", "246"), ("73", "Q", "26")):
        for reg in kinds:
            name = {"2": "PSRL", "4": "PSRA", "6": "PSLL"}[reg] + letter
            out.append(f"66 0F {opc} /{reg} r | {name} Udq,Ib | feat=sse2 sse")
    for n, opc in (("E", "60 61"), ("I", "62 63")):
        for o, kind in zip(opc.split(), "MI", strict=True):
            out.append(f"66 0F 3A {o} | PCMP{n}STR{kind} Vdq,Wdq,Ib | feat=sse4_2 sse f=:oszapc")
    return "\n".join(out)


# MOVDR is MOVD and MOVQ out of a vector register: the register form would share its name with the way in.
# Element moves: `Ed` stands for a 32-bit register or the element in memory.
ROWS = _rows() + """
66 0F 73 /3 r | PSRLDQ Udq,Ib       | feat=sse2 sse
66 0F 73 /7 r | PSLLDQ Udq,Ib       | feat=sse2 sse
66 0F 70     | PSHUFD Vdq,Wdq,Ib    | feat=sse2 sse
F3 0F 70     | PSHUFHW Vdq,Wdq,Ib   | feat=sse2 sse
F2 0F 70     | PSHUFLW Vdq,Wdq,Ib   | feat=sse2 sse
NP 0F C6     | SHUFPS Vps,Wps,Ib    | feat=sse sse
66 0F C6     | SHUFPD Vpd,Wpd,Ib    | feat=sse2 sse
NP 0F 2E     | UCOMISS Vss,Wss      | feat=sse sse f=:oszapc
66 0F 2E     | UCOMISD Vsd,Wsd      | feat=sse2 sse f=:oszapc
NP 0F 2F     | COMISS Vss,Wss       | feat=sse sse f=:oszapc
66 0F 2F     | COMISD Vsd,Wsd       | feat=sse2 sse f=:oszapc
66 0F 38 17  | PTEST Vdq,Wdq        | feat=sse4_1 sse f=:oszapc
F3 0F 2A     | CVTSI2SS Vss,Ey      | feat=sse sse
F2 0F 2A     | CVTSI2SD Vsd,Ey      | feat=sse2 sse
F3 0F 2C     | CVTTSS2SI Gy,Wss     | feat=sse sse
F2 0F 2C     | CVTTSD2SI Gy,Wsd     | feat=sse2 sse
F3 0F 2D     | CVTSS2SI Gy,Wss      | feat=sse sse
F2 0F 2D     | CVTSD2SI Gy,Wsd      | feat=sse2 sse
66 0F 6E     | MOVD Vdq,Ey          | feat=sse2 sse
66 0F 7E     | MOVDR Ey,Vdq         | feat=sse2 sse
NP 0F 50     | MOVMSKPS Gd,Ups      | feat=sse sse
66 0F 50     | MOVMSKPD Gd,Upd      | feat=sse2 sse
66 0F D7     | PMOVMSKB Gd,Udq      | feat=sse2 sse
66 0F C4     | PINSRW Vdq,Ed,Ib     | feat=sse2 sse
66 0F C5     | PEXTRW Gd,Udq,Ib     | feat=sse2 sse
66 0F 3A 14  | PEXTRB Ed,Vdq,Ib     | feat=sse4_1 sse
66 0F 3A 15  | PEXTRW Ed,Vdq,Ib     | feat=sse4_1 sse
66 0F 3A 16  | PEXTRDQ Ey,Vdq,Ib    | feat=sse4_1 sse
66 0F 3A 17  | EXTRACTPS Ed,Vdq,Ib  | feat=sse4_1 sse
66 0F 3A 20  | PINSRB Vdq,Ed,Ib     | feat=sse4_1 sse
66 0F 3A 21  | INSERTPS Vdq,Wd,Ib   | feat=sse4_1 sse
66 0F 3A 22  | PINSRDQ Vdq,Ey,Ib    | feat=sse4_1 sse
66 0F 38 2A m | MOVNTDQA Vdq,Mdq    | feat=sse4_1 sse
66 0F F7     | MASKMOVDQU Vdq,Udq   | feat=sse2 sse
NP 0F AE /2 m | LDMXCSR Md          | feat=sse sse end
NP 0F AE /3 m | STMXCSR Md          | feat=sse sse
NP 0F C3     | MOVNTI My,Gy         | feat=sse2
0F 18        | NOPE Ev              |
0F 18 /0 m   | PREFETCHNTA Mb       | feat=sse
0F 18 /1 m   | PREFETCHT0 Mb        | feat=sse
0F 18 /2 m   | PREFETCHT1 Mb        | feat=sse
0F 18 /3 m   | PREFETCHT2 Mb        | feat=sse
0F 0D m      | PREFETCHW Mb         |
"""
