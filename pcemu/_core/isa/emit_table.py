"""Which emitter compiles which handler, and what compiled code must know of the instruction: by the handler's name,
op_<mnemonic>_<forms>_<bits>.

A rule is (class, mnemonics, forms, effects, flags). The class names an emitter in an e_*.pyx; the rule's number for a
mnemonic (its place in the list, unless given after ``=``) is what the emitter gets as `sub`. A handler without a rule is
called. The effects are what the instruction changes, and what else is to be known of it:

    1, 2        its first, its second operand (a register or memory; an operand in memory that is not changed is read)
    v           the register in VEX.vvvv
    ax dx ...   this register
    +i -i +1 -1 lea     its first operand, a register, by its immediate, by one, or (if base and destination are the same) by
                the displacement: by how much is known beforehand
    push pop    the stack pointer, by the operand's size; that is the access to memory, too
    wN lN       N bytes of memory are accessed, not the operand's size; l: twice as many with a vector length of 256 bits
    elsewhere   memory is accessed, but not by ModRM's base and displacement alone
    nowhere     memory is not accessed
    fault       faults without a memory operand
    fp          faults where a floating-point exception is unmasked

Flags: those (o s z a p c, * all) that it and its emitter give a new value whatever happens; n: if the immediate count is
not zero.
"""
from __future__ import annotations

import re
from typing import Any

CC = ["o", "no", "b", "nb", "z", "nz", "be", "nbe", "s", "ns", "p", "np", "l", "nl", "le", "nle"]


def _cc(prefix: str) -> str:
    return " ".join(f"{prefix}{cc}={i}" for i, cc in enumerate(CC))


