/* FMA and F16C: the host's own instructions where it has them, else host_fp_elem.h's and the functions here. */
#ifndef PCEMU_HOST_FMA_H
#define PCEMU_HOST_FMA_H

#include "host_avx_fp.h"

/* v_<name>(d, a, b), w_<name>(d, a, b): on a host with FMA, d, a, b the instruction's three operands.
   f_<name>(d, s, imm, mx): on any host, 16 bytes, with a and b side by side at s, for fp_try(). */
#define FMA_128(name, w, n, code, LOAD)                                                                              \
    PORTABLE void g_##name(FP_ARGS)                                                                                  \
    {                                                                                                                \
        uint##w##_t a[n], b[n], c[n];                                                                                \
        int wide;                                                                                                    \
        (void)imm;                                                                                                   \
        memcpy(a, d, sizeof(a));                                                                                     \
        memcpy(b, s, sizeof(b));                                                                                     \
        memcpy(c, s + 16, sizeof(c));                                                                                \
        for (int i = 0; i < n; i++)                                                                                  \
            a[i] = fma_element##w(code, i, a[i], b[i], c[i], mx, &wide);                                             \
        memcpy(d, a, sizeof(a));                                                                                     \
    }                                                                                                                \
    INLINE v2u64 m_##name(const uint8_t *d, const uint8_t *a, const uint8_t *b)                                      \
    {                                                                                                                \
        v2u64 x = ld128(d), y = ld128(a), z = LOAD(b);                                                               \
        FMA_ASM(#name, x, y, z);                                                                                     \
        return x;                                                                                                    \
    }                                                                                                                \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        if (HAVE_fma)                                                                                                \
            st128(d, m_##name(d, s, s + 16));                                                                        \
        else                                                                                                         \
            g_host(g_##name, d, s, imm, mx);                                                                         \
    }                                                                                                                \
    INLINE void v_##name(uint8_t *d, const uint8_t *a, const uint8_t *b) { put128(d, m_##name(d, a, b)); }
#define FMA_256(name)                                                                                                \
    INLINE void w_##name(uint8_t *d, const uint8_t *a, const uint8_t *b)                                             \
    {                                                                                                                \
        put256(d, m_##name(d, a, b), m_##name(d + 16, a + 16, b + 16));                                              \
    }
INLINE int have_fma(void) { return LIKELY_HOST(HAVE_fma); }
#if PCEMU_X86
#define FMA_ASM(ins, x, y, z) __asm__ volatile(ins " %2, %1, %0" : "+x"(x) : "x"(y), "x"(z))
#else
#define FMA_ASM(ins, x, y, z) ((void)(y), (void)(z))
#endif

/* -------------------------------------------------------------------------------------------- half precision */
INLINE uint32_t half_to_single(uint32_t h, uint32_t *mx)
{
    uint32_t sign = (h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
    if (exp == 31) {
        if (!man)
            return sign | 0x7f800000;
        if (!(man & 0x200))
            *mx |= MX_IE;
        return sign | 0x7fc00000 | man << 13;
    }
    if (!exp) {                             /* denormal or zero: no flag, whatever DAZ says */
        if (!man)
            return sign;
        for (exp = 1; !(man & 0x400); exp--)
            man <<= 1;
        man &= 0x3ff;
    }
    return sign | (exp + 112) << 23 | man << 13;
}
/* FTZ has no effect. *wide as in host_fp_elem.h; *tiny: below the normal numbers after rounding. */
PORTABLE uint32_t single_to_half(uint32_t x, int rc, uint32_t *mx, int *wide, int *tiny)
{
    uint32_t sign = x >> 16 & 0x8000, mag = x & 0x7fffffff, man, q, rest, drop = 13;
    int exp, up, neg = sign != 0;
    *wide = *tiny = 0;
    if (mag > 0x7f800000) {
        if (!(mag & 0x400000))
            *mx |= MX_IE;
        return sign | 0x7e00 | (mag >> 13 & 0x3ff);
    }
    if (mag == 0x7f800000)
        return sign | 0x7c00;
    if (mag < 0x800000 && mag) {
        if (*mx & MX_DAZ)
            mag = 0;
        else
            *mx |= MX_DE;
    }
    if (!mag)
        return sign;
    exp = (int)(mag >> 23) - 127;
    man = mag < 0x800000 ? mag : (mag & 0x7fffff) | 0x800000;
    if (mag < 0x800000)
        for (exp = -126; !(man & 0x800000); exp--)
            man <<= 1;
    for (int pass = 0;; pass = 1) {
        if (pass)
            drop = 13 + (uint32_t)(-14 - exp < 12 ? -14 - exp : 12);
        q = man >> drop;
        rest = man & ((1u << drop) - 1);
        up = rc == 0 ? rest > 1u << (drop - 1) || (rest == 1u << (drop - 1) && q & 1) : (rc == 1 && neg) || (rc == 2 && !neg);
        q += rest && up;
        if (!pass) {
            int e = exp + (q >> 11 != 0);
            *wide = rest != 0;
            if (e > 15) {
                *mx |= MX_OE | MX_PE;
                return sign | (rc == 0 || (rc == 1 && neg) || (rc == 2 && !neg) ? 0x7c00 : 0x7bff);
            }
            if (e < -14) {
                *tiny = 1;
                continue;
            }
            *mx |= rest ? MX_PE : 0;
            return exp < -14 ? sign | 0x400 : sign | (((uint32_t)(exp + 15) << 10) + (q - 0x400));
        }
        *mx |= rest ? MX_UE | MX_PE : 0;
        return sign | q;
    }
}
INLINE int half_rounding(uint32_t imm, uint32_t mx) { return imm & 4 ? mx >> 13 & 3 : imm & 3; }

PORTABLE void g_vcvtph2ps(FP_ARGS)
{
    uint64_t v = ld64u(s);
    uint32_t r[4];
    (void)imm;
    for (int i = 0; i < 4; i++)
        r[i] = half_to_single(v >> 16 * i & 0xffff, mx);
    memcpy(d, r, 16);
}
PORTABLE void g_vcvtps2ph(FP_ARGS)
{
    uint64_t r = 0;
    int wide, tiny;
    for (int i = 0; i < 4; i++)
        r |= (uint64_t)single_to_half(ld32u(s + 4 * i), half_rounding(imm, *mx), mx, &wide, &tiny) << 16 * i;
    st_pair(d, r, 0);
}
/* With an exception unmasked: the flags of `n` elements as the SDM has them (vol. 1, 11.5.3): an unmasked underflow is raised by
   tininess alone, and PE is then what it would be with an unbounded exponent. */
static inline __attribute__((unused)) uint32_t ps2ph_flags(const uint8_t *s, int n, uint32_t imm, uint32_t ctl, uint32_t live)
{
    uint32_t flags = 0;
    for (int i = 0; i < n; i++) {
        uint32_t mx = ctl & (MX_RC | MX_DAZ);
        int wide, tiny;
        single_to_half(ld32u(s + 4 * i), half_rounding(imm, ctl), &mx, &wide, &tiny);
        mx &= MX_FLAGS;
        if (tiny && live & MX_UE)
            mx |= MX_UE;
        if (mx & live & (MX_OE | MX_UE))
            mx = (mx & ~(uint32_t)MX_PE) | (wide ? MX_PE : 0);
        flags |= mx;
    }
    return flags;
}
#if PCEMU_X86
INLINE void f_vcvtph2ps(FP_ARGS)
{
    if (LIKELY_HOST(HAVE_f16c)) {
        v2u64 a, b = sld64(s);
        FASM1("vcvtph2ps", a, b);
        st128(d, a);
    } else
        g_host(g_vcvtph2ps, d, s, imm, mx);
}
#define HCASE(i) case i: __asm__ volatile("vcvtps2ph %2, %1, %0" : "=x"(a) : "x"(b), "i"(i)); break;
INLINE void f_vcvtps2ph(FP_ARGS)
{
    if (LIKELY_HOST(HAVE_f16c)) {
        v2u64 a = {0, 0}, b = ld128(s);
        switch (imm & 7) { HCASE(0) HCASE(1) HCASE(2) HCASE(3) HCASE(4) HCASE(5) HCASE(6) HCASE(7) }
        st128(d, a);
    } else
        g_host(g_vcvtps2ph, d, s, imm, mx);
}
#else
F_AS_G(vcvtph2ps)
F_AS_G(vcvtps2ph)
#endif
AVXF_WIDEN(vcvtph2ps)
AVXF_NARROW(vcvtps2ph)

#endif
