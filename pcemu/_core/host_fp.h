/* SSE floating point: the host's own instructions, one each, so that results, NaN payloads and exception flags are the host's.

   Every operation has the shape f_<name>(d, s, imm, mx): d = d op s. On x86-64 the environment is the host's MXCSR, which
   holds the guest's rounding, DAZ and FTZ with all exceptions masked while the CPU runs (simd.pxd: fp_enter, fp_leave), and mx
   is not looked at. Other hosts take rounding and flags from *mx (host_fp_generic.h). */
#ifndef PCEMU_HOST_FP_H
#define PCEMU_HOST_FP_H

#include "host_simd.h"

enum { MX_IE = 1, MX_DE = 2, MX_ZE = 4, MX_OE = 8, MX_UE = 16, MX_PE = 32, MX_FLAGS = 63, MX_DAZ = 64, MX_MASKS = 0x1f80,
       MX_RC = 0x6000, MX_FTZ = 0x8000 };

typedef void (*pcemu_fpfn)(uint8_t *d, const uint8_t *s, uint32_t imm, uint32_t *mx);
#define FP_ARGS uint8_t *d, const uint8_t *s, uint32_t imm, uint32_t *mx
#define FP_UNUSED ((void)imm, (void)mx)

INLINE v2u64 lo32(uint32_t v) { return (v2u64)(v4u32){v, 0, 0, 0}; }
INLINE v2u64 sld32(const uint8_t *p) { return lo32(ld32u(p)); }
INLINE v2u64 sld64(const uint8_t *p) { return lo64(ld64u(p)); }

#if PCEMU_X86
INLINE uint32_t host_mxcsr_get(void) { uint32_t v; __asm__ volatile("stmxcsr %0" : "=m"(v)); return v; }
INLINE void host_mxcsr_set(uint32_t v) { __asm__ volatile("ldmxcsr %0" : : "m"(v)); }
#else
INLINE uint32_t host_mxcsr_get(void) { return 0x1f80; }
INLINE void host_mxcsr_set(uint32_t v) { (void)v; }
#endif

/* Run one operation under the control bits of ctl with all exceptions masked; returns the flags it raised. */
INLINE uint32_t pcemu_fp_run(pcemu_fpfn f, FP_ARGS)
{
#if PCEMU_X86
    uint32_t old = host_mxcsr_get(), flags;
    host_mxcsr_set((*mx & (MX_RC | MX_FTZ | MX_DAZ)) | MX_MASKS);
    f(d, s, imm, mx);
    flags = host_mxcsr_get() & MX_FLAGS;
    host_mxcsr_set(old);
    return flags;
#else
    uint32_t t = (*mx & (MX_RC | MX_FTZ | MX_DAZ)) | MX_MASKS;
    f(d, s, imm, &t);
    return t & MX_FLAGS;
#endif
}

#include "host_fp_generic.h"

/* PE of one element whose overflow or underflow is unmasked: inexact after rounding with an unbounded exponent (IEEE 754,
   7.4 and 7.5; SDM vol. 1, 4.9.1.4). The x87 unit at single or double precision control has exponent to spare. Other hosts
   report the PE of the masked result. kind: + - * / or n, double to single. */
static inline __attribute__((unused)) uint32_t pcemu_wide_pe(char kind, int width, uint64_t a, uint64_t b, uint32_t ctl, uint32_t pe)
{
#if defined(__x86_64__)
    uint32_t env[7];
    uint16_t sw, cw = (uint16_t)(0x7f | (width == 64 && kind != 'n' ? 0x200 : 0) | (ctl & MX_RC) >> 3);
    double x = width == 32 ? e32_val((uint32_t)a) : e64_val(a);
    double y = kind == 'n' ? 1 : width == 32 ? e32_val((uint32_t)b) : e64_val(b);
    (void)pe;
    /* one piece, so that the compiler keeps nothing of its own in the x87 unit meanwhile */
#define WIDE(ins)                                                                                                    \
    __asm__ volatile("fnstenv %0\n\tfldcw %2\n\tfnclex\n\tfldl %3\n\t" ins " %4\n\tfnstsw %1\n\tfstp %%st(0)\n\tfldenv %0" \
                     : "+m"(env), "=m"(sw) : "m"(cw), "m"(x), "m"(y) : "st", "st(1)", "st(2)", "st(3)", "st(4)",     \
                       "st(5)", "st(6)", "st(7)")
    switch (kind) {
        case '+': WIDE("faddl"); break;
        case '-': WIDE("fsubl"); break;
        case '/': WIDE("fdivl"); break;
        default: WIDE("fmull"); break;
    }
#undef WIDE
    return sw & MX_PE;
#else
    (void)kind, (void)width, (void)a, (void)b, (void)ctl;
    return pe;
#endif
}