# sub of the arithmetic group is the machine's own: add or adc sbb and sub xor cmp
RULES: list[tuple[str, str, str, str, str]] = [
    ("mov", "mov", "rr ri rm mr mi ro or", "1", ""),
    ("alu", "or=1 and=4 xor=6", "rr ri rm mr mi", "1", "*"),
    ("alu", "add=0", "rr rm mr mi", "1", "*"),
    ("alu", "sub=5", "rr rm mr mi", "1", "*"),
    ("alu", "add=0", "ri", "+i", "*"),
    ("alu", "sub=5", "ri", "-i", "*"),
    ("alu", "cmp=7", "rr ri rm mr mi", "", "*"),
    ("test", "test", "rr ri rm mr mi", "", "*"),
    ("adc", "adc=2 sbb=3", "rr ri rm mr mi", "1", "*"),
    ("unary", "inc=0", "r", "+1", "oszap"),
    ("unary", "dec=1", "r", "-1", "oszap"),
    ("unary", "inc=0 dec=1", "m", "1", "oszap"),
    ("unary", "not=2", "r m", "1", ""),
    ("unary", "neg=3", "r m", "1", "*"),
    ("lea", "lea", "rm", "lea nowhere", ""),
    ("movx", "movzxb=0 movsxb=2", "rr rm", "1 w1", ""),
    ("movx", "movzxw=1 movsxw=3", "rr rm", "1 w2", ""),
    ("movx", "movsxd=4", "rr rm", "1 w4", ""),
    ("shift", "shl=4 shr=5 sar=7", "ri mi", "1", "*n"),
    ("shift", "shl=4 shr=5 sar=7", "rc mc", "1", ""),
    ("rotate", "rol=0 ror=1", "ri", "1", "con"),
    ("rotate", "rol=0 ror=1", "rc mi mc", "1", ""),
    ("imul", "imul", "rr rm rri rmi", "1", "*"),
    ("mul", "mul=4 imul1=5", "r m", "ax dx", "*"),
    ("div", "div=6 idiv=7", "r m", "ax dx fault", ""),
    ("push", "push", "r i", "push", ""),
    ("push", "push", "m", "push elsewhere", ""),
    ("pop", "pop", "r", "1 pop", ""),
    ("leave", "leave", "", "sp bp elsewhere", ""),
    ("jcc", _cc("j"), "j", "", ""),
    ("loop", "loop=0", "j", "cx", ""),
    ("loop", "jcxz=1", "j", "", ""),
    ("string", "movsb=0 movsv=0", "", "si di cx elsewhere", ""),
    ("string", "stosb=1 stosv=1", "", "di cx elsewhere", ""),
    ("string", "lodsb=2 lodsv=2", "", "si ax elsewhere", ""),
    ("string", "scasb=3 scasv=3", "", "di cx elsewhere", ""),
    ("string", "cmpsb=4 cmpsv=4", "", "si di cx elsewhere", ""),
    ("jmp", "jmp", "j", "", ""),
    ("call", "call", "j", "push", ""),
    ("jmpi", "jmp=0", "r m", "", ""),
    ("jmpi", "call=1", "r m", "sp", ""),
    ("ret", "ret=0", "", "pop", ""),
    ("ret", "ret=1", "i", "sp pop", ""),
    ("setcc", _cc("set"), "r m", "1", ""),
    ("cmovcc", _cc("cmov"), "rr rm", "1", ""),
    ("cbw", "cbw", "", "ax", ""),
    ("cwd", "cwd", "", "dx", ""),
    ("bswap", "bswap", "r", "1", ""),
    ("xchg", "xchg", "rr mr", "1 2", ""),
    ("nop", "fence pause nope nop90 endbr prefetchnta prefetcht0 prefetcht1 prefetcht2 prefetchw", "* m", "nowhere", ""),
    ("nop", "nop90", "rr", "1 2", ""),
    ("bt", "bt=4", "ri rr mi", "", "c"),
    ("bt", "bts=5 btr=6 btc=7", "ri rr mi", "1", "c"),
    ("scan", "bsf=0 bsr=1 tzcnt=2 lzcnt=3 popcnt=4", "rr rm", "1", "*"),
    # sub: what becomes of the flags (e_bits.pyx)
    ("bmi", "pdep=0 pext=0", "rrr rrm", "1", ""),
    ("bmi", "shlx=0 shrx=0 sarx=0", "rrr rmr", "1", ""),
    ("bmi", "rorx=0", "rri rmi", "1", ""),
    ("bmi", "mulx=3", "rrr rrm", "1 v", ""),
    ("bmi", "andn=1", "rrr rrm", "1", "*"),
    ("bmi", "bextr=1 bzhi=2", "rrr rmr", "1", "*"),
    ("bmi", "blsr=2 blsmsk=2 blsi=2", "rr rm", "v", "*"),
    ("cmpxchg", "cmpxchg", "mr", "1 ax", "*"),
    ("xadd", "xadd", "mr", "1 2", "*"),
    ("shd", "shld=0 shrd=1", "rri", "1", "*n"),
    ("shd", "shld=0 shrd=1", "rrc", "1", ""),
    ("time", "rdtsc", "*", "ax dx fault", ""),
    ("dir", "cld=0 std=1", "", "", ""),
    ("sahf", "sahf", "*", "", "szapc"),
    # sub: how the operation is made of one on an XMM register (e_mmx.pyx)
    ("mmx", """paddb=0 paddw=0 paddd=0 paddq=0 psubb=0 psubw=0 psubd=0 psubq=0 paddsb=0 paddsw=0 paddusb=0 paddusw=0 psubsb=0
        psubsw=0 psubusb=0 psubusw=0 pmullw=0 pmulhw=0 pmulhuw=0 pmuludq=0 pmaddwd=0 psadbw=0 pavgb=0 pavgw=0 pminub=0 pmaxub=0
        pminsw=0 pmaxsw=0 pcmpeqb=0 pcmpeqw=0 pcmpeqd=0 pcmpgtb=0 pcmpgtw=0 pcmpgtd=0 pand=0 pandn=0 por=0 pxor=0 psllw=0
        pslld=0 psllq=0 psrlw=0 psrld=0 psrlq=0 psraw=0 psrad=0 pabsb=0 pabsw=0 pabsd=0 psignb=0 psignw=0 psignd=0 pmulhrsw=0
        pmaddubsw=0 punpckhbw=1 punpckhwd=1 punpckhdq=1 packsswb=2 packuswb=2 packssdw=2 phaddw=2 phaddd=2 phaddsw=2 phsubw=2
        phsubd=2 phsubsw=2 pshufb=3""", "qq qm", "w8 fault", ""),
    ("mmx", "punpcklbw=0 punpcklwd=0 punpckldq=0", "qq qm", "w4 fault", ""),
    ("mmx", "psllw=0 pslld=0 psllq=0 psrlw=0 psrld=0 psrlq=0 psraw=0 psrad=0", "qi", "fault", ""),
    ("mmx", "palignr=4 pshufw=5", "qqi qmi", "w8 fault", ""),
    ("mmxmove", "movd=0", "qr qm", "fault", ""),
    ("mmxmove", "movd=1", "rq mq", "1 fault", ""),
    ("mmxmove", "movq=2", "qq", "fault", ""),
    ("mmxmove", "movq=0", "qm", "w8 fault", ""),
    ("mmxmove", "movq=1 movntq=1", "mq", "1 w8 fault", ""),
    ("mmxmove", "movq2dq=3", "rq", "fault", ""),
    ("mmxmove", "movdq2q=4", "qr", "fault", ""),
    ("mmxmove", "pmovmskb=5", "rq", "1 fault", ""),
    ("mmxmove", "pextrw=6", "rqi", "1 fault", ""),
    ("mmxmove", "pinsrw=7", "qri qmi", "w2 fault", ""),
    ("mmxmove", "emms=8", "*", "fault", ""),
]

