"""System instructions: segments, far transfers, interrupts, system registers, ports. Notation: isa/__init__.py."""

ROWS = """
# segment registers
8C        | MOV Ev,Sw            |
8E        | MOV Sw,Ew            | end
06        | PUSH_ES              | i64
0E        | PUSH_CS              | i64
16        | PUSH_SS              | i64
1E        | PUSH_DS              | i64
0F A0     | PUSH_FS              | d64
0F A8     | PUSH_GS              | d64
07        | POP_ES               | i64 end
17        | POP_SS               | i64 end
1F        | POP_DS               | i64 end
0F A1     | POP_FS               | d64 end
0F A9     | POP_GS               | d64 end
C4        | LES Gv,Mp            | i64 end
C5        | LDS Gv,Mp            | i64 end
0F B2     | LSS Gv,Mp            | end
0F B4     | LFS Gv,Mp            | end
0F B5     | LGS Gv,Mp            | end

# far transfers
9A        | CALLF Ap             | i64 end
EA        | JMPF Ap              | i64 end
FF /3     | CALLF Mp             | end
FF /5     | JMPF Mp              | end
CA        | RETF Iw              | end
CB        | RETF                 | end
CF        | IRET                 | end f=:oszapcd
0F 05     | SYSCALL              | feat=syscall end f=oszapcd:oszapcd
0F 07     | SYSRET               | feat=syscall end f=:oszapcd
0F 34     | SYSENTER             | feat=sep end
0F 35     | SYSEXIT              | feat=sep end

# interrupts
CC        | INT3                 | end f=oszapcd
CD        | INT Ib               | end f=oszapcd
CE        | INTO                 | i64 end f=oszapcd
F1        | INT1                 | end f=oszapcd
62 m      | BOUND Gv,Ma          | i64 feat=i186
0F 0B     | UD2                  | end
0F B9     | UD1 Gv,Ev            | end
0F FF     | UD0 Gv,Ev            | end

# flags
9C        | PUSHF                | d64 f=oszapcd
9D        | POPF                 | d64 end f=:oszapcd
FA        | CLI                  |
FB        | STI                  | end
F4        | HLT                  | priv end
F3 90     | PAUSE                |

# control and debug registers
0F 20     | MOV Ry,Cd            | priv end force_reg
0F 22     | MOV Cd,Ry            | priv end force_reg
0F 21     | MOV Ry,Dd            | priv force_reg
0F 23     | MOV Dd,Ry            | priv end force_reg
0F 06     | CLTS                 | priv end
0F 01 /4  | SMSW Ev              |
0F 01 /6  | LMSW Ew              | priv end

# descriptor tables
0F 01 /0 m | SGDT Ms             |
0F 01 /1 m | SIDT Ms             |
0F 01 /2 m | LGDT Ms             | priv
0F 01 /3 m | LIDT Ms             | priv
0F 00 /0  | SLDT Ev              | pe
0F 00 /1  | STR Ev               | pe
0F 00 /2  | LLDT Ew              | pe end priv
0F 00 /3  | LTR Ew               | pe end priv
0F 00 /4  | VERR Ew              | pe end f=:z
0F 00 /5  | VERW Ew              | pe end f=:z
0F 02     | LAR Gv,Ew            | pe end f=:z
0F 03     | LSL Gv,Ew            | pe end f=:z
63        | ARPL Ew,Gw           | i64 pe f=:z

# TLB and caches
0F 01 /7 m | INVLPG Mb           | priv end feat=i486
66 0F 38 82 m | INVPCID Gy,Mdq   | priv end feat=invpcid
0F 08     | INVD                 | priv feat=i486
0F 09     | WBINVD               | priv feat=i486
F3 0F 09  | WBINVD               | priv feat=wbnoinvd
NP 0F AE /5 r | FENCE Rd         | feat=sse2
NP 0F AE /6 r | FENCE Rd         | feat=sse2
NP 0F AE /7 r | FENCE Rd         | feat=sse
NP 0F AE /7 m | CLFLUSH Mb       | feat=clflush
66 0F AE /7 m | CLFLUSH Mb       | feat=clflushopt
66 0F AE /6 m | CLFLUSH Mb       | feat=clwb

# ports
E4        | IN AL,Ib             | end time
E5        | IN eAX,Ib            | end time
EC        | IN AL,DX             | end time
ED        | IN eAX,DX            | end time
E6        | OUT Ib,AL            | end time
E7        | OUT Ib,eAX           | end time
EE        | OUT DX,AL            | end time
EF        | OUT DX,eAX           | end time

# counters, identification, model-specific registers
0F 31     | RDTSC                | feat=tsc end time
0F 01 @F9 | RDTSCP               | feat=rdtscp end time
0F 33     | RDPMC                | feat=i686
F3 0F C7 /7 r | RDPID Ry         | feat=rdpid
NP 0F C7 /6 r | RDRAND Rv        | feat=rdrand f=:oszapc
66 0F C7 /6 r | RDRAND Rv        | feat=rdrand f=:oszapc
NP 0F C7 /7 r | RDSEED Rv        | feat=rdseed f=:oszapc
66 0F C7 /7 r | RDSEED Rv        | feat=rdseed f=:oszapc
0F A2     | CPUID                | feat=i486
0F 30     | WRMSR                | priv feat=msr end time
0F 32     | RDMSR                | priv feat=msr end time

# bases, SMAP windows, waiting
0F 01 @F8 | SWAPGS               | o64 priv
F3 0F AE /0 r | RDFSBASE Ry      | o64 feat=fsgsbase
F3 0F AE /1 r | RDGSBASE Ry      | o64 feat=fsgsbase
F3 0F AE /2 r | WRFSBASE Ry      | o64 feat=fsgsbase
F3 0F AE /3 r | WRGSBASE Ry      | o64 feat=fsgsbase
NP 0F 01 @CA | CLAC              | feat=smap end
NP 0F 01 @CB | STAC              | feat=smap end
NP 0F 01 @C8 | MONITOR           | feat=monitor
NP 0F 01 @C9 | MWAIT             | feat=monitor end
"""
