"""The core's data: one CPU, one decoded instruction, one translated block.

Everything below the run loop is ``noexcept nogil`` and works on these structs. Their layout is a contract between the
handlers, the decoder, the memory path and (on x86-64 hosts) the emitter.
"""
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t)

ctypedef uint8_t u8
ctypedef uint16_t u16
ctypedef uint32_t u32
ctypedef uint64_t u64
ctypedef int8_t s8
ctypedef int16_t s16
ctypedef int32_t s32
ctypedef int64_t s64

cdef extern from "core.h" nogil:
    bint LIKELY(bint) noexcept
    bint UNLIKELY(bint) noexcept
    u64 mulhi_u64 "pcemu_mulhi_u64"(u64, u64) noexcept
    s64 mulhi_s64 "pcemu_mulhi_s64"(s64, s64) noexcept
    u64 div128 "pcemu_div128"(u64 hi, u64 lo, u64 d, u64* rem) noexcept
    int clz64 "pcemu_clz64"(u64) noexcept
    int ctz64 "pcemu_ctz64"(u64) noexcept
    int popcount64 "pcemu_popcount64"(u64) noexcept
    u64 bswap64 "pcemu_bswap64"(u64) noexcept
    u32 bswap32 "pcemu_bswap32"(u32) noexcept
    u16 bswap16 "pcemu_bswap16"(u16) noexcept
    int parity8 "pcemu_parity8"(u64) noexcept
    void store_release_u32 "pcemu_store_release_u32"(u32*, u32) noexcept
    u32 load_acquire_u32 "pcemu_load_acquire_u32"(u32*) noexcept
    u64 host_tsc "pcemu_host_tsc"() noexcept
    bint steady_tsc "pcemu_steady_tsc"() noexcept
    const u32 CR0_PG "PCEMU_CR0_PG"     # does not fit an enum

# ---------------------------------------------------------------------------------------------- registers
cdef enum:
    RAX = 0
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    R_ZERO = 16         # always 0: 'no base' and 'no index'
    R_PC = 17           # rip/eip of the first instruction of the running block: the base of pc-relative operands
    N_REGS = 18

cdef enum:              # segment slots, in the machine's encoding
    ES = 0
    CS = 1
    SS = 2
    DS = 3
    FS = 4
    GS = 5
    SEG_FLAT = 6        # base 0, no limit: what ES/CS/SS/DS are in 64-bit mode
    LDTR = 7
    TR = 8
    N_SEGS = 9

cdef enum:              # EFLAGS (SDM vol. 1, 3.4.3)
    F_CF = 1 << 0
    F_PF = 1 << 2
    F_AF = 1 << 4
    F_ZF = 1 << 6
    F_SF = 1 << 7
    F_TF = 1 << 8
    F_IF = 1 << 9
    F_DF = 1 << 10
    F_OF = 1 << 11
    F_IOPL = 3 << 12
    F_NT = 1 << 14
    F_RF = 1 << 16
    F_VM = 1 << 17
    F_AC = 1 << 18
    F_VIF = 1 << 19
    F_VIP = 1 << 20
    F_ID = 1 << 21
    F_ARITH = 0x8D5     # OF SF ZF AF PF CF

cdef enum:              # control register bits (SDM vol. 3, 2.5)
    CR0_PE = 1 << 0
    CR0_MP = 1 << 1
    CR0_EM = 1 << 2
    CR0_TS = 1 << 3
    CR0_ET = 1 << 4
    CR0_NE = 1 << 5
    CR0_WP = 1 << 16
    CR0_AM = 1 << 18
    CR0_NW = 1 << 29
    CR0_CD = 1 << 30
    CR4_VME = 1 << 0
    CR4_PVI = 1 << 1
    CR4_TSD = 1 << 2
    CR4_DE = 1 << 3
    CR4_PSE = 1 << 4
    CR4_PAE = 1 << 5
    CR4_MCE = 1 << 6
    CR4_PGE = 1 << 7
    CR4_PCE = 1 << 8
    CR4_OSFXSR = 1 << 9
    CR4_OSXMMEXCPT = 1 << 10
    CR4_UMIP = 1 << 11
    CR4_FSGSBASE = 1 << 16
    CR4_PCIDE = 1 << 17
    CR4_OSXSAVE = 1 << 18
    CR4_SMEP = 1 << 20
    CR4_SMAP = 1 << 21
    EFER_SCE = 1 << 0
    EFER_LME = 1 << 8
    EFER_LMA = 1 << 10
    EFER_NXE = 1 << 11