# Vector instructions, by what their operands are. Attributes: a, a memory operand of 16 bytes must be aligned; w, the destination
# is written whole; 0, with itself as source the old value does not matter; f, floating point (the handler's while an exception
# is unmasked); x, reads XMM0 as well; then log2 of the bytes of a memory operand (s: the size in the handler's name). The
# encoding is the row's (encoding() below).
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
# AVX to FMA and F16C, names without their V. Here w is not needed (all of the destination is written), and d says that the
# destination is a source, too; l: the memory operand doubles with the vector length. A name may say the length.
VEX: list[tuple[str, str, str, str]] = [
    ("vec", "l4", "rrr rrm", """paddb paddw paddd paddq paddsb paddsw paddusb paddusw pmullw pmulhw pmulhuw pmuludq pmaddwd psadbw
        pavgb pavgw pminub pmaxub pminsw pmaxsw pand por packsswb packuswb packssdw punpcklbw punpckhbw punpcklwd
        punpckhwd punpckldq punpckhdq punpcklqdq punpckhqdq psignb psignw psignd pmulhrsw pmaddubsw phaddw phaddd phaddsw
        phsubw phsubd phsubsw pshufb pmulld pmuldq pminsb pmaxsb pminuw pmaxuw pminsd pmaxsd pminud pmaxud packusdw andps
        andpd orps orpd unpcklps unpckhps unpcklpd unpckhpd aesenc aesenclast aesdec aesdeclast
        psllvd psllvq psrlvd psrlvq psravd permilps permilpd"""),
    ("vec", "0l4", "rrr rrm", """pxor xorps xorpd pandn andnps andnpd psubb psubw psubd psubq psubsb psubsw psubusb psubusw
        pcmpeqb pcmpeqw pcmpeqd pcmpeqq pcmpgtb pcmpgtw pcmpgtd pcmpgtq"""),
    ("vec", "4", "rrr rrm", "psllw pslld psllq psrlw psrld psrlq psraw psrad"),
    ("vec", "5", "rrr rrm", "permd permps"),
    ("vec", "al4", "rr rm", "movaps movapd movdqa movntdqa"),
    ("vec", "l4", "rr rm", "movups movupd movdqu lddqu pabsb pabsw pabsd phminposuw movsldup movshdup aesimc"),
    ("vec", "l4", "rri rmi", "pshufd pshuflw pshufhw permilps permilpd aeskeygenassist"),
    ("vec", "5", "rri rmi", "permq permpd"),
    ("vec", "l4", "rrri rrmi", "shufps shufpd pblendw pblendd blendps blendpd palignr mpsadbw pclmulqdq"),
    ("vec", "5", "rrri rrmi", "perm2f128 perm2i128"),
    ("vec", "4", "rrri rrmi", "insertf128 inserti128"),
    ("vec", "l4", "rrrr rrmr", "blendvps blendvpd pblendvb"),
    ("vec", "4", "rri", "psllw pslld psllq psrlw psrld psrlq psraw psrad pslldq psrldq extractf128 extracti128"),
    ("vec", "l3", "rr rm", "pmovsxbw pmovsxwd pmovsxdq pmovzxbw pmovzxwd pmovzxdq"),
    ("vec", "l2", "rr rm", "pmovsxbd pmovsxwq pmovzxbd pmovzxwq"),
    ("vec", "l1", "rr rm", "pmovsxbq pmovzxbq"),
    ("vec", "5", "rr rm", "movddup_256"),
    ("vec", "4", "rm", "broadcastf128 broadcasti128"),
    ("vec", "3", "rr rm", "movq movddup_128 pbroadcastq broadcastsd"),
    ("vec", "2", "rr rm", "pbroadcastd broadcastss"),
    ("vec", "1", "rr rm", "pbroadcastw"),
    ("vec", "0", "rr rm", "pbroadcastb"),
    ("vec", "4", "rrr", "movss movsd movhlps movlhps"),
    ("vec", "2", "rm", "movss"),
    ("vec", "3", "rm", "movsd"),
    ("vec", "3", "rrm", "movlps movhps movlpd movhpd"),
    ("vec", "2", "rrri rrmi", "insertps"),
    ("vec", "fl4", "rrr rrm", """addps addpd subps subpd mulps mulpd divps divpd minps minpd maxps maxpd
        addsubps addsubpd haddps haddpd hsubps hsubpd"""),
    ("vec", "f2", "rrr rrm", "addss subss mulss divss minss maxss sqrtss cvtss2sd"),
    ("vec", "f3", "rrr rrm", "addsd subsd mulsd divsd minsd maxsd sqrtsd cvtsd2ss"),
    ("vec", "fl4", "rr rm", "sqrtps sqrtpd cvtdq2ps cvtps2dq cvttps2dq cvtpd2ps cvtpd2dq cvttpd2dq"),
    ("vec", "fl3", "rr rm", "cvtps2pd cvtdq2pd cvtph2ps"),
    ("vec", "fl4", "rrri rrmi", "cmpps cmppd dpps dppd"),
    ("vec", "f2", "rrri rrmi", "cmpss roundss"),
    ("vec", "f3", "rrri rrmi", "cmpsd roundsd"),
    ("vec", "fl4", "rri rmi", "roundps roundpd"),
    ("vec", "f4", "rri", "cvtps2ph"),
    *(("vec", attributes, "rrr rrm", " ".join(f"{op}{order}{kind}" for op in ops.split() for order in ("132", "213", "231")))
      for ops, table in (("fmadd fmsub fnmadd fnmsub", "dfl4 ps dfl4 pd df2 ss df3 sd"), ("fmaddsub fmsubadd", "dfl4 ps dfl4 pd"))
      for attributes, kind in zip(table.split()[::2], table.split()[1::2], strict=True)),
    ("vst", "al4", "mr", "movaps movapd movdqa movntps movntpd movntdq"),
    ("vst", "l4", "mr", "movups movupd movdqu"),
    ("vst", "4", "mri", "extractf128 extracti128"),
    ("vst", "fl3", "mri", "cvtps2ph"),
    ("vtog", "4", "rr", "movmskps movmskpd pmovmskb"),
    ("gtov", "s", "rr rm", "movd"),
    ("gtov", "fs", "rrr rrm", "cvtsi2ss cvtsi2sd"),
    ("gtov", "0", "rrri rrmi", "pinsrb"),
    ("gtov", "1", "rrri rrmi", "pinsrw"),
    ("gtov", "s", "rrri rrmi", "pinsrdq"),
    ("vzero", "4", "*", "zero"),
    ("vflags", "l4", "rr rm", "ptest testps testpd"),
]

