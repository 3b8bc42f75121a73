/* VEX forms of the floating-point operations of host_fp.h, 128 and 256 bits, as host_avx.h makes them of the integer ones; and the
   comparisons with 32 predicates. */
#ifndef PCEMU_HOST_AVX_FP_H
#define PCEMU_HOST_AVX_FP_H

#include "host_avx.h"
#include "host_fp.h"

#define AVXF_ARGS uint8_t *d, const uint8_t *a, const uint8_t *b, uint32_t imm, uint32_t *mx
#define AVXF_UNUSED ((void)a, (void)b, (void)imm, (void)mx)

#define AVXF_128(name, from)                                                                                         \
    INLINE void v_##name(AVXF_ARGS) { v2u64 x = from; AVXF_UNUSED; f_##name(BYTES(x), b, imm, mx); put128(d, x); }
/* the sources of the upper half lie `step` bytes on */
#define AVXF_256(name, from, from_high, step)                                                                        \
    INLINE void w_##name(AVXF_ARGS)                                                                                  \
    {                                                                                                                \
        v2u64 x = from, y = from_high;                                                                               \
        AVXF_UNUSED;                                                                                                 \
        f_##name(BYTES(x), b, imm, mx);                                                                              \
        f_##name(BYTES(y), b + (step), imm, mx);                                                                     \
        put256(d, x, y);                                                                                             \
    }
#define AVXF3(name) AVXF_128(name, ld128(a)) AVXF_256(name, ld128(a), ld128(a + 16), 16)
#define AVXF2(name) AVXF_128(name, both(0)) AVXF_256(name, both(0), both(0), 16)
#define AVXF_SCALAR(name) AVXF_128(name, ld128(a))
#define AVXF_WIDEN(name) AVXF_128(name, both(0)) AVXF_256(name, both(0), both(0), 8)
#define AVXF_NARROW(name)                                                                                            \
    AVXF_128(name, both(0))                                                                                          \
    INLINE void w_##name(AVXF_ARGS)                                                                                  \
    {                                                                                                                \
        v2u64 x = both(0), y = both(0);                                                                              \
        AVXF_UNUSED;                                                                                                 \
        f_##name(BYTES(x), b, imm, mx);                                                                              \
        f_##name(BYTES(y), b + 16, imm, mx);                                                                         \
        put128(d, (v2u64){x[0], y[0]});                                                                              \
    }

/* ------------------------------------------------------------------------------------------- 32 predicates */
/* which of less (1), equal (2), greater (4), unordered (8) fulfil predicate & 15 (SDM vol. 2, VCMPPS) */
static const uint8_t vcmp_true[16] = {2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15};
#define G_VCMP(name, w, n)                                                                                           \
    G_LOOP(name, w, n, vcmp_true[imm & 15] >> (e##w##_compare(a[i], b[i], (((imm & 3) == 1 || (imm & 3) == 2) ^ (imm >> 4 & 1)), mx) \
                                               + 1) & 1 ? (uint##w##_t)-1 : 0)
G_VCMP(vcmpps, 32, 4)
G_VCMP(vcmpss, 32, 1)
G_VCMP(vcmppd, 64, 2)
G_VCMP(vcmpsd, 64, 1)
#if PCEMU_X86
#define VCASE(ins, i) case i: __asm__ volatile(ins " %2, %1, %0, %0" : "+x"(a) : "x"(b), "i"(i)); break;
#define VCASES8(ins, i) VCASE(ins, i) VCASE(ins, i + 1) VCASE(ins, i + 2) VCASE(ins, i + 3) VCASE(ins, i + 4) VCASE(ins, i + 5)  \
    VCASE(ins, i + 6) VCASE(ins, i + 7)
#define FP_VCMP(name, LOAD)                                                                                          \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_avx)) {                                                                                 \
            v2u64 a = ld128(d), b = LOAD(s);                                                                         \
            switch (imm & 31) { VCASES8(#name, 0) VCASES8(#name, 8) VCASES8(#name, 16) VCASES8(#name, 24) }          \
            st128(d, a);                                                                                             \
        } else                                                                                                       \
            g_host(g_##name, d, s, imm, mx);                                                                         \
    }
#else
#define FP_VCMP(name, LOAD) F_AS_G(name)
#endif
FP_VCMP(vcmpps, ld128)
FP_VCMP(vcmppd, ld128)
FP_VCMP(vcmpss, sld32)
FP_VCMP(vcmpsd, sld64)

#endif