/* PE of one element, with the exceptions in `live` unmasked */
static inline __attribute__((unused)) uint32_t pcemu_lane_pe(char kind, int width, uint64_t a, uint64_t b, uint32_t ctl, uint32_t live)
{
    uint32_t mx = (ctl & (MX_RC | MX_FTZ | MX_DAZ)) | MX_MASKS;
    if (kind == 'n')
        g_narrow(a, &mx);
    else if (width == 32)
        e32_arith(kind, (uint32_t)a, (uint32_t)b, &mx);
    else
        e64_arith(kind, a, b, &mx);
    if (mx & live & (MX_OE | MX_UE))
        return pcemu_wide_pe(kind, width, a, b, ctl, mx & MX_PE);
    return mx & MX_PE;
}

/* FMA instructions by their code: bits 1:0 which operands are factors (0 first and third, 1 second and first, 2 second and third;
   the other one is added), 4 the product negated, bits 6:5 the addend negated: in no place, everywhere, in even places, in odd
   ones. Element i of the operands a (destination), b and c. */
enum { FMA_132, FMA_213, FMA_231, FMA_NEG = 1 << 4, FMA_SUB = 1 << 5, FMA_ADDSUB = 2 << 5, FMA_SUBADD = 3 << 5 };
INLINE int fma_subtracts(uint32_t code, int i) { return (code >> 5 & 3) == 1 || (code >> 5 & 3) == (uint32_t)(2 + (i & 1)); }
#define FMA_ELEMENT(w)                                                                                               \
    PORTABLE uint##w##_t fma_element##w(uint32_t code, int i, uint##w##_t a, uint##w##_t b, uint##w##_t c, uint32_t *mx, int *wide) \
    {                                                                                                                \
        int np = code >> 4 & 1, na = fma_subtracts(code, i);                                                         \
        switch (code & 3) {                                                                                          \
            case FMA_132: return e##w##_fma(a, c, b, np, na, mx, wide);                                              \
            case FMA_213: return e##w##_fma(b, a, c, np, na, mx, wide);                                              \
            default: return e##w##_fma(b, c, a, np, na, mx, wide);                                                   \
        }                                                                                                            \
    }
FMA_ELEMENT(32)
FMA_ELEMENT(64)

/* ... PE of one, as pcemu_lane_pe() */
static inline __attribute__((unused)) uint32_t pcemu_fma_pe(int code, int width, int i, uint64_t a, uint64_t b, uint64_t c, uint32_t ctl,
                                                            uint32_t live)
{
    uint32_t mx = (ctl & (MX_RC | MX_FTZ | MX_DAZ)) | MX_MASKS;
    int wide;
    if (width == 32)
        fma_element32((uint32_t)code, i, (uint32_t)a, (uint32_t)b, (uint32_t)c, &mx, &wide);
    else
        fma_element64((uint32_t)code, i, a, b, c, &mx, &wide);
    return mx & live & (MX_OE | MX_UE) ? (wide ? MX_PE : 0) : mx & MX_PE;
}

#if PCEMU_X86
/* asm volatile: not to be moved over a load or store of MXCSR; operands in the guest's order, so that the right NaN wins */
#define FASM2(ins, a, b) __asm__ volatile(ins " %1, %0" : "+x"(a) : "x"(b))
#define FASM1(ins, a, b) __asm__ volatile(ins " %1, %0" : "=x"(a) : "x"(b))
#define FASMI(ins, a, b, i) __asm__ volatile(ins " %2, %1, %0" : "+x"(a) : "x"(b), "i"(i))

#define FP_BIN(name, LOAD)                                                                                           \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        v2u64 a = ld128(d), b = LOAD(s);                                                                             \
        FP_UNUSED;                                                                                                   \
        FASM2(#name, a, b);                                                                                          \
        st128(d, a);                                                                                                 \
    }
#define FP_UN(name, LOAD)                                                                                            \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        v2u64 a, b = LOAD(s);                                                                                        \
        FP_UNUSED;                                                                                                   \
        FASM1(#name, a, b);                                                                                          \
        st128(d, a);                                                                                                 \
    }