# x87 instructions, by what they do to the register stack: the same instruction again while the guest's registers are on the
# host's. Kind; registers that must hold something ("0" ST(0), "1" ST(1), "i" ST(i)); registers written ("n": the one pushed);
# registers pushed and popped; condition codes written ("1" C1, "2" C2, "0" C0 and C3); memory operand ("r" or "w"; of the
# bits in the handler's name, or 80 with "t"); handlers. Kinds: op, the instruction itself; flags, it writes EFLAGS; cmov, it
# reads them; part, out of range (C2) it does nothing; prem, C0 and C3 stay where the result is a NaN; the others by name.
# Those without an emitter: predict, the columns say what it does to the stack; clear, as FNINIT; lost, nobody knows.
X87: list[tuple[str, str, str, int, int, str, str, str]] = [
    ("op", "0i", "0", 0, 0, "1", "", "fadd_t fmul_t fsub_t fsubr_t fdiv_t fdivr_t"),
    ("op", "0i", "i", 0, 0, "1", "", "fadd_tt fmul_tt fsub_tt fsubr_tt fdiv_tt fdivr_tt"),
    ("op", "0i", "i", 0, 1, "1", "", "faddp_tt fmulp_tt fsubp_tt fsubrp_tt fdivp_tt fdivrp_tt"),
    ("op", "0", "0", 0, 0, "1", "r", "fadd_m_32 fmul_m_32 fsub_m_32 fsubr_m_32 fdiv_m_32 fdivr_m_32"),
    ("op", "0", "0", 0, 0, "1", "r", "fadd_m_64 fmul_m_64 fsub_m_64 fsubr_m_64 fdiv_m_64 fdivr_m_64"),
    ("op", "0", "0", 0, 0, "1", "r", "fiadd_m_16 fimul_m_16 fisub_m_16 fisubr_m_16 fidiv_m_16 fidivr_m_16"),
    ("op", "0", "0", 0, 0, "1", "r", "fiadd_m_32 fimul_m_32 fisub_m_32 fisubr_m_32 fidiv_m_32 fidivr_m_32"),
    ("op", "0i", "", 0, 0, "012", "", "fcom_t fucom_t"),
    ("op", "0i", "", 0, 1, "012", "", "fcomp_t fucomp_t"),
    ("op", "01", "", 0, 2, "012", "", "fcompp fucompp"),
    ("op", "0", "", 0, 0, "012", "r", "fcom_m_32 fcom_m_64 ficom_m_16 ficom_m_32"),
    ("op", "0", "", 0, 1, "012", "r", "fcomp_m_32 fcomp_m_64 ficomp_m_16 ficomp_m_32"),
    ("op", "0", "", 0, 0, "012", "", "ftst fxam"),
    ("flags", "0i", "", 0, 0, "", "", "fcomi_t fucomi_t"),
    ("flags", "0i", "", 0, 1, "", "", "fcomip_t fucomip_t"),
    ("cmov2", "0i", "0", 0, 0, "", "", "fcmovb_t fcmovnb_t"),
    ("cmov4", "0i", "0", 0, 0, "", "", "fcmove_t fcmovne_t"),
    ("cmov6", "0i", "0", 0, 0, "", "", "fcmovbe_t fcmovnbe_t"),
    ("cmov10", "0i", "0", 0, 0, "", "", "fcmovu_t fcmovnu_t"),
    ("op", "", "n", 1, 0, "1", "r", "fld_m_32 fld_m_64 fild_m_16 fild_m_32 fild_m_64"),
    ("op", "", "n", 1, 0, "1", "rt", "fld80_m fbld_m"),
    ("op", "i", "n", 1, 0, "1", "", "fld_t"),
    ("op", "", "n", 1, 0, "1", "", "fld1 fldl2t fldl2e fldpi fldlg2 fldln2 fldz"),
    ("op", "0", "i", 0, 0, "1", "", "fst_t"),
    ("op", "0", "i", 0, 1, "1", "", "fstp_t fstpnce_t"),
    ("op", "0i", "0i", 0, 0, "1", "", "fxch_t"),
    ("op", "0", "0", 0, 0, "1", "", "fchs fabs fsqrt frndint f2xm1"),
    ("op", "0", "0", 0, 0, "12", "", "fsin fcos"),
    ("op", "01", "0", 0, 0, "1", "", "fscale"),
    ("prem", "01", "0", 0, 0, "120", "", "fprem fprem1"),
    ("op", "01", "1", 0, 1, "1", "", "fyl2x fyl2xp1 fpatan"),
    ("op", "0", "0n", 1, 0, "1", "", "fxtract"),
    ("part", "0", "0n", 1, 0, "12", "", "fptan fsincos"),
    ("op", "0", "", 0, 0, "1", "w", "fst_m_32 fst_m_64 fist_m_16 fist_m_32"),
    ("op", "0", "", 0, 1, "1", "w", "fstp_m_32 fstp_m_64 fistp_m_16 fistp_m_32 fistp_m_64 fisttp_m_16 fisttp_m_32 fisttp_m_64"),
    ("op", "0", "", 0, 1, "1", "wt", "fstp80_m fbstp_m"),
    ("fldcw", "", "", 0, 0, "", "", "fldcw_m"),
    ("fnstcw", "", "", 0, 0, "", "", "fnstcw_m"),
    ("fnstsw", "", "", 0, 0, "", "", "fnstsw_m"),
    ("fnstswax", "", "", 0, 0, "", "", "fnstsw_r"),
    ("fnclex", "", "", 0, 0, "", "", "fnclex"),
    ("fwait", "", "", 0, 0, "", "", "fwait"),
    ("predict", "", "", 0, 0, "", "", "fnop fneni fndisi fnsetpm fnstenv_m"),
    ("clear", "", "", 0, 0, "", "", "fninit fnsave_m"),
    ("lost", "", "", 0, 0, "", "", "ffree_t ffreep_t fincstp fdecstp fldenv_m frstor_m"),
]
X87_KINDS = ["op", "flags", "part", "prem", "cmov2", "cmov4", "cmov6", "cmov10", "fldcw", "fnstcw", "fnstsw", "fnstswax",
             "fnclex", "fwait", "predict", "clear", "lost"]