cdef enum:              # exception vectors (SDM vol. 3, 6.3.1)
    EXC_DE = 0
    EXC_DB = 1
    EXC_NMI = 2
    EXC_BP = 3
    EXC_OF = 4
    EXC_BR = 5
    EXC_UD = 6
    EXC_NM = 7
    EXC_DF = 8
    EXC_TS = 10
    EXC_NP = 11
    EXC_SS = 12
    EXC_GP = 13
    EXC_PF = 14
    EXC_MF = 16
    EXC_AC = 17
    EXC_MC = 18
    EXC_XM = 19

# ------------------------------------------------------------------------------------------------- flags
# One lazy form: {kind, result, source}. `cc_res` is the result sign-extended from the operation's size to 64 bits, so
# ZF, SF and PF need no size. `cc_src` is the second operand. kind = class + log2(size in bytes) where the size matters.
cdef enum:
    K_ADD = 0           # +0..3: res = a + src
    K_SUB = 4           # res = a - src (SUB, CMP, NEG, SCAS, CMPS)
    K_ADC = 8           # res = a + src + 1: the carry in was set (else K_ADD)
    K_SBB = 12          # res = a - src - 1: the borrow in was set (else K_SUB)
    K_INC = 16          # CF is kept in src
    K_DEC = 20
    K_LOGIC = 24        # CF = OF = AF = 0
    K_RES = 28          # ZF SF PF from res; CF, AF, OF are given in src at their EFLAGS places
    K_EFL = 29          # all six are given in src
    K_SHL = 32          # src: shifted by one less, so that the last bit out is its top bit; OF = that ^ the result's
    K_SHR = 36          # SHR, SAR: ... its lowest bit; OF = the result's two top bits differ

# ------------------------------------------------------------------------------------------------- op
cdef struct Cpu
cdef struct Op
cdef struct Block
cdef struct Mach

ctypedef Op* (*OpFn)(Cpu* c, Op* op) noexcept nogil
ctypedef void (*AddFn)(const char* name, OpFn fn) noexcept nogil     # how a family registers its handlers

cdef struct Op:         # 48 bytes (checked at import)
    OpFn fn             # handler; returns the next op, or NULL to leave the run loop
    u64 imm             # immediate; sign-extended where the manual says so. Branches: offset of the target from the block's pc
    s32 disp            # displacement; for rip-relative operands already relative to the block's pc
    u16 kind            # row of the instruction table
    u16 pcoff           # offset of this instruction from the block's pc
    u8 reg              # register operands. 8-bit registers: byte offset into Cpu.r (AH = 1), others: register number
    u8 rm
    u8 base             # address: r[base] + (r[index] << scale) + disp + seg[seg].base
    u8 index
    u8 vvvv
    u8 is4
    u8 seg
    u8 scale            # bits 0-1: scale; 2-3: log2 of the address size in bytes (1, 2, 3)
    u8 am               # address mode: AM_FLAT64, AM_FLAT32, AM_GENERAL
    u8 osz              # bits 0-1: log2 of the operand size in bytes; 2-3: vector length; OSZ_REP, OSZ_REPNE, OSZ_LOCK
    u8 fneed            # flags read / written / undefined after, as FB_* bits
    u8 fdef
    u8 fundef
    u8 length           # of the instruction in bytes
    u16 props           # OP_* bits
    u64 jit             # the emitter's scratch