#define FP_BIN_OR(name, lvl)                                                                                         \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_##lvl)) {                                                                               \
            v2u64 a = ld128(d), b = ld128(s);                                                                        \
            FASM2(#name, a, b);                                                                                      \
            st128(d, a);                                                                                             \
        } else                                                                                                       \
            g_host(g_##name, d, s, imm, mx);                                                                         \
    }
/* to the low half of an MMX register, by the SSE2 instruction on a register whose high half is zero */
#define FP_TO_MMX(name, ins, LOAD)                                                                                   \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        v2u64 a, b = LOAD(s);                                                                                        \
        FP_UNUSED;                                                                                                   \
        FASM1(ins, a, b);                                                                                            \
        uint64_t r = a[0];                                                                                           \
        memcpy(d, &r, 8);                                                                                            \
    }
#define FP_TO_GPR(name, ins, R, LOAD)                                                                                \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        R r;                                                                                                         \
        v2u64 b = LOAD(s);                                                                                           \
        FP_UNUSED;                                                                                                   \
        __asm__ volatile(ins " %1, %0" : "=r"(r) : "x"(b));                                                          \
        uint64_t q = r;                                                                                              \
        memcpy(d, &q, 8);                                                                                            \
    }
#define FP_FROM_GPR(name, ins, R)                                                                                    \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        R r;                                                                                                         \
        v2u64 a = ld128(d);                                                                                          \
        memcpy(&r, s, sizeof(r));                                                                                    \
        FP_UNUSED;                                                                                                   \
        __asm__ volatile(ins " %1, %0" : "+x"(a) : "r"(r));                                                          \
        st128(d, a);                                                                                                 \
    }