X87_REGISTERS, X87_CODES = "0i1n", "120"    # bits

# what compiled code may need of the host
HOST = ["any", "pni", "ssse3", "sse4_1", "sse4_2", "aes", "pclmulqdq", "avx", "avx2", "fma", "f16c"]
VEX_ATTRS = {"vex_l1": 2, "vex_w1": 4, "avx2_l1": 8, "legacy": 16}
V_BITS = {"a": 8, "w": 16, "d": 16, "0": 32, "f": 64, "x": 128}

CLASSES = ["none", *dict.fromkeys(r[0] for r in [*RULES, *VECTOR, *VEX]), "x87"]
FORMS = ["", "rr", "ri", "rm", "mr", "mi", "r", "m", "i", "j", "rc", "mc", "rri", "rmi", "rrc", "mri", "mrc", "rrr", "rrm", "rmr",
         "qq", "qm", "mq", "qi", "qr", "rq", "t", "tt", "ro", "or", "rrri", "rrmi", "rrrr", "rrmr", "qqi", "qmi", "rqi", "qri"]


# what compiled code knows of an instruction (EmitRow in emit.pxd)
ACCESS = {"A_READ": 1, "A_WRITE": 2, "A_OPERAND": 4, "A_PUSH": 8, "A_POP": 16, "A_OTHER": 32}
STEPS = {"": 0, "push": 1, "pop": 2, "+i": 3, "-i": 4, "+1": 5, "-1": 6, "lea": 7}
STEP_NAMES = ["NONE", "PUSH", "POP", "ADD", "SUB", "INC", "DEC", "LEA"]
C_FIRST, C_SECOND, C_ALL, C_VVVV = 0x100, 0x200, 0x400, 0x800
FLAGS = "cpazso"                        # as FB_* in emit.pxd
KILLS_IF_COUNT = 64
FAULTS_NEVER, FAULTS_ALWAYS, FAULTS_FP = range(3)
REGISTERS = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
Rule = tuple[int, int, str, str]        # class, sub, effects, flags


