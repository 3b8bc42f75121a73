"""x87 rows (SDM vol. 2, tables A-7 to A-22), with the undocumented encodings that processors execute as others."""

# /reg of D8, DA, DC and DE: with a memory operand, and with a register
_ARITH = ("ADD", "MUL", "COM", "COMP", "SUB", "SUBR", "DIV", "DIVR")
# by ModRM of the register form, no operand
_PLAIN = {
    "D9": "D0 FNOP E0 FCHS E1 FABS E4 FTST E5 FXAM E8 FLD1 E9 FLDL2T EA FLDL2E EB FLDPI EC FLDLG2 ED FLDLN2 EE FLDZ "
          "F0 F2XM1 F1 FYL2X F2 FPTAN F3 FPATAN F4 FXTRACT F5 FPREM1 F6 FDECSTP F7 FINCSTP F8 FPREM F9 FYL2XP1 FA FSQRT "
          "FB FSINCOS FC FRNDINT FD FSCALE FE FSIN FF FCOS",
    "DA": "E9 FUCOMPP",
    "DB": "E0 FNENI E1 FNDISI E2 FNCLEX E3 FNINIT E4 FNSETPM",
    "DE": "D9 FCOMPP",
}
# ... with ST(i)
_STACK = {
    "D9": "C0 FLD C8 FXCH D8 FSTPNCE",
    "DB": "E8 FUCOMI F0 FCOMI",
    "DC": "D0 FCOM D8 FCOMP",
    "DD": "C0 FFREE C8 FXCH D0 FST D8 FSTP E0 FUCOM E8 FUCOMP",
    "DE": "D0 FCOMP",
    "DF": "C0 FFREEP C8 FXCH D0 FSTP D8 FSTP E8 FUCOMIP F0 FCOMIP",
}
_CMOV = {"DA": "C0 FCMOVB C8 FCMOVE D0 FCMOVBE D8 FCMOVU", "DB": "C0 FCMOVNB C8 FCMOVNE D0 FCMOVNBE D8 FCMOVNU"}
# /reg and operand of the memory forms
_MEMORY = {
    "D9": "0 FLD Md 2 FST Md 3 FSTP Md 4 FLDENV M 5 FLDCW Mw 6 FNSTENV M 7 FNSTCW Mw",
    "DB": "0 FILD Md 2 FIST Md 3 FISTP Md 5 FLD80 Mt 7 FSTP80 Mt",
    "DD": "0 FLD Mq 2 FST Mq 3 FSTP Mq 4 FRSTOR M 6 FNSAVE M 7 FNSTSW Mw",
    "DF": "0 FILD Mw 2 FIST Mw 3 FISTP Mw 4 FBLD Mt 5 FILD Mq 6 FBSTP Mt 7 FISTP Mq",
}
_SSE3 = {"DB": "1 FISTTP Md", "DD": "1 FISTTP Mq", "DF": "1 FISTTP Mw"}


def _groups(text: str, n: int) -> list[list[str]]:
    words = text.split()
    return [words[i:i + n] for i in range(0, len(words), n)]


def _flags(name: str) -> str:
    """The few x87 instructions that read or write EFLAGS."""
    return "f=:oszapc" if "COMI" in name else "f=czp" if name.startswith("FCMOV") else ""


def _arith() -> list[str]:
    out = []
    for n, name in enumerate(_ARITH):
        for code, mnemonic, operand in (("D8", "F", "Md"), ("DA", "FI", "Md"), ("DC", "F", "Mq"), ("DE", "FI", "Mw")):
            out.append(f"{code} /{n} m | {mnemonic}{name} {operand} | fpu feat=fpu")
        out.append(f"D8 @{0xC0 + 8 * n:02X}+i | F{name} ST | fpu feat=fpu")
        if "COM" in name:
            continue
        # ST(i) is the destination; with it SUB and SUBR, DIV and DIVR change places in the encoding
        m = 0xC0 + 8 * (n ^ (n >= 4))
        out.append(f"DC @{m:02X}+i | F{name} ST,ST | fpu feat=fpu")
        out.append(f"DE @{m:02X}+i | F{name}P ST,ST | fpu feat=fpu")
    return out


def _rows() -> str:
    out = ["9B | FWAIT | wait", "DF @E0 | FNSTSW rAX | fpu feat=fpu", *_arith()]
    out += [f"{code} @{m} | {name} | fpu feat=fpu" for code, text in _PLAIN.items() for m, name in _groups(text, 2)]
    for table, feat in ((_STACK, "fpu"), (_CMOV, "cmov")):
        out += [f"{code} @{m}+i | {name} ST | fpu feat={feat} {_flags(name)}"
                for code, text in table.items() for m, name in _groups(text, 2)]
    for table, feat in ((_MEMORY, "fpu"), (_SSE3, "pni")):
        out += [f"{code} /{reg} m | {name} {operand} | fpu feat={feat}"
                for code, text in table.items() for reg, name, operand in _groups(text, 3)]
    return "\n".join(out) + "\n"


ROWS = _rows()