/* comparisons to EFLAGS: ZF PF CF at their places, written to the first word of d */
#define FP_COMI(name, LOAD)                                                                                          \
    INLINE uint32_t c_##name(const uint8_t *d, const uint8_t *s, uint32_t *mx)                                       \
    {                                                                                                                \
        v2u64 a = LOAD(d), b = LOAD(s);                                                                              \
        int z, p, c;                                                                                                 \
        (void)mx;                                                                                                    \
        __asm__ volatile(#name " %4, %3" : "=@ccz"(z), "=@ccp"(p), "=@ccc"(c) : "x"(a), "x"(b));                     \
        return (uint32_t)(z << 6 | p << 2 | c);                                                                      \
    }
/* an immediate operand has to be a constant: one case each */
#define CASE(ins, i) case i: FASMI(ins, a, b, i); break;
#define CASES8(ins) CASE(ins, 0) CASE(ins, 1) CASE(ins, 2) CASE(ins, 3) CASE(ins, 4) CASE(ins, 5) CASE(ins, 6) CASE(ins, 7)
#define CASES16(ins)                                                                                                 \
    CASES8(ins) CASE(ins, 8) CASE(ins, 9) CASE(ins, 10) CASE(ins, 11) CASE(ins, 12) CASE(ins, 13) CASE(ins, 14) CASE(ins, 15)
#define FP_CMP(name, LOAD)                                                                                           \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        v2u64 a = ld128(d), b = LOAD(s);                                                                             \
        (void)mx;                                                                                                    \
        switch (imm & 7) { CASES8(#name) }                                                                           \
        st128(d, a);                                                                                                 \
    }
#define FP_ROUND(name, LOAD)                                                                                         \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_sse41)) {                                                                               \
            v2u64 a = ld128(d), b = LOAD(s);                                                                         \
            switch (imm & 15) { CASES16(#name) }                                                                     \
            st128(d, a);                                                                                             \
        } else                                                                                                       \
            g_host(g_##name, d, s, imm, mx);                                                                         \
    }

#define FP_ARITH(op) FP_BIN(op##ps, ld128) FP_BIN(op##pd, ld128) FP_BIN(op##ss, sld32) FP_BIN(op##sd, sld64)
FP_ARITH(add)
FP_ARITH(sub)
FP_ARITH(mul)
FP_ARITH(div)
FP_ARITH(min)
FP_ARITH(max)
FP_UN(sqrtps, ld128)
FP_UN(sqrtpd, ld128)
FP_BIN(sqrtss, sld32)
FP_BIN(sqrtsd, sld64)
FP_BIN_OR(addsubps, sse3)
FP_BIN_OR(addsubpd, sse3)
FP_BIN_OR(haddps, sse3)
FP_BIN_OR(haddpd, sse3)
FP_BIN_OR(hsubps, sse3)
FP_BIN_OR(hsubpd, sse3)
FP_CMP(cmpps, ld128)
FP_CMP(cmppd, ld128)
FP_CMP(cmpss, sld32)
FP_CMP(cmpsd, sld64)
FP_COMI(comiss, sld32)
FP_COMI(ucomiss, sld32)
FP_COMI(comisd, sld64)
FP_COMI(ucomisd, sld64)
FP_ROUND(roundps, ld128)
FP_ROUND(roundpd, ld128)
FP_ROUND(roundss, sld32)
FP_ROUND(roundsd, sld64)
FP_UN(cvtdq2ps, ld128)
FP_UN(cvtps2dq, ld128)
FP_UN(cvttps2dq, ld128)
FP_UN(cvtpd2ps, ld128)
FP_UN(cvtps2pd, sld64)
FP_UN(cvtdq2pd, sld64)
FP_UN(cvtpd2dq, ld128)
FP_UN(cvttpd2dq, ld128)
FP_BIN(cvtss2sd, sld32)
FP_BIN(cvtsd2ss, sld64)
FP_TO_MMX(cvtps2pi, "cvtps2dq", sld64)
FP_TO_MMX(cvttps2pi, "cvttps2dq", sld64)
FP_TO_MMX(cvtpd2pi, "cvtpd2dq", ld128)
FP_TO_MMX(cvttpd2pi, "cvttpd2dq", ld128)
FP_TO_GPR(cvtss2si_32, "cvtss2si", uint32_t, sld32)
FP_TO_GPR(cvtss2si_64, "cvtss2si", uint64_t, sld32)
FP_TO_GPR(cvttss2si_32, "cvttss2si", uint32_t, sld32)
FP_TO_GPR(cvttss2si_64, "cvttss2si", uint64_t, sld32)
FP_TO_GPR(cvtsd2si_32, "cvtsd2si", uint32_t, sld64)
FP_TO_GPR(cvtsd2si_64, "cvtsd2si", uint64_t, sld64)
FP_TO_GPR(cvttsd2si_32, "cvttsd2si", uint32_t, sld64)
FP_TO_GPR(cvttsd2si_64, "cvttsd2si", uint64_t, sld64)
FP_FROM_GPR(cvtsi2ss_32, "cvtsi2ssl", uint32_t)
FP_FROM_GPR(cvtsi2ss_64, "cvtsi2ssq", uint64_t)
FP_FROM_GPR(cvtsi2sd_32, "cvtsi2sdl", uint32_t)
FP_FROM_GPR(cvtsi2sd_64, "cvtsi2sdq", uint64_t)

INLINE void f_cvtpi2ps(FP_ARGS)
{
    v2u64 a, b = sld64(s);
    FP_UNUSED;
    FASM1("cvtdq2ps", a, b);
    st_pair(d, a[0], ld64u(d + 8));
}
#define f_cvtpi2pd f_cvtdq2pd
/* Dot products: bits 7:4 pick the products (by case: what is not picked must not raise), bits 3:0 where the sum goes. */
#define DCASE(ins, i) case i: FASMI(ins, a, b, i * 16 + 15); break;
INLINE void f_dpps(FP_ARGS)
{
    const v4s32 bit = {1, 2, 4, 8};
    v4s32 k = (v4s32){0} + (int32_t)imm;
    v2u64 a = ld128(d), b = ld128(s);
    if (!LIKELY_HOST(HAVE_sse41)) {
        g_host(g_dpps, d, s, imm, mx);
        return;
    }
    switch ((imm >> 4) & 15) {
        DCASE("dpps", 0) DCASE("dpps", 1) DCASE("dpps", 2) DCASE("dpps", 3) DCASE("dpps", 4) DCASE("dpps", 5)
        DCASE("dpps", 6) DCASE("dpps", 7) DCASE("dpps", 8) DCASE("dpps", 9) DCASE("dpps", 10) DCASE("dpps", 11)
        DCASE("dpps", 12) DCASE("dpps", 13) DCASE("dpps", 14) DCASE("dpps", 15)
    }
    st128(d, a & (v2u64)((k & bit) == bit));
}
INLINE void f_dppd(FP_ARGS)
{
    v2u64 a = ld128(d), b = ld128(s);
    if (!LIKELY_HOST(HAVE_sse41)) {
        g_host(g_dppd, d, s, imm, mx);
        return;
    }
    switch ((imm >> 4) & 3) { DCASE("dppd", 0) DCASE("dppd", 1) DCASE("dppd", 2) DCASE("dppd", 3) }
    st_pair(d, imm & 1 ? a[0] : 0, imm & 2 ? a[1] : 0);
}
#endif

/* ------------------------------------------------------------------------------------------------ RCP and RSQRT
   Ours, the same on every host: the exact quotient or root of the whole significand, rounded to nearest at 12 bits below
   the leading one: a relative error of at most 2^-13, where 1.5 * 2^-12 is allowed (SDM vol. 2, RCPPS). Denormal operands
   count as zeros, denormal results become zeros, no flag is raised and rounding control is not looked at. */
INLINE uint32_t rcp32(uint32_t x)
{
    uint32_t sign = x & 0x80000000u, exp = (x >> 23) & 255, man = x & 0x7fffff;
    if (exp == 255)
        return man ? x | 0x400000 : sign;
    if (exp == 0)
        return sign | 0x7f800000u;
    /* 1/1.man in [1/2, 1]: 13 significant bits */
    uint32_t m = man | 0x800000;
    uint32_t q = (uint32_t)(((1ull << 37) / m + 1) >> 1);     /* 2^13 / 1.man, rounded */
    int e = 253 - (int)exp;
    if (q == 1u << 13) {
        e++;
        q = 0;
    } else
        q = (q << 11) & 0x7fffff;
    return e <= 0 ? sign : sign | (uint32_t)e << 23 | q;
}
/* floor(2^14 / sqrt(m / 2^23)) for 2^23 <= m < 2^25, the largest r with r^2 * m <= 2^51: by trial, bit by bit ... */
static inline __attribute__((unused)) uint32_t rsqrt_slow(uint64_t m)
{
    uint32_t r = 0;
    for (uint32_t bit = 1u << 14; bit; bit >>= 1)
        if ((uint64_t)(r + bit) * (r + bit) * m <= 1ull << 51)
            r += bit;
    return r;
}
/* ... and from a guess by the top nine bits, one Newton step and a correction by one */
static uint16_t rsqrt_guess[512] __attribute__((unused));
static inline __attribute__((unused)) void pcemu_rsqrt_init(void)
{
    for (uint32_t i = 128; i < 512; i++)
        rsqrt_guess[i] = (uint16_t)rsqrt_slow(((uint64_t)i << 16) + 0x8000);
}
INLINE uint32_t rsqrt_fast(uint64_t m)
{
    uint64_t r = rsqrt_guess[m >> 16];
    r = (r * (((3ull << 51) - m * r * r) >> 15)) >> 37;
    r += (r + 1) * (r + 1) * m <= 1ull << 51;
    r -= r * r * m > 1ull << 51;
    return (uint32_t)r;
}
INLINE uint32_t rsqrt32(uint32_t x)
{
    uint32_t sign = x & 0x80000000u, exp = (x >> 23) & 255, man = x & 0x7fffff;
    if (exp == 255 && man)
        return x | 0x400000;
    if (exp == 0)
        return sign | 0x7f800000u;
    if (sign)
        return 0xffc00000u;
    if (exp == 255)
        return 0;
    /* value = m * 2^(2h) with m in [1, 4): 1/sqrt(m) in (1/2, 1] */
    int e = (int)exp - 127, odd = e & 1;
    uint32_t r = (rsqrt_fast((uint64_t)(man | 0x800000) << odd) + 1) >> 1;
    e = 126 - ((e - odd) >> 1);
    if (r == 1u << 13) {
        e++;
        r = 0;
    } else
        r = (r << 11) & 0x7fffff;
    return (uint32_t)e << 23 | r;
}
#define APPROX(name, f)                                                                                              \
    INLINE void f_##name##ss(FP_ARGS) { FP_UNUSED; st128(d, (ld128(d) & (v2u64){0xffffffff00000000u, ~0ull}) | lo32(f(ld32u(s)))); } \
    INLINE void f_##name##ps(FP_ARGS)                                                                                \
    {                                                                                                                \
        FP_UNUSED;                                                                                                   \
        st_pair(d, f(ld32u(s)) | (uint64_t)f(ld32u(s + 4)) << 32, f(ld32u(s + 8)) | (uint64_t)f(ld32u(s + 12)) << 32); \
    }
APPROX(rcp, rcp32)
APPROX(rsqrt, rsqrt32)

#endif