def _rules() -> dict[tuple[str, str], Rule]:
    out = {}
    for cls, mnemonics, forms, effects, flags in RULES:
        for n, word in enumerate(mnemonics.split()):
            name, _, sub = word.partition("=")
            for form in [""] if not forms else ["" if f == "*" else f for f in forms.split()]:
                out[name, form] = (CLASSES.index(cls), int(sub) if sub else n, effects, flags)
    for v, (cls, attributes, forms, mnemonics) in [*(("", r) for r in VECTOR), *(("v", r) for r in VEX)]:
        bits = sum(V_BITS[a] for a in attributes[:-1] if a != "l")
        effects = "1" if cls in ("vst", "vtog") else ""
        if attributes[-1] != "s":
            effects += f" {'l' if 'l' in attributes else 'w'}{1 << int(attributes[-1])}"
        if "f" in attributes:
            effects += " fp"
        for name in mnemonics.split():
            for form in forms.split():
                out[v + name, "" if form == "*" else form] = (CLASSES.index(cls), bits, effects, "*" if cls == "vflags" else "")
    return out


def _x87() -> dict[str, tuple[int, ...]]:
    """Fields of an X87Row by handler."""
    out: dict[str, tuple[int, ...]] = {}
    for kind, needs, writes, pushed, popped, codes, memory, names in X87:
        need, write = (sum(1 << X87_REGISTERS.index(r) for r in text) for text in (needs, writes))
        code = sum(1 << X87_CODES.index(c) for c in codes)
        for name in names.split():
            bits = re.search(r"_(16|32|64)$", name)
            size = 10 if memory[1:] == "t" else int(bits[1]) // 8 if bits else 0
            out["op_" + name] = (X87_KINDS.index(kind), need, write, pushed, popped, code, size, int(memory[:1] == "w"))
    return out