cdef enum:
    AM_FLAT64 = 0       # 64-bit sum plus segment base; nothing to check but canonicality (the TLB never matches such)
    AM_FLAT32 = 1       # sum truncated to 32 bits, plus segment base; no limit to check
    AM_GENERAL = 2      # everything else: ea_general()
    OSZ_REP = 1 << 4    # F3
    OSZ_REPNE = 1 << 5  # F2
    OSZ_LOCK = 1 << 6
    OP_MAYFAULT = 1
    OP_END = 2          # ends its block
    OP_TIME = 4         # reads the clock or touches a port
    OP_SERIAL = 8       # serialises / changes the mode
    OP_PRIV = 16        # CPL 0 only

cdef struct Block:
    u64 addr            # offset of its first byte in host RAM space (Mach.ram): the physical key
    u32 mode
    u32 n               # instructions; N_DEAD once invalidated, so that no budget ever admits it
    u32 nbytes
    u32 cross           # the (only) instruction crosses into another page: bytes of it that lie there
    u8 tail[16]         # ... and these they were: compared, with a fresh translation, at every entry
    Op* ops             # n ops and a final one that leaves (falls through to the next pc); with M_LIM another before them
    Block* chain0       # successors inside the page: not taken / fall through, taken
    Block* chain1       # (an indirect jump: where it went to last)
    Block* hnext        # hash chain
    Block* pnext        # next block on the same page
    u32 count           # executions, until it is compiled; then the instructions retired by that time (or see count_rest())
    u32 n_ops           # ops before the final one, as translated: what a dead block still takes back on a fault
    u8* code            # compiled: its body (the budget is paid), or NULL
    u8* entry           # ... its head, which pays: what other blocks jump to
    u8* head            # ... the writable place of the number of instructions in it
    u64 unit_lo         # ... the code it was compiled from: this block and those that run after it, all in its page
    u64 unit_hi
    u32 unit_n          # ... instructions of them all
    u32 strays          # ... how often a group of accesses was not in one page of the TLB
    u32 code_size       # ... bytes of host code from its entry on
    u32 heat            # executions before it is compiled

cdef enum:
    N_DEAD = 0x7fffffff

# ------------------------------------------------------------------------------------------------- tlb
cdef enum:
    TLB_BITS = 12
    TLB_SIZE = 1 << 12
    TLB_MASK = (1 << 12) - 1
    CW_MASK = 63
    SMC_PATIENCE = 32   # slow stores to a page whose code is gone before it is ordinary memory again
    JC_BITS = 12
    JC_MASK = (1 << 12) - 1
    MMU_USER = 0
    MMU_KERNEL = 1      # CPL 0-2, SMAP in force
    MMU_KERNEL_AC = 2   # CPL 0-2, user pages reachable
    N_MMU = 3
    ACC_READ = 0
    ACC_WRITE = 1
    ACC_EXEC = 2

cdef enum:
    TS_GLOBAL = 1
    TS_LISTED = 2
    TS_KEPT = 4
    L2_BITS = 13
    L2_SIZE = 1 << 13
    L2_GLOBAL = 1       # L2Entry.flags: which of Cpu.l2_gens must match
    L2_READ = 2
    L2_WRITE = 4

cdef struct TlbEntry:   # valid for va when va - tag <= 4096 - size
    u64 tag
    u8* host

cdef struct Tlb:
    TlbEntry e[4096]
    u8 state[4096]      # TS_GLOBAL: holds a global page; TS_LISTED: is in `used`; TS_KEPT: is in `kept`
    u16 used[4096]      # slots filled since the last flush, so that a flush costs what was filled
    u16 kept[4096]      # ... with global pages: a flush that spares those does not even look here
    u32 n_used
    u32 n_kept

cdef struct L2Entry:    # second level, for what the first one's slots cannot hold together; a flush only changes Cpu.l2_gens
    u64 tag
    u8* host
    u32 gen
    u32 flags

cdef struct JcEntry:    # jump cache: virtual pc -> block
    u64 lin
    u64 key             # generation << 32 | mode
    Block* block
    u8* code            # where compiled code goes on: the block's entry, or the thunk that interprets it

