"""Integer, stack, control-transfer and string instructions. Notation: isa/__init__.py; opcodes: SDM vol. 2, appendix A."""


def _alu() -> str:
    """The eight arithmetic rows of the one-byte map and their group 1 forms."""
    out = []
    names = ["ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"]
    for i, n in enumerate(names):
        o = i * 8
        lock = "" if n == "CMP" else "lock"
        rd = "c" if n in ("ADC", "SBB") else ""
        und = "a" if n in ("OR", "AND", "XOR") else ""
        f = f"f={rd}:oszapc:{und}"
        out += [
            f"{o:02X} | {n} Eb,Gb | {lock} {f}", f"{o + 1:02X} | {n} Ev,Gv | {lock} {f}",
            f"{o + 2:02X} | {n} Gb,Eb | {f}", f"{o + 3:02X} | {n} Gv,Ev | {f}",
            f"{o + 4:02X} | {n} AL,Ib | {f}", f"{o + 5:02X} | {n} rAX,Iz | {f}",
            f"80 /{i} | {n} Eb,Ib | {lock} {f}", f"81 /{i} | {n} Ev,Iz | {lock} {f}",
            f"82 /{i} | {n} Eb,Ib | {lock} i64 {f}", f"83 /{i} | {n} Ev,Ibs | {lock} {f}",
        ]
    return "\n".join(out)


def _shift() -> str:
    out = []
    for i, n in enumerate(["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SHL", "SAR"]):
        f = "f=oc:oc" if i < 2 else "f=oc:oc" if i < 4 else "f=oszapc:oszapc:a"
        out += [f"C0 /{i} | {n} Eb,Ib | {f}", f"C1 /{i} | {n} Ev,Ib | {f}", f"D0 /{i} | {n} Eb,1 | {f}",
                f"D1 /{i} | {n} Ev,1 | {f}", f"D2 /{i} | {n} Eb,CL | {f}", f"D3 /{i} | {n} Ev,CL | {f}"]
    return "\n".join(out)


CC = ["O", "NO", "B", "NB", "Z", "NZ", "BE", "NBE", "S", "NS", "P", "NP", "L", "NL", "LE", "NLE"]
CC_READ = ["o", "o", "c", "c", "z", "z", "cz", "cz", "s", "s", "p", "p", "so", "so", "soz", "soz"]


def _cc() -> str:
    out = []
    for i, (n, f) in enumerate(zip(CC, CC_READ, strict=True)):
        out += [f"7{i:X} | J{n} Jb | end d64 f64 f={f}", f"0F 8{i:X} | J{n} Jz | end d64 f64 f={f}",
                f"0F 9{i:X} | SET{n} Eb | f={f}", f"0F 4{i:X} | CMOV{n} Gv,Ev | feat=cmov f={f}"]
    return "\n".join(out)


def _bt() -> str:
    out = []
    for i, n in enumerate(["BT", "BTS", "BTR", "BTC"]):
        lock = "" if n == "BT" else "lock"
        out += [f"0F {0xA3 + i * 8:02X} | {n} Ev,Gv | {lock} f=:c:osap", f"0F BA /{4 + i} | {n} Ev,Ib | {lock} f=:c:osap"]
    return "\n".join(out)