X87_ROWS = {name: (n, fields) for n, (name, fields) in enumerate(_x87().items())}


def x87_knowledge(handler: str) -> tuple[int, ...]:
    """EmitRow of an x87 handler."""
    n, (kind, _, _, _, _, _, size, store) = X87_ROWS[handler]
    form = "m" if "_m" in handler else ""
    access = (ACCESS["A_OPERAND"] | ACCESS["A_WRITE" if store else "A_READ"] if size else ACCESS["A_OTHER"]) if form else 0
    changes = 1 << REGISTERS.index("ax") if handler == "op_fnstsw_r" else 0
    kills = 63 if X87_KINDS[kind] == "flags" else 0
    return CLASSES.index("x87"), n, FORMS.index(form), 4, access, size, changes, 0, kills, FAULTS_ALWAYS


def knowledge(form: str, size: int, effects: str, flags: str) -> tuple[int, int, int, int, int, int]:
    """(access, width, changes, step, kills, faults) of an instruction with a rule."""
    words = effects.split()
    access = changes = 0
    width = next((int(w[1:]) << (w[0] == "l" and size == 5) for w in words if w[0] in "wl" and w != "lea"), 1 << size)
    if "push" in words or "pop" in words:
        access = ACCESS["A_PUSH"] | ACCESS["A_WRITE"] if "push" in words else ACCESS["A_POP"] | ACCESS["A_READ"]
    elif "m" in form:
        written = form.index("m") + 1
        access = ACCESS["A_OPERAND"] | ACCESS["A_WRITE" if str(written) in words else "A_READ"]
    elif "o" in form:
        access = ACCESS["A_OTHER"]
    if "elsewhere" in words:
        access = ACCESS["A_OTHER"]
    elif "nowhere" in words:
        access = 0
    for n, operand in enumerate([i for i, letter in enumerate(form, 1) if letter == "r"][:2]):
        if str(operand) in words:
            changes |= (C_FIRST, C_SECOND)[n]
    for w in words:
        if w in REGISTERS:
            changes |= 1 << REGISTERS.index(w)
    if "v" in words:
        changes |= C_VVVV
    step = next((STEPS[w] for w in words if w in STEPS), 0)
    if step > STEPS["pop"]:
        changes |= C_FIRST                      # in cases that the step does not cover
    kills = sum(1 << n for n, f in enumerate(FLAGS) if f in flags or "*" in flags) | (KILLS_IF_COUNT if "n" in flags else 0)
    faults = FAULTS_ALWAYS if "fault" in words else FAULTS_FP if "fp" in words else FAULTS_NEVER
    return access, width, changes, step, kills, faults