# ------------------------------------------------------------------------------------------------- cpu
cdef struct Seg:        # 32 bytes
    u64 base
    u32 limit           # in bytes, inclusive
    u32 flags           # bits 8-23 as in the high dword of a descriptor (type, S, DPL, P, AVL, L, D/B, G)
    u16 sel
    u16 pad0
    u32 pad1
    u64 pad2

cdef enum:              # Seg.flags
    DESC_A = 1 << 8
    DESC_RW = 1 << 9    # data: writable, code: readable
    DESC_CE = 1 << 10   # data: expand down, code: conforming
    DESC_CODE = 1 << 11
    DESC_S = 1 << 12
    DESC_DPL_SHIFT = 13
    DESC_P = 1 << 15
    DESC_AVL = 1 << 20
    DESC_L = 1 << 21
    DESC_B = 1 << 22
    DESC_G = 1 << 23

cdef enum:              # Cpu.exit: why the run loop was left
    EXIT_NONE = 0
    EXIT_PC = 1         # continue at Cpu.pc (no chain, jump cache miss, or something to look at)
    EXIT_FAULT = 2      # exception pending in Cpu.exc_*; the op at Cpu.fault_op did not complete
    EXIT_SINGLE = 3     # re-run the op at Cpu.fault_op as a block of one (device access, store into the running block)
    EXIT_HALT = 4
    EXIT_SHUTDOWN = 5   # triple fault
    EXIT_CALLBACK = 6   # a Python exception is kept in the Cpu object
    EXIT_INT = 7        # software interrupt: the instruction completed, deliver Cpu.exc_vector with pc = Cpu.pc

cdef enum:              # Cpu.pending: what the engine looks at between blocks
    PEND_INTR = 1
    PEND_NMI = 2
    PEND_INIT = 4
    PEND_DEBUG = 16     # pending debug exception in Cpu.dr6_pending

cdef enum:              # Cpu.shadow: for the one instruction after STI, MOV SS, POP SS
    SHADOW_NONE = 0
    SHADOW_STI = 1      # interrupts are held
    SHADOW_SS = 2       # ... and NMI and debug traps (SDM vol. 3, 6.8.3)
    SHADOW_CODE = 4     # ... and, by Intel's, instruction breakpoints

cdef enum:              # Cpu.mode bits, the second half of a block's key
    M_CODE16 = 0
    M_CODE32 = 1
    M_CODE64 = 2
    M_CODE_MASK = 3
    M_SS32 = 1 << 2     # SS.B: the stack pointer is ESP (RSP in 64-bit mode)
    M_CPL_SHIFT = 3     # two bits
    M_PE = 1 << 5
    M_VM = 1 << 6
    M_FLAT = 1 << 7     # CS DS ES SS: base 0, limit 4 GiB, writable data: AM_FLAT32 is right
    M_EM = 1 << 8
    M_TS = 1 << 9
    M_MP = 1 << 10
    M_OSFXSR = 1 << 11
    M_OSXSAVE = 1 << 12
    M_TF = 1 << 13      # one instruction at a time: EFLAGS.TF, execution breakpoints of DR7 or of a debugger
    M_AC = 1 << 14      # alignment checks in force: every operand takes AM_GENERAL
    M_NE = 1 << 15
    M_LMA = 1 << 16
    M_AVX = 1 << 17     # XCR0 admits YMM state
    M_FPX = 1 << 19     # MXCSR unmasks an exception: compiled code leaves SSE arithmetic to the handlers
    M_LIM = 1 << 18     # CS has a limit below 4 GiB: blocks begin with a check of it
    M_MMU_SHIFT = 20    # two bits: MMU_*

cdef enum:              # Cpu.lock_pass
    LOCK_OFF = 0        # nothing that will be compared
    LOCK_HANDLERS = 1   # a run by handlers alone,
    LOCK_COMPILED = 2   # ... the same by compiled code

