"""The instruction set as one table in the manual's notation, and the generator that turns it into decoder tables.

A row is a line ``opcode | MNEMONIC operands | attributes`` in one of the ``rows_*.py`` files:

    00          | ADD Eb,Gb            | lock f=:oszapc
    83 /0       | ADD Ev,Ibs           | lock f=:oszapc
    50+r        | PUSH Zv              | d64
    NP 0F 58    | ADDPS Vx,Wx          | feat=sse
    0F 01 @D0   | XGETBV               | feat=xsave
    D9 @C0+i    | FLD ST               |
    VEX NP 0F 38 F2 | ANDN Gy,By,Ey    | feat=bmi1 f=:oszapc

Opcode column: ``VEX`` (encoded with a VEX prefix), a mandatory prefix (``NP 66 F3 F2``; none: any prefix, 66 then means
operand size), the escape bytes, the opcode (``+r``: a register in its low three bits), then ``/0`` .. ``/7`` (ModRM.reg),
``@E0`` (a whole ModRM byte of the register form; ``+i`` when its low three bits are a register), ``m`` or ``r`` (memory or
register form of ModRM only).

Operands (SDM vol. 2, A.2): ``E`` ModRM r/m general register or memory, ``G`` ModRM.reg, ``M`` memory only, ``R`` register
only, ``Z`` register in the opcode, ``B`` VEX.vvvv general register, ``I`` immediate (``Ib`` zero-extended, ``Ibs``
sign-extended, ``Iw``, ``Iz`` 16/32 sign-extended, ``Iv`` full operand size), ``J`` relative target, ``O`` memory offset,
``A`` far pointer, ``S`` segment register, ``C`` ``D`` control and debug register, ``V``/``W``/``U``/``H`` vector register
reg / r/m / r/m register only / vvvv, ``P``/``Q``/``N`` the same for MMX, ``L`` vector register in imm8[7:4], ``AL rAX CL DX``
fixed registers, ``1`` the constant one. Size letters: b w d q (8 16 32 64 bits), v (operand size), z (16 or 32),
y (32, or 64 with REX.W); for vector operands the rest of the name is documentation.

The handler of a row is found by name: ``op_<mnemonic>_<forms>_<bits>``, else without bits, else without forms. Forms has a
letter for each operand: ``r`` register (general, vector), ``q`` MMX register, ``m`` memory, ``i`` immediate, ``c`` CL,
``d`` DX or debug register, ``j`` relative, ``o`` offset, ``p`` far pointer, ``s`` segment register, ``x`` control register,
``t`` x87 register. Where the decoder puts them:

    destination register -> op.reg, second register -> op.rm (whichever ModRM field they came from); with H or B in
        between -> op.vvvv
    memory -> op.base/index/scale/disp/seg/am; the register beside it -> op.reg
    immediate, relative (from the block's pc), far pointer (offset | selector << 32) -> op.imm ; L -> op.is4
    8-bit registers are byte offsets into Cpu.r, all others numbers; segment/control/debug registers beside a general
        one: op.reg is
    the first operand's register, op.rm the second's; x87 register -> op.rm

Bits: 8/16/32/64 for operands b/v,z,y (the widest rule: the first operand whose letter is b w d q v z y decides; w=16 d=32
q=64).

Attributes: ``i64`` not in 64-bit mode, ``o64`` only there, ``d64`` operand size defaults to 64 in 64-bit mode, ``f64`` is
always 64 there, ``end`` ends the block, ``lock`` may be locked (memory destination), ``priv`` CPL 0 only (checked by
decoder's stub: #GP(0)), ``time`` reads the clock or ports, ``feat=name`` #UD unless the CPU model has it, ``pe`` #UD in
real and virtual-8086 mode, ``f=read:written:undefined`` flags among o s z a p c, ``nm`` x87/MMX: #NM by CR0.EM/TS (and
``fpu`` x87 rule), ``sse``: #UD by CR0.EM / CR4.OSFXSR, #NM by CR0.TS; ``mmx``: #UD by CR0.EM, #NM by CR0.TS; ``fpu``: #NM
by CR0.EM or TS; ``wait``: #NM by MP and TS; ``avx``: #UD unless CR4.OSXSAVE is set and XCR0 admits YMM state, #NM by CR0.TS. The
decoder applies those mode rules, so handlers never test CR0 or CR4.OSFXSR themselves.

VEX rows: ``vex_l0`` ``vex_l1`` ``vex_w0`` ``vex_w1`` the only value of VEX.L and VEX.W that is legal, ``lig`` VEX.L is ignored,
``avx2_l1`` the 256-bit form needs AVX2, ``vsib`` the index register of the memory operand is a vector (in op.is4; the rest of
the address as usual), ``legacy`` the handlers are those of the mnemonic without its V. An ``avx`` row without vex_l0, vex_l1 and
lig has a handler for each vector length: its name ends in ``_128`` or ``_256``.
"""