def classify(handler: str, rules: dict[tuple[str, str], Rule]) -> tuple[int, ...]:
    """The EmitRow of a handler: class, sub, form, log2 of the size in bytes, and knowledge()."""
    m = re.fullmatch(r"op_([a-z0-9]+?)(?:_([a-z]+))?(?:_(8|16|32|64|128|256))?", handler)
    if not m:
        return 0, 0, 0, 0, 0, 0, C_ALL, 0, 0, 0
    name, form, bits = m[1], m[2] or "", m[3] or ""
    size = {"8": 0, "16": 1, "32": 2, "64": 3, "256": 5}.get(bits, 4)
    if (f"{name}_{bits}", form) in rules:
        name = f"{name}_{bits}"
    head = FORMS.index(form) if form in FORMS else 0, size
    if handler in X87_ROWS:
        return x87_knowledge(handler)
    if (name, form) not in rules:
        return 0, 0, *head, 0, 0, C_ALL, 0, 0, 0
    cls, sub, effects, flags = rules[name, form]
    if cls == CLASSES.index("shd") and size < 2:
        flags = ""                              # counts above the size; the handler's
    return cls, sub, *head, *knowledge(form, size, effects, flags)


def encoding(row: Any) -> tuple[int, int, int, int, int, int]:
    """(prefix as in VEX, map, opcode, ModRM, extension, VEX) of a row. ModRM: the digit of /digit, and ENC_SWAP: the first
    operand is in ModRM.rm, ENC_VVVV: in VEX.vvvv. The extension is one that the host may lack. VEX: VEX_* bits."""
    first = row.operands[0][0] if row.operands else ""
    place = 16 if first and first in "EWQUN" else 32 if first and first in "HB" else 0
    vex = sum(bit for name, bit in VEX_ATTRS.items() if name in row.attrs) | 1 if row.vex else 0
    return row.prefix or 0, row.map & 3, row.opcode, (row.reg or 0) | place, HOST.index(row.feat) if row.feat in HOST else 0, vex


def generate(handlers: list[str], rows: list[Any]) -> str:
    """The text of gen/emit.h; handlers in the table's order (number 1 first)."""
    rules = _rules()
    out = ["/* Generated by isa/gen.py from emit_table.py. */", "#include <stdint.h>"]
    out += [f"#define E_{c.upper()} {i}" for i, c in enumerate(CLASSES)]
    out += [f"#define FORM_{f.upper() or 'NONE'} {i}" for i, f in enumerate(FORMS)]
    out += [f"#define {name} {bit}" for name, bit in ACCESS.items()]
    out += [f"#define STEP_{name} {i}" for i, name in enumerate(STEP_NAMES)]
    constants = ("C_FIRST", "C_SECOND", "C_ALL", "C_VVVV", "KILLS_IF_COUNT", "FAULTS_NEVER", "FAULTS_ALWAYS", "FAULTS_FP")
    out += [f"#define {name} {globals()[name]}" for name in constants]
    out.append("typedef struct { uint8_t cls, sub, form, size, access, width; uint16_t changes; uint8_t step, kills, faults; }"
               " EmitRow;")
    out.append("static const EmitRow emit_rows[] = {{0, 0, 0, 4, 0, 0, C_ALL, 0, 0, 0},")
    out += [f" {{{', '.join(map(str, classify(h, rules)))}}}, /* {h} */" for h in handlers]
    out.append("};")
    names = {"a": "ALIGNED", "w": "WHOLE", "d": "DEST", "0": "SELF", "f": "FP", "x": "XMM0"}
    out += [f"#define V_{name} {V_BITS[a]}" for a, name in names.items()]
    out.append("enum { ENC_SWAP = 16, ENC_VVVV = 32, VEX_IS = 1 };")
    out += [f"#define VEX_{name.removeprefix('vex_').upper()} {bit}" for name, bit in VEX_ATTRS.items()]
    out += [f"#define HOST_{h.upper()} {i}" for i, h in enumerate(HOST)]
    out += [f"#define X87_{k.upper()} {i}" for i, k in enumerate(X87_KINDS)]
    out.append("typedef struct { uint8_t kind, need, write, push, pop, codes, size, store; } X87Row;")
    out.append("static const X87Row x87_rows[] = {")
    out += [f" {{{', '.join(map(str, fields))}}}, /* {name} */" for name, (_, fields) in X87_ROWS.items()]
    out.append("};")
    out.append("typedef struct { uint8_t prefix, map, opcode, modrm, host, vex; } Encoding;")
    out.append("static const Encoding encodings[] = {{0, 0, 0, 0, 0, 0},")
    out += [f" {{{', '.join(map(str, encoding(r)))}}}, /* {r.name} */" for r in rows]
    out.append("};")
    return "\n".join(out) + "\n"