cdef struct ClockState:     # virtual time (clock.Clock)
    s64 deadline            # ns of the next timer
    s64 offset              # host mode: virtual = host monotonic - offset while running
    s64 warp                # icount mode: ns jumped over while halted
    s64 frozen              # virtual ns while stopped (host mode)
    s64 seen                # the latest time the guest has read: hold_back() does not go below it
    u32 icount              # time is instructions << shift
    u32 shift
    u32 running
    u32 quick               # the host's time-stamp counter can stand in for its clock between looks at that (vtime.read_tsc)
    u64 anchor_tsc          # ... the last look
    s64 anchor_ns
    u64 base_tsc            # ... one up to a second before, for the rate
    s64 base_ns
    u64 rate                # ns a tick, << 32; 0: not known yet

cdef struct Watch:
    u64 addr                # linear
    u64 size
    u32 kind                # debug.WATCH_*

cdef struct Debugger:       # what a debugger has asked of a CPU (debug.pxd)
    u64* breakpoints        # linear addresses
    Watch* watches
    u32 n_breakpoints
    u32 n_watches
    u32 passing             # it steps: run() goes past breakpoints
    u32 hit                 # a watched access was made: number of the Watch, counted from 1
    u64 filter[16]          # a bit for the low ten bits of each breakpoint

cdef enum:
    MUCH_TOIL = 1 << 17     # a tenth of a millisecond or more: elements of string instructions ...
    TRANSLATING = 64        # ... or as many a translated instruction,
    KILLING = 1024          # ... a store to translated code

cdef struct Lost:           # pages that the jump cache may still hold and the execute TLB does not (tlb.put_code)
    u64 filter[16]          # a bit for the hash of each
    u32 any
    u32 local               # one that is not global

