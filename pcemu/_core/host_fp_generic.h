/* SSE floating point in portable C: what hosts other than x86-64 run, and the few operations an old x86-64 host lacks.

   g_<name>(d, s, imm, mx) takes rounding, DAZ and FTZ from *mx and adds the exception flags there. */
#ifndef PCEMU_HOST_FP_GENERIC_H
#define PCEMU_HOST_FP_GENERIC_H

#include "host_simd.h"

/* ------------------------------------------------------- the host's floating-point environment around one operation */
#if defined(__x86_64__)
typedef uint32_t g_env_t;
INLINE uint32_t g_stmxcsr(void) { uint32_t v; __asm__ volatile("stmxcsr %0" : "=m"(v)); return v; }
INLINE void g_ldmxcsr(uint32_t v) { __asm__ volatile("ldmxcsr %0" : : "m"(v)); }
INLINE g_env_t g_begin(uint32_t mx)
{
    uint32_t old = g_stmxcsr();
    g_ldmxcsr(MX_MASKS | (mx & MX_RC));
    return old;
}
INLINE uint32_t g_end(g_env_t old)
{
    uint32_t fl = g_stmxcsr() & MX_FLAGS;
    g_ldmxcsr(old);
    return fl & ~(uint32_t)MX_DE;
}
INLINE float e32_root(float x) { __asm__ volatile("sqrtss %1, %0" : "=x"(x) : "x"(x)); return x; }
INLINE double e64_root(double x) { __asm__ volatile("sqrtsd %1, %0" : "=x"(x) : "x"(x)); return x; }
#else
#include <fenv.h>
#include <math.h>
typedef fenv_t g_env_t;
INLINE g_env_t g_begin(uint32_t mx)
{
    static const int mode[4] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    fenv_t old;
    feholdexcept(&old);
    fesetround(mode[mx >> 13 & 3]);
    return old;
}
INLINE uint32_t g_end(g_env_t old)
{
    int e = fetestexcept(FE_ALL_EXCEPT);
    fesetenv(&old);
    return (uint32_t)((e & FE_INVALID ? MX_IE : 0) | (e & FE_DIVBYZERO ? MX_ZE : 0) | (e & FE_OVERFLOW ? MX_OE : 0)
                      | (e & FE_UNDERFLOW ? MX_UE : 0) | (e & FE_INEXACT ? MX_PE : 0));
}
INLINE float e32_root(float x) { return sqrtf(x); }
INLINE double e64_root(double x) { return sqrt(x); }
#endif

#define W 32
#define U uint32_t
#define F float
#define MB 23
#define E(x) e32_##x
#include "host_fp_elem.h"
#undef W
#undef U
#undef F
#undef MB
#undef E
#define W 64
#define U uint64_t
#define F double
#define MB 52
#define E(x) e64_##x
#include "host_fp_elem.h"
#undef W
#undef U
#undef F
#undef MB
#undef E

/* between the two widths */
PORTABLE uint64_t g_widen(uint32_t a, uint32_t *mx)
{
    if (e32_is_nan(a)) {
        if (e32_is_snan(a))
            *mx |= MX_IE;
        return (uint64_t)(a & 0x80000000u) << 32 | 0x7ff8000000000000u | (uint64_t)(a & 0x7fffff) << 29;
    }
    return e64_bits((double)e32_val(e32_den(a, mx)));
}
PORTABLE uint32_t g_narrow(uint64_t a, uint32_t *mx)
{
    if (e64_is_nan(a)) {
        if (e64_is_snan(a))
            *mx |= MX_IE;
        return (uint32_t)(a >> 32 & 0x80000000u) | 0x7fc00000u | (uint32_t)(a >> 29 & 0x7fffff);
    }
    volatile double x = e64_val(e64_den(a, mx));
    g_env_t env = g_begin(*mx);
    volatile float z = (float)x;
    return e32_result(e32_bits(z), g_end(env), mx);
}

/* ------------------------------------------------------------------------------------------- whole registers */
/* n elements of width w: body sets r[i] from a[i] (destination) and b[i] (source) */
#define G_LOOP(name, w, n, expr)                                                                                     \
    PORTABLE void g_##name(FP_ARGS)                                                                                  \
    {                                                                                                                \
        uint##w##_t a[n], b[n];                                                                                      \
        (void)imm;                                                                                                   \
        memcpy(a, d, sizeof(a));                                                                                     \
        memcpy(b, s, sizeof(b));                                                                                     \
        for (int i = 0; i < n; i++)                                                                                  \
            a[i] = (expr);                                                                                           \
        memcpy(d, a, sizeof(a));                                                                                     \
    }
