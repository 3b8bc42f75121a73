"""Processor models as data. A line is

    name | derived from | vendor family.model.stepping, highest basic and extended CPUID leaf | model id | feature changes

with the vendor's initial (I Intel, A AMD, H Hygon); indented lines continue the changes. Names, identification and feature sets
are QEMU's, so that a guest image sees the processor it knows; what this core lacks is dropped when a model is used.
"""
from __future__ import annotations

VENDORS = {"I": "GenuineIntel", "A": "AuthenticAMD", "H": "HygonGenuine"}

MODELS = """
486-v1                | -                     | I 4.8.0      1 0        |                                               |
    +fpu +pse +vme
pentium-v1            | 486-v1                | I 5.4.3      1 0        |                                               |
    +de +tsc +msr +mce +cx8 +apic +mmx
pentium2-v1           | pentium-v1            | I 6.5.2      2 0        |                                               |
    +pae +sep +mtrr +pge +mca +cmov +pat +pse36 +fxsr
pentium3-v1           | pentium2-v1           | I 6.7.3      3 0        |                                               | +sse
coreduo-v1            | pentium3-v1           | I 6.14.8     a 80000008 | Genuine Intel(R) CPU           T2600  @ 2.16GHz |
    +clflush +acpi +sse2 +ss +pni +monitor +nx -pse36
n270-v1               | coreduo-v1            | I 6.28.2     a 80000008 | Intel(R) Atom(TM) CPU N270   @ 1.60GHz        |
    +ssse3 +movbe +lahf-lm
core2duo-v1           | n270-v1               | I 6.15.11    a 80000008 | Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz |
    +pse36 +cx16 +syscall +lm -movbe
Conroe-v1             | core2duo-v1           | I 6.15.3     a 80000008 | Intel Celeron_4x0 (Conroe/Merom Class Core 2) |
    -acpi -ss -monitor -cx16
Penryn-v1             | Conroe-v1             | I 6.23.3     a 80000008 | Intel Core 2 Duo P9xxx (Penryn Class Core 2)  |
    +cx16 +sse4.1
Nehalem-v1            | Penryn-v1             | I 6.26.3     b 80000008 | Intel Core i7 9xx (Nehalem Class Core i7)     |
    +sse4.2 +popcnt
Nehalem-v2            | Nehalem-v1            | I 6.26.3     b 80000008 | Intel Core i7 9xx (Nehalem Core i7, IBRS update) |
    +spec-ctrl
Westmere-v1           | Nehalem-v1            | I 6.44.1     b 80000008 | Westmere E56xx/L56xx/X56xx (Nehalem-C)        |
    +pclmulqdq +aes +arat
Westmere-v2           | Westmere-v1           | I 6.44.1     b 80000008 | Westmere E56xx/L56xx/X56xx (IBRS update)      |
    +spec-ctrl
SandyBridge-v1        | Westmere-v1           | I 6.42.1     d 80000008 | Intel Xeon E312xx (Sandy Bridge)              |
    +x2apic +tsc-deadline +xsave +avx +rdtscp +xsaveopt
SandyBridge-v2        | SandyBridge-v1        | I 6.42.1     d 80000008 | Intel Xeon E312xx (Sandy Bridge, IBRS update) |
    +spec-ctrl
IvyBridge-v1          | SandyBridge-v1        | I 6.58.9     d 80000008 | Intel Xeon E3-12xx v2 (Ivy Bridge)            |
    +f16c +rdrand +fsgsbase +smep +erms
IvyBridge-v2          | IvyBridge-v1          | I 6.58.9     d 80000008 | Intel Xeon E3-12xx v2 (Ivy Bridge, IBRS)      |
    +spec-ctrl
Haswell-v1            | IvyBridge-v1          | I 6.60.4     d 80000008 | Intel Core Processor (Haswell)                |
    +fma +pcid +movbe +bmi1 +hle +avx2 +bmi2 +invpcid +rtm +abm
Haswell-v2            | Haswell-v1            | I 6.60.1     d 80000008 | Intel Core Processor (Haswell, no TSX)        |
    -hle -rtm
Haswell-v3            | Haswell-v1            | I 6.60.4     d 80000008 | Intel Core Processor (Haswell, IBRS)          |
    +spec-ctrl
Haswell-v4            | Haswell-v2            | I 6.60.1     d 80000008 | Intel Core Processor (Haswell, no TSX, IBRS)  |
    +spec-ctrl
Broadwell-v1          | Haswell-v1            | I 6.61.2     d 80000008 | Intel Core Processor (Broadwell)              |
    +rdseed +adx +smap +3dnowprefetch
Broadwell-v2          | Broadwell-v1          | I 6.61.2     d 80000008 | Intel Core Processor (Broadwell, no TSX)      |
    -hle -rtm
Broadwell-v3          | Broadwell-v1          | I 6.61.2     d 80000008 | Intel Core Processor (Broadwell, IBRS)        |
    +spec-ctrl
Broadwell-v4          | Broadwell-v2          | I 6.61.2     d 80000008 | Intel Core Processor (Broadwell, no TSX, IBRS) |
    +spec-ctrl
Skylake-Client-v1     | Broadwell-v1          | I 6.94.3     d 80000008 | Intel Core Processor (Skylake)                |
    +xsavec +xgetbv1
Skylake-Client-v2     | Skylake-Client-v1     | I 6.94.3     d 80000008 | Intel Core Processor (Skylake, IBRS)          |
    +spec-ctrl
Skylake-Client-v3     | Broadwell-v4          | I 6.94.3     d 80000008 | Intel Core Processor (Skylake, IBRS, no TSX)  |
    +xsavec +xgetbv1
Skylake-Client-v4     | Skylake-Client-v3     | I 6.94.3     d 80000008 | Intel Core Processor (Skylake, IBRS, no TSX)  |
    +xsaves
Skylake-Server-v1     | Skylake-Client-v1     | I 6.85.4     d 80000008 | Intel Xeon Processor (Skylake)                |
    +avx512f +avx512dq +clflushopt +clwb +avx512cd +avx512bw +avx512vl +pku +pdpe1gb
Skylake-Server-v2     | Skylake-Server-v1     | I 6.85.4     d 80000008 | Intel Xeon Processor (Skylake, IBRS)          |
    +spec-ctrl -clflushopt
Skylake-Server-v3     | Skylake-Server-v2     | I 6.85.4     d 80000008 | Intel Xeon Processor (Skylake, IBRS, no TSX)  |
    -hle -rtm
Skylake-Server-v4     | Skylake-Server-v3     | I 6.85.4     d 80000008 | Intel Xeon Processor (Skylake, IBRS, no TSX)  |
Skylake-Server-v5     | Skylake-Server-v3     | I 6.85.4     d 80000008 | Intel Xeon Processor (Skylake, IBRS, no TSX)  |
    +xsaves
Cascadelake-Server-v1 | Skylake-Server-v1     | I 6.85.6     d 80000008 | Intel Xeon Processor (Cascadelake)            |
    +avx512vnni +spec-ctrl +ssbd
Cascadelake-Server-v2 | Cascadelake-Server-v1 | I 6.85.6     d 80000008 | Intel Xeon Processor (Cascadelake)            |
    +arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no
Cascadelake-Server-v3 | Cascadelake-Server-v2 | I 6.85.6     d 80000008 | Intel Xeon Processor (Cascadelake)            |
    -hle -rtm
Cascadelake-Server-v4 | Cascadelake-Server-v3 | I 6.85.6     d 80000008 | Intel Xeon Processor (Cascadelake)            |
Cascadelake-Server-v5 | Cascadelake-Server-v3 | I 6.85.6     d 80000008 | Intel Xeon Processor (Cascadelake)            |
    +xsaves
Cooperlake-v1         | Cascadelake-Server-v2 | I 6.85.10    d 80000008 | Intel Xeon Processor (Cooperlake)             |
    +stibp +avx512-bf16 +pschange-mc-no +taa-no
Cooperlake-v2         | Cooperlake-v1         | I 6.85.10    d 80000008 | Intel Xeon Processor (Cooperlake)             |
    +xsaves
Icelake-Server-v1     | Cascadelake-Server-v1 | I 6.134.0    d 80000008 | Intel Xeon Processor (Icelake)                |
    +avx512vbmi +umip +avx512vbmi2 +gfni +vaes +vpclmulqdq +avx512bitalg +avx512-vpopcntdq +la57 +wbnoinvd
Icelake-Server-v2     | Icelake-Server-v1     | I 6.134.0    d 80000008 | Intel Xeon Processor (Icelake)                |
    -hle -rtm
Icelake-Server-v3     | Icelake-Server-v2     | I 6.134.0    d 80000008 | Intel Xeon Processor (Icelake)                |
    +arch-capabilities +rdctl-no +ibrs-all +skip-l1dfl-vmentry +mds-no +pschange-mc-no +taa-no
Icelake-Server-v4     | Icelake-Server-v3     | I 6.106.0    d 80000008 | Intel Xeon Processor (Icelake)                |
    +avx512ifma +sha-ni +rdpid +fsrm
Icelake-Server-v5     | Icelake-Server-v4     | I 6.106.0    d 80000008 | Intel Xeon Processor (Icelake)                |
    +xsaves
Icelake-Server-v6     | Icelake-Server-v5     | I 6.106.0    d 80000008 | Intel Xeon Processor (Icelake)                |
Denverton-v1          | IvyBridge-v2          | I 6.95.1    15 80000008 | Intel Atom Processor (Denverton)              |
    +monitor +movbe +mpx +rdseed +smap +clflushopt +sha-ni +arch-capabilities +ssbd +pdpe1gb +3dnowprefetch +xsavec
    +xgetbv1 +rdctl-no +skip-l1dfl-vmentry -avx -f16c
Denverton-v2          | Denverton-v1          | I 6.95.1    15 80000008 | Intel Atom Processor (Denverton)              |
    -monitor -mpx
Denverton-v3          | Denverton-v2          | I 6.95.1    15 80000008 | Intel Atom Processor (Denverton)              |
    +xsaves
Snowridge-v1          | Denverton-v1          | I 6.134.1   1b 80000008 | Intel Atom Processor (SnowRidge)              |
    +clwb +umip +gfni +cldemote +movdiri +movdir64b +core-capability -rdctl-no -skip-l1dfl-vmentry
Snowridge-v2          | Snowridge-v1          | I 6.134.1   1b 80000008 | Intel Atom Processor (Snowridge, no MPX)      | -mpx
Snowridge-v3          | Snowridge-v2          | I 6.134.1   1b 80000008 | Intel Atom Processor (Snowridge, no MPX)      |
    +xsaves
Snowridge-v4          | Snowridge-v3          | I 6.134.1   1b 80000008 | Intel Atom Processor (Snowridge, no MPX)      |
    -core-capability
KnightsMill-v1        | Broadwell-v2          | I 6.133.0    d 80000008 | Intel Xeon Phi Processor (Knights Mill)       |
    +ss +avx512f +avx512pf +avx512er +avx512cd +avx512-vpopcntdq +avx512-4vnniw +avx512-4fmaps +pdpe1gb -pcid -invpcid
    -smap
athlon-v1             | pentium3-v1           | A 6.2.3      2 80000008 | QEMU Virtual CPU version 2.5+                 |
    +sse2 +mmxext +3dnowext +3dnow
phenom-v1             | core2duo-v1           | A 16.2.3     5 8000001a | AMD Phenom(tm) 9550 Quad-Core Processor       |
    +popcnt +mmxext +fxsr-opt +pdpe1gb +rdtscp +3dnowext +3dnow +svm +abm +sse4a -acpi -ss -ssse3
Opteron_G1-v1         | Conroe-v1             | A 15.6.1     5 80000008 | AMD Opteron 240 (Gen 1 Class Opteron)         |
    -ssse3 -lahf-lm
Opteron_G2-v1         | Conroe-v1             | A 15.6.1     5 8000000a | AMD Opteron 22xx (Gen 2 Class Opteron)        |
    +cx16 +svm -ssse3
Opteron_G3-v1         | phenom-v1             | A 16.2.3     5 8000000a | AMD Opteron 23xx (Gen 3 Class Opteron)        |
    +misalignsse -mmxext -fxsr-opt -pdpe1gb -3dnowext -3dnow
Opteron_G4-v1         | Westmere-v1           | A 21.1.2     d 8000001a | AMD Opteron 62xx class CPU                    |
    +xsave +avx +pdpe1gb +rdtscp +svm +abm +sse4a +misalignsse +3dnowprefetch +xop +fma4 -arat
Opteron_G5-v1         | Opteron_G4-v1         | A 21.2.0     d 8000001a | AMD Opteron 63xx class CPU                    |
    +fma +f16c +tbm
EPYC-v1               | Skylake-Client-v3     | A 23.1.2     d 8000001e | AMD EPYC Processor                            |
    +monitor +clflushopt +sha-ni +mmxext +fxsr-opt +pdpe1gb +svm +cr8legacy +sse4a +misalignsse +osvw +topoext -pcid
    -x2apic -tsc-deadline -erms -invpcid -spec-ctrl
EPYC-v2               | EPYC-v1               | A 23.1.2     d 8000001e | AMD EPYC Processor (with IBPB)                | +ibpb
EPYC-v3               | EPYC-v2               | A 23.1.2     d 8000001e | AMD EPYC Processor                            |
    +perfctr-core +clzero +xsaveerptr +xsaves
EPYC-Rome-v1          | EPYC-v3               | A 23.49.0    d 8000001e | AMD EPYC-Rome Processor                       |
    +clwb +umip +rdpid +wbnoinvd +amd-stibp
EPYC-Rome-v2          | EPYC-Rome-v1          | A 23.49.0    d 8000001e | AMD EPYC-Rome Processor                       |
    +ibrs +amd-ssbd
EPYC-Milan-v1         | EPYC-Rome-v2          | A 25.1.1     d 8000001e | AMD EPYC-Milan Processor                      |
    +pcid +erms +invpcid +pku +fsrm
Dhyana-v1             | EPYC-v2               | H 24.0.1     d 8000001e | Hygon Dhyana Processor                        |
    -pclmulqdq -aes -sha-ni
Dhyana-v2             | Dhyana-v1             | H 24.0.1     d 8000001e | Hygon Dhyana Processor                        |
    +xsaves
kvm32-v1              | pentium3-v1           | I 15.6.1     5 80000008 | Common 32-bit KVM processor                   |
    +clflush +sse2 +pni -vme
kvm64-v1              | Opteron_G1-v1         | I 15.6.1     d 80000008 | Common KVM processor                          |
    +cx16 -vme
qemu32-v1             | kvm32-v1              | I 6.6.3      4 80000004 | QEMU Virtual CPU version 2.5+                 |
    -mtrr -mca -pse36 -clflush
qemu64-v1             | Opteron_G2-v1         | A 15.107.1   d 8000000a | QEMU Virtual CPU version 2.5+                 | -vme
"""

# Names that stand for a version of a model; a bare model name stands for its first version.
ALIASES: dict[str, str] = {
    "Broadwell-IBRS": "Broadwell-v3",
    "Broadwell-noTSX": "Broadwell-v2",
    "Broadwell-noTSX-IBRS": "Broadwell-v4",
    "Cascadelake-Server-noTSX": "Cascadelake-Server-v3",
    "EPYC-IBPB": "EPYC-v2",
    "Haswell-IBRS": "Haswell-v3",
    "Haswell-noTSX": "Haswell-v2",
    "Haswell-noTSX-IBRS": "Haswell-v4",
    "Icelake-Server-noTSX": "Icelake-Server-v2",
    "IvyBridge-IBRS": "IvyBridge-v2",
    "Nehalem-IBRS": "Nehalem-v2",
    "SandyBridge-IBRS": "SandyBridge-v2",
    "Skylake-Client-IBRS": "Skylake-Client-v2",
    "Skylake-Client-noTSX-IBRS": "Skylake-Client-v3",
    "Skylake-Server-IBRS": "Skylake-Server-v2",
    "Skylake-Server-noTSX-IBRS": "Skylake-Server-v3",
    "Westmere-IBRS": "Westmere-v2",
}