cdef struct Cpu:
    u64 r[18]
    # lazy flags
    u64 cc_res
    u64 cc_src
    u32 cc_kind
    u32 eflags          # everything but the six arithmetic flags (those bits are 0 here); bit 1 set
    s64 budget          # instructions left in this quantum; a block head subtracts its length
    TlbEntry* tlb_r     # the running mmu index's arrays
    TlbEntry* tlb_w
    TlbEntry* tlb_x
    Block* cur
    u64 jckey
    u64 pc              # where to continue, when exit says so
    u64 pgpc            # compiled code: pc of the running page's first byte (r[R_PC] = pgpc + the block's place in it)
    u64 jtmp            # compiled code: passed between its thunks
    u64 jdelta[16]      # ... host minus guest address of pages that a group of accesses was checked for; operands of flags
    Block** link        # chain slot to fill once the next block is known, or NULL
    Op* fault_op
    u32 exit
    u32 pending
    u32 mode
    u32 cpl
    u32 mmu
    u32 shadow          # SHADOW_*: what is held while exactly shadow_at instructions have retired
    u32 nmi_blocked
    u32 single          # a block of one is running: device accesses are allowed
    u32 leave_req       # a device callback changed something the engine must look at: leave after this instruction
    u32 host_fp         # the host's MXCSR is the guest's
    u64 ea              # result of ea_general() and of a segment-checked address
    # exception being raised
    u32 exc_vector
    u32 exc_has_err
    u32 exc_err
    u32 exc_soft        # INT n, INT3, INTO: no RF, DPL checks apply
    u64 cr2_next        # becomes CR2 when the page fault is delivered
    # store buffer of page-crossing and device operands
    u64 w_pa0
    u64 w_pa1
    u32 w_size
    u32 w_kind
    u8 lbuf[64]
    u8 wbuf[64]
    # segments, tables, control
    Seg seg[9]
    u64 gdt_base
    u64 idt_base
    u32 gdt_limit
    u32 idt_limit
    u64 cr0
    u64 cr2
    u64 cr3
    u64 cr4
    u64 cr8
    u64 efer
    u64 dr[8]
    u64 xcr0
    u64 pdpte[4]        # PAE: loaded with CR3
    u64 a20_mask
    u64 phys_mask       # valid physical address bits
    u64 dr6_pending
    # model-specific registers
    u64 star
    u64 lstar
    u64 cstar
    u64 sfmask
    u64 kernel_gs_base
    u64 sysenter_cs
    u64 sysenter_esp
    u64 sysenter_eip
    u64 tsc_aux
    u64 tsc_offset
    u64 apic_base
    u64 pat
    u64 misc_enable
    u64 mtrr_def
    u64 mtrr_fix[11]
    u64 mtrr_var[16]
    u64 mcg_status
    u64 mc_regs[40]
    u64 spec_ctrl
    u64 xss
    u64 feature_control
    u64 debugctl
    u64 vm_hsave
    # x87: registers as 80-bit values in 16-byte slots, physical order
    u64 fpr[16]         # fpr[2*i] significand, fpr[2*i+1] sign and exponent (low 16 bits)
    u16 fcw
    u16 fsw             # without TOP
    u8 ftop
    u8 ftag             # abridged: bit i set = physical register i not empty
    u16 fop
    u64 fip
    u64 fdp
    u16 fcs
    u16 fds
    u32 mxcsr
    u64 vec_pad[4]      # (emit.pyx checks)
    u8 vec[16][32]      # YMM; the low 16 bytes are XMM. On a multiple of 32
    # features, cpuid
    u64 feat[8]         # bit array of isa feature numbers the model has
    # counters
    u64 icount_end      # instructions retired when the budget reaches 0: icount = icount_end - budget
    ClockState* clk
    u32 in_callback     # a device callback of the running instruction is on the stack
    u32 large_pages     # a 2 MiB/4 MiB/1 GiB page has been in the TLB since the last full flush
    u64 large_bloom[4]  # ... of these 2 MiB regions (hashed): INVLPG must drop all their fragments
    u64 n_tlb_fill
    u64 n_flush
    u64 n_lookup
    u64 n_single
    u64 n_trans
    u64 n_trans_insn
    u64 n_exc
    u64 n_irq
    u32 jc_gen          # the latest generation of the jump cache's keys, and those of blocks of CPL 3 and of others
    u32 jc_user
    u32 jc_kernel
    u32 map_gen
    u64 rng
    Mach* m
    void* pyobj         # the owning Python object (borrowed)
    void* io            # latch.PortTable of the IoSpace (borrowed)
    u32 in_insn         # 1 while an instruction runs: the count includes it already
    u32 id
    u32 halted
    u32 running
    u32 leave_now
    TlbEntry cw[3][64]  # pages that hold code and may be written: stores look here before they walk
    u32 cw_used
    u32 fp_left         # the host's own floating-point environment is in force during a callback
    Debugger debugger
    Block scratch       # the block of one that is never cached
    Op scratch_ops[2]
    Op slow_ops[2]      # compiled code: the op whose handler is called, and one that comes back
    u32 exit_request_pad[12]
    u32 exit_request    # set from other threads; alone on its cache line
    u32 pad2[15]
    # system instructions (segments, task, interrupts, x_sys, x_msr)
    u64 shadow_at
    u64 rf_icount       # RF is set while exactly this many instructions have retired; it is never in eflags
    u32 step_after      # INT n, SYSCALL, SYSRET: whether this instruction single-steps goes by TF after it, not before
    u32 switched        # a task switch passed the point of no return: its faults belong to the new task, at Cpu.pc
    u32 monitor_armed   # MONITOR: MWAIT waits only if nothing has happened since
    u32 n_cpuid
    u64 monitor_va
    u64 monitor_value
    u32* cpuid_tab      # n_cpuid rows of six: leaf, subleaf (or ~0), eax, ebx, ecx, edx
    u64 arch_caps       # MSR 0x10a
    u64 tsc_adjust
    u64 hwcr            # AMD: HWCR, SYSCFG, DE_CFG
    u64 syscfg
    u64 de_cfg
    u64 msr_scratch[8]  # written and read back, without effect
    u64 n_bad_msr       # accesses to MSRs that do not exist, and the last one
    u32 bad_msr
    u32 bad_msr_write
    void* pcids         # TLB entries of address spaces that do not run (pcid.pyx)
    u64 tlb_gen         # counts flushes of everything; never 0
    u64 n_cold          # instructions of blocks that the interpreter ran although their mode is one that is compiled
    void* lock          # lockstep.Lock, or NULL
    u32 lock_pass       # LOCK_*: what runs now
    u32 pad3
    JcEntry jc[4096]
    Tlb tr[3]
    Tlb tw[3]
    Tlb tx[3]           # slots by tx_slot(): code 16 MiB apart does not collide
    Lost lost[2]        # pages of code that others have taken the slots of: of CPL 3, and of the other levels
    u64 n_l2_hit
    u32 l2_gens[2]      # of entries that are not global, and of those that are
    L2Entry l2[3][8192]
    # the engine's looks at the outside world
    u64 quantum         # instructions from one to the next
    u64 look_icount     # the last one: instructions retired, virtual ns
    s64 look_ns
    u64 toil            # done since beyond what the count of instructions says; MUCH_TOIL is worth a look
    u64 n_looks         # looks, and how often run() returned
    u64 n_exits