ROWS = _alu() + "\n" + _shift() + "\n" + _cc() + "\n" + _bt() + """
# moves
88        | MOV Eb,Gb            |
89        | MOV Ev,Gv            |
8A        | MOV Gb,Eb            |
8B        | MOV Gv,Ev            |
A0        | MOV AL,Ob            |
A1        | MOV rAX,Ov           |
A2        | MOV Ob,AL            |
A3        | MOV Ov,rAX           |
B0+r      | MOV Zb,Ib            |
B8+r      | MOV Zv,Iv            |
C6 /0     | MOV Eb,Ib            |
C7 /0     | MOV Ev,Iz            |
0F B6     | MOVZXB Gv,Eb         |
0F B7     | MOVZXW Gv,Ew         |
0F BE     | MOVSXB Gv,Eb         |
0F BF     | MOVSXW Gv,Ew         |
63        | MOVSXD Gv,Ed         | o64
8D        | LEA Gv,M             |
86        | XCHG Eb,Gb           | lock
87        | XCHG Ev,Gv           | lock
90+r      | XCHG rAX,Zv          |
90        | NOP90 rAX,Zv         |
0F C0     | XADD Eb,Gb           | lock f=:oszapc feat=i486
0F C1     | XADD Ev,Gv           | lock f=:oszapc feat=i486
0F B0     | CMPXCHG Eb,Gb        | lock f=:oszapc feat=i486
0F B1     | CMPXCHG Ev,Gv        | lock f=:oszapc feat=i486
0F C7 /1 m | CMPXCHGXB My        | lock f=:z feat=cx8
0F C8+r   | BSWAP Zv             | feat=i486
NP 0F 38 F0 m | MOVBE Gv,Mv      | feat=movbe
NP 0F 38 F1 m | MOVBE Mv,Gv      | feat=movbe
66 0F 38 F0 m | MOVBE Gv,Mv      | feat=movbe
66 0F 38 F1 m | MOVBE Mv,Gv      | feat=movbe
F2 0F 38 F0 | CRC32B Gy,Eb       | feat=sse4_2
F2 0F 38 F1 | CRC32V Gv,Ev       | feat=sse4_2
D7        | XLAT                 |
98        | CBW                  |
99        | CWD                  |

# arithmetic
40+r      | INC Zv               | i64 f=:oszap
48+r      | DEC Zv               | i64 f=:oszap
FE /0     | INC Eb               | lock f=:oszap
FE /1     | DEC Eb               | lock f=:oszap
FF /0     | INC Ev               | lock f=:oszap
FF /1     | DEC Ev               | lock f=:oszap
F6 /0     | TEST Eb,Ib           | f=:oszapc:a
F6 /1     | TEST Eb,Ib           | f=:oszapc:a
F6 /2     | NOT Eb               | lock
F6 /3     | NEG Eb               | lock f=:oszapc
F6 /4     | MUL Eb               | f=:oszapc:szap
F6 /5     | IMUL1 Eb             | f=:oszapc:szap
F6 /6     | DIV Eb               | f=::oszapc
F6 /7     | IDIV Eb              | f=::oszapc
F7 /0     | TEST Ev,Iz           | f=:oszapc:a
F7 /1     | TEST Ev,Iz           | f=:oszapc:a
F7 /2     | NOT Ev               | lock
F7 /3     | NEG Ev               | lock f=:oszapc
F7 /4     | MUL Ev               | f=:oszapc:szap
F7 /5     | IMUL1 Ev             | f=:oszapc:szap
F7 /6     | DIV Ev               | f=::oszapc
F7 /7     | IDIV Ev              | f=::oszapc
0F AF     | IMUL Gv,Ev           | f=:oszapc:szap
69        | IMUL Gv,Ev,Iz        | f=:oszapc:szap
6B        | IMUL Gv,Ev,Ibs       | f=:oszapc:szap
84        | TEST Eb,Gb           | f=:oszapc:a
85        | TEST Ev,Gv           | f=:oszapc:a
A8        | TEST AL,Ib           | f=:oszapc:a
A9        | TEST rAX,Iz          | f=:oszapc:a
0F A4     | SHLD Ev,Gv,Ib        | f=oszapc:oszapc:a
0F A5     | SHLD Ev,Gv,CL        | f=oszapc:oszapc:a
0F AC     | SHRD Ev,Gv,Ib        | f=oszapc:oszapc:a
0F AD     | SHRD Ev,Gv,CL        | f=oszapc:oszapc:a
0F BC     | BSF Gv,Ev            | f=z:z:osapc
0F BD     | BSR Gv,Ev            | f=z:z:osapc
27        | DAA                  | i64 f=ac:oszapc:o
2F        | DAS                  | i64 f=ac:oszapc:o
37        | AAA                  | i64 f=a:oszapc:oszp
3F        | AAS                  | i64 f=a:oszapc:oszp
D4        | AAM Ib               | i64 f=:oszapc:oac
D5        | AAD Ib               | i64 f=:oszapc:oac
D6        | SALC                 | i64 f=c

# flags
F5        | CMC                  | f=c:c
F8        | CLC                  | f=:c
F9        | STC                  | f=:c
FC        | CLD                  | f=:d
FD        | STD                  | f=:d
9E        | SAHF                 | i64 f=:szapc
9E        | SAHF                 | o64 feat=sahf64 f=:szapc
9F        | LAHF                 | i64 f=szapc
9F        | LAHF                 | o64 feat=sahf64 f=szapc

# bit manipulation (SDM vol. 2; Intel and AMD numbers agree)
F3 0F B8  | POPCNT Gv,Ev         | feat=popcnt f=:oszapc
F3 0F BC  | TZCNT Gv,Ev          | feat=bmi1 f=:oszapc:osap
F3 0F BD  | LZCNT Gv,Ev          | feat=abm f=:oszapc:osap
VEX NP 0F 38 F2 | ANDN Gy,By,Ey  | feat=bmi1 f=:oszapc:ap vex_l0
VEX NP 0F 38 F7 | BEXTR Gy,Ey,By | feat=bmi1 f=:oszapc:sap vex_l0
VEX NP 0F 38 F3 /1 | BLSR By,Ey  | feat=bmi1 f=:oszapc:ap vex_l0
VEX NP 0F 38 F3 /2 | BLSMSK By,Ey | feat=bmi1 f=:oszapc:ap vex_l0
VEX NP 0F 38 F3 /3 | BLSI By,Ey  | feat=bmi1 f=:oszapc:ap vex_l0
VEX NP 0F 38 F5 | BZHI Gy,Ey,By  | feat=bmi2 f=:oszapc:ap vex_l0
VEX F2 0F 38 F5 | PDEP Gy,By,Ey  | feat=bmi2 vex_l0
VEX F3 0F 38 F5 | PEXT Gy,By,Ey  | feat=bmi2 vex_l0
VEX F2 0F 38 F6 | MULX Gy,By,Ey  | feat=bmi2 vex_l0
VEX 66 0F 38 F7 | SHLX Gy,Ey,By  | feat=bmi2 vex_l0
VEX F2 0F 38 F7 | SHRX Gy,Ey,By  | feat=bmi2 vex_l0
VEX F3 0F 38 F7 | SARX Gy,Ey,By  | feat=bmi2 vex_l0
VEX F2 0F 3A F0 | RORX Gy,Ey,Ib  | feat=bmi2 vex_l0
66 0F 38 F6 | ADCX Gy,Ey         | feat=adx f=c:c
F3 0F 38 F6 | ADOX Gy,Ey         | feat=adx f=o:o

# stack
50+r      | PUSH Zv              | d64
58+r      | POP Zv               | d64
68        | PUSH Iz              | d64
6A        | PUSH Ibs             | d64
FF /6     | PUSH Ev              | d64
8F /0     | POP Ev               | d64
60        | PUSHA                | i64 feat=i186
61        | POPA                 | i64 feat=i186
C8        | ENTER Iw,Ib          | d64
C9        | LEAVE                | d64

# control transfer
E8        | CALL Jz              | end d64 f64
E9        | JMP Jz               | end d64 f64
EB        | JMP Jb               | end d64 f64
FF /2     | CALL Ev              | end d64 f64
FF /4     | JMP Ev               | end d64 f64
C2        | RET Iw               | end d64 f64
C3        | RET                  | end d64 f64
E0        | LOOPNE Jb            | end d64 f64 f=z
E1        | LOOPE Jb             | end d64 f64 f=z
E2        | LOOP Jb              | end d64 f64
E3        | JCXZ Jb              | end d64 f64
0F 1F     | NOPE Ev              |
0F 19     | NOPE Ev              |
0F 1A     | NOPE Ev              |
0F 1B     | NOPE Ev              |
0F 1C     | NOPE Ev              |
0F 1D     | NOPE Ev              |
0F 1E     | NOPE Ev              |

# strings
A4        | MOVSB                | end
A5        | MOVSV                | end
A6        | CMPSB                | end f=:oszapc
A7        | CMPSV                | end f=:oszapc
AA        | STOSB                | end
AB        | STOSV                | end
AC        | LODSB                | end
AD        | LODSV                | end
AE        | SCASB                | end f=:oszapc
AF        | SCASV                | end f=:oszapc
6C        | INSB                 | end time
6D        | INSV                 | end time
6E        | OUTSB                | end time
6F        | OUTSV                | end time
"""