#define G_PSD(name, e32, e64) G_LOOP(name##ps, 32, 4, e32) G_LOOP(name##ss, 32, 1, e32) G_LOOP(name##pd, 64, 2, e64) \
    G_LOOP(name##sd, 64, 1, e64)
G_PSD(add, e32_arith('+', a[i], b[i], mx), e64_arith('+', a[i], b[i], mx))
G_PSD(sub, e32_arith('-', a[i], b[i], mx), e64_arith('-', a[i], b[i], mx))
G_PSD(mul, e32_arith('*', a[i], b[i], mx), e64_arith('*', a[i], b[i], mx))
G_PSD(div, e32_arith('/', a[i], b[i], mx), e64_arith('/', a[i], b[i], mx))
G_PSD(min, e32_minmax(0, a[i], b[i], mx), e64_minmax(0, a[i], b[i], mx))
G_PSD(max, e32_minmax(1, a[i], b[i], mx), e64_minmax(1, a[i], b[i], mx))
G_PSD(sqrt, e32_sqrt(b[i], mx), e64_sqrt(b[i], mx))
G_PSD(round, e32_round(b[i], imm, mx), e64_round(b[i], imm, mx))
G_PSD(cmp, e32_cmp(a[i], b[i], imm, mx), e64_cmp(a[i], b[i], imm, mx))
G_LOOP(addsubps, 32, 4, e32_arith(i & 1 ? '+' : '-', a[i], b[i], mx))
G_LOOP(addsubpd, 64, 2, e64_arith(i & 1 ? '+' : '-', a[i], b[i], mx))
G_LOOP(cvtdq2ps, 32, 4, e32_from_int((int32_t)b[i], mx))
G_LOOP(cvtps2dq, 32, 4, (uint32_t)e32_to_int(b[i], *mx >> 13 & 3, 32, mx))
G_LOOP(cvttps2dq, 32, 4, (uint32_t)e32_to_int(b[i], 3, 32, mx))
G_LOOP(cvtpi2ps, 32, 2, e32_from_int((int32_t)b[i], mx))
G_LOOP(cvtps2pi, 32, 2, (uint32_t)e32_to_int(b[i], *mx >> 13 & 3, 32, mx))
G_LOOP(cvttps2pi, 32, 2, (uint32_t)e32_to_int(b[i], 3, 32, mx))
G_LOOP(cvtss2si_64, 64, 1, e32_to_int(ld32u(s), *mx >> 13 & 3, 64, mx))
G_LOOP(cvttss2si_64, 64, 1, e32_to_int(ld32u(s), 3, 64, mx))
G_LOOP(cvtsd2si_64, 64, 1, e64_to_int(b[i], *mx >> 13 & 3, 64, mx))
G_LOOP(cvttsd2si_64, 64, 1, e64_to_int(b[i], 3, 64, mx))

#define G_HADD(name, w, n, op)                                                                                       \
    PORTABLE void g_##name(FP_ARGS)                                                                                  \
    {                                                                                                                \
        uint##w##_t v[2 * n], r[n];                                                                                  \
        (void)imm;                                                                                                   \
        memcpy(v, d, 16);                                                                                            \
        memcpy(v + n, s, 16);                                                                                        \
        for (int i = 0; i < n; i++)                                                                                  \
            r[i] = e##w##_arith(op, v[2 * i], v[2 * i + 1], mx);                                                     \
        memcpy(d, r, 16);                                                                                            \
    }
G_HADD(haddps, 32, 4, '+')
G_HADD(haddpd, 64, 2, '+')
G_HADD(hsubps, 32, 4, '-')
G_HADD(hsubpd, 64, 2, '-')

PORTABLE void g_dpps(FP_ARGS)
{
    uint32_t a[4], b[4], t[4], r;
    memcpy(a, d, 16);
    memcpy(b, s, 16);
    for (int i = 0; i < 4; i++)
        t[i] = imm >> (4 + i) & 1 ? e32_arith('*', a[i], b[i], mx) : 0;
    r = e32_arith('+', t[0], t[1], mx);
    r = e32_arith('+', r, e32_arith('+', t[2], t[3], mx), mx);
    for (int i = 0; i < 4; i++)
        t[i] = imm >> i & 1 ? r : 0;
    memcpy(d, t, 16);
}
PORTABLE void g_dppd(FP_ARGS)
{
    uint64_t t[2], r;
    for (int i = 0; i < 2; i++)
        t[i] = imm >> (4 + i) & 1 ? e64_arith('*', ld64u(d + 8 * i), ld64u(s + 8 * i), mx) : 0;
    r = e64_arith('+', t[0], t[1], mx);
    st_pair(d, imm & 1 ? r : 0, imm & 2 ? r : 0);
}

PORTABLE uint32_t g_comi(int r) { return r == 2 ? 0x45 : r == 0 ? 0x40 : r < 0 ? 1 : 0; }

/* --------------------------------------------------- on x86-64: one operation the host has no instruction for */
INLINE void g_host(pcemu_fpfn g, FP_ARGS)
{
#if PCEMU_X86
    uint32_t t = g_stmxcsr();
    (void)mx;
    g(d, s, imm, &t);
    g_ldmxcsr(t);
#else
    g(d, s, imm, mx);
#endif
}

/* ---------------------------------------------------------------------------- the whole set, on other hosts */
#if !PCEMU_X86
#define F_AS_G(name) INLINE void f_##name(FP_ARGS) { g_##name(d, s, imm, mx); }
#define F_PSD(name) F_AS_G(name##ps) F_AS_G(name##ss) F_AS_G(name##pd) F_AS_G(name##sd)
F_PSD(add) F_PSD(sub) F_PSD(mul) F_PSD(div) F_PSD(min) F_PSD(max) F_PSD(sqrt) F_PSD(round) F_PSD(cmp)
F_AS_G(addsubps) F_AS_G(addsubpd) F_AS_G(haddps) F_AS_G(haddpd) F_AS_G(hsubps) F_AS_G(hsubpd) F_AS_G(dpps) F_AS_G(dppd)
F_AS_G(cvtdq2ps) F_AS_G(cvtps2dq) F_AS_G(cvttps2dq) F_AS_G(cvtpi2ps) F_AS_G(cvtps2pi) F_AS_G(cvttps2pi)
F_AS_G(cvtss2si_64) F_AS_G(cvttss2si_64) F_AS_G(cvtsd2si_64) F_AS_G(cvttsd2si_64)

#define F_NARROW_INT(name, w, bits, rc)                                                                              \
    INLINE void f_##name(FP_ARGS)                                                                                    \
    {                                                                                                                \
        uint64_t r = e##w##_to_int(ld##w##u(s), rc, bits, mx);                                                       \
        (void)imm;                                                                                                   \
        memcpy(d, &r, 8);                                                                                            \
    }
F_NARROW_INT(cvtss2si_32, 32, 32, *mx >> 13 & 3)
F_NARROW_INT(cvttss2si_32, 32, 32, 3)
F_NARROW_INT(cvtsd2si_32, 64, 32, *mx >> 13 & 3)
F_NARROW_INT(cvttsd2si_32, 64, 32, 3)

#define F_ONE(name, ...) INLINE void f_##name(FP_ARGS) { (void)imm; (void)mx; __VA_ARGS__; }
INLINE uint64_t g_pd2pi(const uint8_t *s, uint32_t rc, uint32_t *mx)
{
    uint64_t lo = e64_to_int(ld64u(s), rc, 32, mx);
    return lo | e64_to_int(ld64u(s + 8), rc, 32, mx) << 32;
}
INLINE void g_put64(uint8_t *d, uint64_t v) { memcpy(d, &v, 8); }
INLINE void g_put32(uint8_t *d, uint32_t v) { memcpy(d, &v, 4); }
F_ONE(cvtpd2pi, g_put64(d, g_pd2pi(s, *mx >> 13 & 3, mx)))
F_ONE(cvttpd2pi, g_put64(d, g_pd2pi(s, 3, mx)))
F_ONE(cvtpd2dq, st_pair(d, g_pd2pi(s, *mx >> 13 & 3, mx), 0))
F_ONE(cvttpd2dq, st_pair(d, g_pd2pi(s, 3, mx), 0))
F_ONE(cvtdq2pd, uint64_t v = ld64u(s); st_pair(d, e64_from_int((int32_t)v, mx), e64_from_int((int32_t)(v >> 32), mx)))
F_ONE(cvtpi2pd, f_cvtdq2pd(d, s, imm, mx))
F_ONE(cvtps2pd, uint64_t v = ld64u(s), lo = g_widen((uint32_t)v, mx); st_pair(d, lo, g_widen((uint32_t)(v >> 32), mx)))
F_ONE(cvtpd2ps, uint64_t lo = g_narrow(ld64u(s), mx); st_pair(d, lo | (uint64_t)g_narrow(ld64u(s + 8), mx) << 32, 0))
F_ONE(cvtss2sd, g_put64(d, g_widen(ld32u(s), mx)))
F_ONE(cvtsd2ss, g_put32(d, g_narrow(ld64u(s), mx)))
F_ONE(cvtsi2ss_32, g_put32(d, e32_from_int((int32_t)ld32u(s), mx)))
F_ONE(cvtsi2ss_64, g_put32(d, e32_from_int((int64_t)ld64u(s), mx)))
F_ONE(cvtsi2sd_32, g_put64(d, e64_from_int((int32_t)ld32u(s), mx)))
F_ONE(cvtsi2sd_64, g_put64(d, e64_from_int((int64_t)ld64u(s), mx)))

#define F_COMI(name, w, loud)                                                                                        \
    INLINE uint32_t c_##name(const uint8_t *d, const uint8_t *s, uint32_t *mx)                                       \
    {                                                                                                                \
        return g_comi(e##w##_compare(ld##w##u(d), ld##w##u(s), loud, mx));                                           \
    }
F_COMI(comiss, 32, 1)
F_COMI(ucomiss, 32, 0)
F_COMI(comisd, 64, 1)
F_COMI(ucomisd, 64, 0)
#endif

#endif
