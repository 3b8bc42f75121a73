"""MMX rows (SDM vol. 2), the additions of SSE, SSE2 and SSSE3 to it included. Vector rows: rows_sse.py."""

# opcode in map 0F -> mnemonic, `Pq,Qq`; feature where it is not mmx
_MAP1 = {
    "mmx": "60 PUNPCKLBW 61 PUNPCKLWD 62 PUNPCKLDQ 63 PACKSSWB 64 PCMPGTB 65 PCMPGTW 66 PCMPGTD 67 PACKUSWB "
           "68 PUNPCKHBW 69 PUNPCKHWD 6A PUNPCKHDQ 6B PACKSSDW 6F MOVQ 74 PCMPEQB 75 PCMPEQW 76 PCMPEQD "
           "D1 PSRLW D2 PSRLD D3 PSRLQ D5 PMULLW D8 PSUBUSB D9 PSUBUSW DB PAND DC PADDUSB DD PADDUSW DF PANDN "
           "E1 PSRAW E2 PSRAD E5 PMULHW E8 PSUBSB E9 PSUBSW EB POR EC PADDSB ED PADDSW EF PXOR "
           "F1 PSLLW F2 PSLLD F3 PSLLQ F5 PMADDWD F8 PSUBB F9 PSUBW FA PSUBD FC PADDB FD PADDW FE PADDD",
    "sse": "DA PMINUB DE PMAXUB E0 PAVGB E3 PAVGW E4 PMULHUW EA PMINSW EE PMAXSW F6 PSADBW",
    "sse2": "D4 PADDQ F4 PMULUDQ FB PSUBQ",
}
_MAP2 = ("00 PSHUFB 01 PHADDW 02 PHADDD 03 PHADDSW 04 PMADDUBSW 05 PHSUBW 06 PHSUBD 07 PHSUBSW 08 PSIGNB 09 PSIGNW "
         "0A PSIGND 0B PMULHRSW 1C PABSB 1D PABSW 1E PABSD")


def _pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def _rows() -> str:
    out = [f"NP 0F {opc} | {name} Pq,Qq | feat={feat} mmx" for feat, text in _MAP1.items() for opc, name in _pairs(text)]
    out += [f"NP 0F 38 {opc} | {name} Pq,Qq | feat=ssse3 mmx" for opc, name in _pairs(_MAP2)]
    for opc, letter, kinds in (("71", "W", "246"), ("72", "D", "246"), ("73", "Q", "26")):
        for reg in kinds:
            name = {"2": "PSRL", "4": "PSRA", "6": "PSLL"}[reg] + letter
            out.append(f"NP 0F {opc} /{reg} r | {name} Nq,Ib | feat=mmx mmx")
    return "\n".join(out)


ROWS = _rows() + """
NP 0F 6E     | MOVD Pq,Ey           | feat=mmx mmx
NP 0F 7E     | MOVD Ey,Pq           | feat=mmx mmx
NP 0F 7F     | MOVQ Qq,Pq           | feat=mmx mmx
NP 0F 77     | EMMS                 | feat=mmx mmx
NP 0F 70     | PSHUFW Pq,Qq,Ib      | feat=sse mmx
NP 0F C4     | PINSRW Pq,Ed,Ib      | feat=sse mmx      # memory: 16 bits
NP 0F C5     | PEXTRW Gd,Nq,Ib      | feat=sse mmx
NP 0F D7     | PMOVMSKB Gd,Nq       | feat=sse mmx
NP 0F E7     | MOVNTQ Mq,Pq         | feat=sse mmx
NP 0F F7     | MASKMOVQ Pq,Nq       | feat=sse mmx
NP 0F 3A 0F  | PALIGNR Pq,Qq,Ib     | feat=ssse3 mmx
F2 0F D6     | MOVDQ2Q Pq,Udq       | feat=sse2 mmx sse
F3 0F D6     | MOVQ2DQ Vdq,Nq       | feat=sse2 mmx sse
NP 0F 2A     | CVTPI2PS Vps,Qq      | feat=sse mmx sse
66 0F 2A     | CVTPI2PD Vpd,Qq      | feat=sse2 mmx sse
NP 0F 2C     | CVTTPS2PI Pq,Wps     | feat=sse mmx sse
NP 0F 2D     | CVTPS2PI Pq,Wps      | feat=sse mmx sse
66 0F 2C     | CVTTPD2PI Pq,Wpd     | feat=sse2 mmx sse
66 0F 2D     | CVTPD2PI Pq,Wpd      | feat=sse2 mmx sse
"""