# ------------------------------------------------------------------------------------------------- machine
cdef struct PageInfo:   # one for each 4 KiB page of host RAM space
    u64 bitmap          # 64 bytes a bit: holds translated code
    Block* blocks
    u32 next            # list of pages that have held blocks since the last flush_all(): 1 + the next one's number; 0: not in it
    u16 smc             # stores still to come by the slow path, after code was translated here
    u16 heat            # as Mach.heat, for code in what was stored lately; 0: not decided
    u64 stored          # 64 bytes a bit: stored to by the guest while there was code in the page

cdef enum:
    R_UNMAPPED = 0
    R_RAM = 1
    R_ROM = 2
    R_MMIO = 3

cdef struct Range:      # of the flattened physical map
    u64 start
    u64 end             # inclusive
    u64 off             # ram/rom: offset in host RAM space of start; mmio: device offset of start
    u32 kind
    u32 target          # index of the handler object

cdef struct Mach:
    u8* ram             # host RAM space: every RAM, ROM and VRAM block, one mapping
    u64 ram_size        # reserved
    u64 ram_used
    PageInfo* pages
    Range* ranges
    Range* last_range
    u32 n_ranges
    u32 map_gen
    # blocks
    Block** hash
    u64 hash_mask
    u8* arena
    u64 arena_size
    u64 arena_used
    u64 n_blocks
    u64 n_invalidated
    u64 n_flush_all
    u64 flush_ns        # the longest time that dropping them all took
    u32 log_code        # CpuCore.code_hook is to hear of blocks that are translated (1) and compiled (2)
    u32 inject          # tests: emitters of this class make a mistake (0: none)
    void* pymem         # borrowed
    # compiled code (jit.pyx): one memory, mapped writable at one place and executable at another
    u8* code_rw
    u8* code_rx         # NULL: not on this host, or never switched on
    u64 code_size
    u64 code_base       # the thunks end here
    u64 code_used
    u32 code_full       # drop everything at the next turn of the run loop
    u32 heat            # executions of a block before it is compiled
    u8* thunk_interp
    u64 n_compiled
    u64 n_compiled_insn
    u64 n_compiled_bytes
    u64 compile_ns
    void* compiler      # its context, while it writes a unit (jit.pyx)
    u64* calls          # by handler: how often compiled code called it
    u32 code_off        # interpret, although there is memory for compiled code (CpuCore.jit)
    u64 n_code_stores   # by compiled code into pages that hold code, or have held it lately
    u64 translate_ns    # from guest bytes to ops
    u64[8] exits        # to the run loop, by Cpu.exit
    u64[8] unit_exits   # ... out of compiled code, by OUT_* (jit.pxd)
    u64[16] turns       # out of the run loop, by RUN_* (runloop.pxd)
    u64 now             # instructions retired at the guest's latest store into a page with code
    u32 code_pages      # the first of the list of pages that have held blocks: as PageInfo.next
    u32 n_code_pages
    u64[64] splits      # places (hashed) of instructions that stored into their own blocks: blocks end before them
    Block* graves[1024]  # compiled blocks that have died, by slots of addr and mode: what jumps to them is led on (blocks.grave)
