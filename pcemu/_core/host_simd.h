/* 128-bit vectors for the MMX and SSE handlers: loads and stores, what the host has, and the integer operations.

   Each operation is one line of a table and exists in three shapes:
     h_<name>(d, s)  on 16 bytes in memory: d = d op s       (vector registers, SSE forms)
     m_<name>(a, b)  on 64-bit values, the result returned   (MMX forms)
     p_<name>(d, s, n)  portable C on n bytes: its meaning, and what other hosts run
   On x86-64 the first two are the host's own instruction where the host has it. */
#ifndef PCEMU_HOST_SIMD_H
#define PCEMU_HOST_SIMD_H

#include <stdint.h>
#include <string.h>

/* -DPCEMU_PORTABLE builds what other hosts run, -DPCEMU_SSE2_ONLY what the oldest x86-64 host runs: the tests compare them */
#if defined(__x86_64__) && !defined(PCEMU_PORTABLE)
#define PCEMU_X86 1
#define PORTABLE static __attribute__((noinline, cold, unused))
#define HAVE_sse2 1
#else
#define PCEMU_X86 0
#define PORTABLE static inline __attribute__((unused))
#define HAVE_sse2 0
#endif
#if PCEMU_X86 && !defined(PCEMU_SSE2_ONLY)
#define HAVE_sse3 __builtin_cpu_supports("sse3")
#define HAVE_ssse3 __builtin_cpu_supports("ssse3")
#define HAVE_sse41 __builtin_cpu_supports("sse4.1")
#define HAVE_sse42 __builtin_cpu_supports("sse4.2")
#define HAVE_aes __builtin_cpu_supports("aes")
#define HAVE_pclmul __builtin_cpu_supports("pclmul")
#define HAVE_avx __builtin_cpu_supports("avx")
#define HAVE_fma __builtin_cpu_supports("fma")
#define HAVE_f16c __builtin_cpu_supports("f16c")
#else
#define HAVE_sse3 0
#define HAVE_ssse3 0
#define HAVE_sse41 0
#define HAVE_sse42 0
#define HAVE_aes 0
#define HAVE_pclmul 0
#define HAVE_avx 0
#define HAVE_fma 0
#define HAVE_f16c 0
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#define LIKELY_HOST(x) __builtin_expect(!!(x), 1)

typedef uint64_t v2u64 __attribute__((vector_size(16)));
typedef int64_t v2s64 __attribute__((vector_size(16)));
typedef uint32_t v4u32 __attribute__((vector_size(16)));
typedef int32_t v4s32 __attribute__((vector_size(16)));
typedef uint16_t v8u16 __attribute__((vector_size(16)));
typedef int16_t v8s16 __attribute__((vector_size(16)));
typedef uint8_t v16u8 __attribute__((vector_size(16)));
typedef int8_t v16s8 __attribute__((vector_size(16)));

INLINE v2u64 ld128(const void *p) { v2u64 v; memcpy(&v, p, 16); return v; }
INLINE void st128(void *p, v2u64 v) { memcpy(p, &v, 16); }
INLINE uint64_t ld64u(const void *p) { uint64_t v; memcpy(&v, p, 8); return v; }
INLINE uint32_t ld32u(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }
INLINE uint16_t ld16u(const void *p) { uint16_t v; memcpy(&v, p, 2); return v; }
INLINE v2u64 lo64(uint64_t v) { return (v2u64){v, 0}; }
/* whole-register stores: a narrow store in front of the next handler's 16-byte load would not be forwarded */
INLINE void st_pair(void *p, uint64_t lo, uint64_t hi) { st128(p, (v2u64){lo, hi}); }

INLINE void h_copy16(uint8_t *d, const uint8_t *s) { st128(d, ld128(s)); }

/* ------------------------------------------------------------------------------------------ the host instruction */
#if PCEMU_X86
#define ASM2(ins, a, b) __asm__(ins " %1, %0" : "+x"(a) : "x"(b))
#define ASM1(ins, a, b) __asm__(ins " %1, %0" : "=x"(a) : "x"(b))
#else
#define ASM2(ins, a, b) ((void)(a), (void)(b))
#define ASM1(ins, a, b) ((void)(a), (void)(b))
#endif

#define H_SSE(name, ins, lvl)                                                                                        \
    INLINE void h_##name(uint8_t *d, const uint8_t *s)                                                               \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_##lvl)) {                                                                               \
            v2u64 a = ld128(d), b = ld128(s);                                                                        \
            ASM2(ins, a, b);                                                                                         \
            st128(d, a);                                                                                             \
        } else                                                                                                       \
            p_##name(d, s, 16);                                                                                      \
    }

/* The MMX form by the SSE instruction (never the host's x87 registers): PREP readies the operands a and b, whose high
   halves are zero; the result is element OUT of a. */
#define H_MMX(name, ins, lvl, PREP, OUT)                                                                             \
    INLINE uint64_t m_##name(uint64_t d, uint64_t s)                                                                 \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_##lvl)) {                                                                               \
            v2u64 a = lo64(d), b = lo64(s);                                                                          \
            PREP;                                                                                                    \
            ASM2(ins, a, b);                                                                                         \
            return a[OUT];                                                                                           \
        }                                                                                                            \
        p_##name((uint8_t *)&d, (const uint8_t *)&s, 8);                                                             \
        return d;                                                                                                    \
    }
#define PREP_NONE ((void)0)
#define PREP_JOIN (a[1] = b[0], b = a)          /* packs and horizontal adds: both operands in one register */
#define PREP_IDX8 (b &= (v2u64){0x8787878787878787u, 0x8787878787878787u})

/* --------------------------------------------------------------------------------------- portable definitions */
/* element by element: expr of a (destination) and b (source), both of type T */
#define P_EACH(name, T, expr)                                                                                        \
    PORTABLE void p_##name(uint8_t *d, const uint8_t *s, int n)                                                      \
    {                                                                                                                \
        T x[16 / sizeof(T)], y[16 / sizeof(T)];                                                                      \
        memcpy(x, d, n);                                                                                             \
        memcpy(y, s, n);                                                                                             \
        for (int i = 0; i < n / (int)sizeof(T); i++) {                                                               \
            T a = x[i], b = y[i];                                                                                    \
            (void)a;                                                                                                 \
            x[i] = (T)(expr);                                                                                        \
        }                                                                                                            \
        memcpy(d, x, n);                                                                                             \
    }

/* across elements: a[], b[] of N elements of type T; the body fills r[] of type U */
#define P_ALL(name, T, U, ...)                                                                                       \
    PORTABLE void p_##name(uint8_t *d, const uint8_t *s, int n)                                                      \
    {                                                                                                                \
        T a[16 / sizeof(T)], b[16 / sizeof(T)];                                                                      \
        U r[16 / sizeof(U)];                                                                                         \
        const int N = n / (int)sizeof(T);                                                                            \
        memcpy(a, d, n);                                                                                             \
        memcpy(b, s, n);                                                                                             \
        (void)a;                                                                                                     \
        (void)N;                                                                                                     \
        __VA_ARGS__ memcpy(d, r, n);                                                                                 \
    }

INLINE int8_t sat_s8(int v) { return (int8_t)(v > 127 ? 127 : v < -128 ? -128 : v); }
INLINE uint8_t sat_u8(int v) { return (uint8_t)(v > 255 ? 255 : v < 0 ? 0 : v); }
INLINE int16_t sat_s16(int v) { return (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v); }
INLINE uint16_t sat_u16(int v) { return (uint16_t)(v > 65535 ? 65535 : v < 0 ? 0 : v); }
INLINE uint64_t sad8(uint64_t a, uint64_t b)
{
    uint64_t t = 0;
    for (int i = 0; i < 64; i += 8) {
        int x = (int)((a >> i) & 255) - (int)((b >> i) & 255);
        t += (uint64_t)(x < 0 ? -x : x);
    }
    return t;
}

/* ------------------------------------------------------------------------------------------------- the table */
#define EACH(name, lvl, T, expr)                                                                                     \
    P_EACH(name, T, expr) H_SSE(name, #name, lvl) H_MMX(name, #name, lvl, PREP_NONE, 0)
#define PACK(name, lvl, T, U, sat)                                                                                   \
    P_ALL(name, T, U, for (int i = 0; i < N; i++) { r[i] = sat(a[i]); r[N + i] = sat(b[i]); })                       \
    H_SSE(name, #name, lvl) H_MMX(name, #name, lvl, PREP_JOIN, 0)
#define UNPACK(nl, nh, T)                                                                                            \
    P_ALL(nl, T, T, for (int i = 0; i < N / 2; i++) { r[2 * i] = a[i]; r[2 * i + 1] = b[i]; })                       \
    P_ALL(nh, T, T, for (int i = 0; i < N / 2; i++) { r[2 * i] = a[N / 2 + i]; r[2 * i + 1] = b[N / 2 + i]; })       \
    H_SSE(nl, #nl, sse2) H_SSE(nh, #nh, sse2) H_MMX(nl, #nl, sse2, PREP_NONE, 0) H_MMX(nh, #nl, sse2, PREP_NONE, 1)
#define HADD(name, T, expr)                                                                                          \
    P_ALL(name, T, T, for (int i = 0; i < N / 2; i++) {                                                              \
        T x = a[2 * i], y = a[2 * i + 1]; r[i] = (T)(expr);                                                          \
        x = b[2 * i]; y = b[2 * i + 1]; r[N / 2 + i] = (T)(expr); })                                                 \
    H_SSE(name, #name, ssse3) H_MMX(name, #name, ssse3, PREP_JOIN, 0)
/* one count, the low 64 bits of the source, for all elements */
#define SHIFT(name, T, expr)                                                                                         \
    PORTABLE void p_##name(uint8_t *d, const uint8_t *s, int n)                                                      \
    {                                                                                                                \
        T x[16 / sizeof(T)];                                                                                         \
        const uint64_t c = ld64u(s), W = sizeof(T) * 8;                                                              \
        memcpy(x, d, n);                                                                                             \
        for (int i = 0; i < n / (int)sizeof(T); i++) {                                                               \
            T a = x[i];                                                                                              \
            x[i] = (T)(expr);                                                                                        \
        }                                                                                                            \
        memcpy(d, x, n);                                                                                             \
    }                                                                                                                \
    H_SSE(name, #name, sse2) H_MMX(name, #name, sse2, PREP_NONE, 0)                                                  \
    INLINE void hi_##name(uint8_t *d, uint64_t count)                                                                \
    {                                                                                                                \
        v2u64 a = ld128(d), b = lo64(count);                                                                         \
        ASM2(#name, a, b);                                                                                           \
        if (PCEMU_X86)                                                                                               \
            st128(d, a);                                                                                             \
        else                                                                                                         \
            p_##name(d, (uint8_t *)&b, 16);                                                                          \
    }

/* MMX and SSE2 */
EACH(paddb, sse2, uint8_t, a + b)
EACH(paddw, sse2, uint16_t, a + b)
EACH(paddd, sse2, uint32_t, a + b)
EACH(paddq, sse2, uint64_t, a + b)
EACH(psubb, sse2, uint8_t, a - b)
EACH(psubw, sse2, uint16_t, a - b)
EACH(psubd, sse2, uint32_t, a - b)
EACH(psubq, sse2, uint64_t, a - b)
EACH(paddsb, sse2, int8_t, sat_s8(a + b))
EACH(paddsw, sse2, int16_t, sat_s16(a + b))
EACH(paddusb, sse2, uint8_t, sat_u8(a + b))
EACH(paddusw, sse2, uint16_t, sat_u16(a + b))
EACH(psubsb, sse2, int8_t, sat_s8(a - b))
EACH(psubsw, sse2, int16_t, sat_s16(a - b))
EACH(psubusb, sse2, uint8_t, sat_u8(a - b))
EACH(psubusw, sse2, uint16_t, sat_u16(a - b))
EACH(pmullw, sse2, int16_t, a * b)
EACH(pmulhw, sse2, int16_t, (a * b) >> 16)
EACH(pmulhuw, sse2, uint16_t, ((uint32_t)a * b) >> 16)
EACH(pmuludq, sse2, uint64_t, (uint64_t)(uint32_t)a * (uint32_t)b)
EACH(pmaddwd, sse2, uint32_t, (uint32_t)((int16_t)a * (int16_t)b) + (uint32_t)((int16_t)(a >> 16) * (int16_t)(b >> 16)))
EACH(psadbw, sse2, uint64_t, sad8(a, b))
EACH(pavgb, sse2, uint8_t, (a + b + 1) >> 1)
EACH(pavgw, sse2, uint16_t, (a + b + 1) >> 1)
EACH(pminub, sse2, uint8_t, a < b ? a : b)
EACH(pmaxub, sse2, uint8_t, a > b ? a : b)
EACH(pminsw, sse2, int16_t, a < b ? a : b)
EACH(pmaxsw, sse2, int16_t, a > b ? a : b)
EACH(pcmpeqb, sse2, uint8_t, a == b ? -1 : 0)
EACH(pcmpeqw, sse2, uint16_t, a == b ? -1 : 0)
EACH(pcmpeqd, sse2, uint32_t, a == b ? -1 : 0)
EACH(pcmpgtb, sse2, int8_t, a > b ? -1 : 0)
EACH(pcmpgtw, sse2, int16_t, a > b ? -1 : 0)
EACH(pcmpgtd, sse2, int32_t, a > b ? -1 : 0)
EACH(pand, sse2, uint64_t, a & b)
EACH(pandn, sse2, uint64_t, ~a & b)
EACH(por, sse2, uint64_t, a | b)
EACH(pxor, sse2, uint64_t, a ^ b)
PACK(packsswb, sse2, int16_t, int8_t, sat_s8)
PACK(packuswb, sse2, int16_t, uint8_t, sat_u8)
PACK(packssdw, sse2, int32_t, int16_t, sat_s16)
UNPACK(punpcklbw, punpckhbw, uint8_t)
UNPACK(punpcklwd, punpckhwd, uint16_t)
UNPACK(punpckldq, punpckhdq, uint32_t)
SHIFT(psllw, uint16_t, c < W ? a << c : 0)
SHIFT(pslld, uint32_t, c < W ? a << c : 0)
SHIFT(psllq, uint64_t, c < W ? a << c : 0)
SHIFT(psrlw, uint16_t, c < W ? a >> c : 0)
SHIFT(psrld, uint32_t, c < W ? a >> c : 0)
SHIFT(psrlq, uint64_t, c < W ? a >> c : 0)
SHIFT(psraw, int16_t, a >> (c < W ? c : W - 1))
SHIFT(psrad, int32_t, a >> (c < W ? c : W - 1))
/* the halves of 128 bits */
INLINE void h_punpcklqdq(uint8_t *d, const uint8_t *s) { st_pair(d, ld64u(d), ld64u(s)); }
INLINE void h_punpckhqdq(uint8_t *d, const uint8_t *s) { st_pair(d, ld64u(d + 8), ld64u(s + 8)); }

/* SSSE3 */
EACH(pabsb, ssse3, int8_t, b < 0 ? -b : b)
EACH(pabsw, ssse3, int16_t, b < 0 ? -b : b)
EACH(pabsd, ssse3, int32_t, b < 0 ? 0u - (uint32_t)b : (uint32_t)b)
EACH(psignb, ssse3, int8_t, b < 0 ? -a : b ? a : 0)
EACH(psignw, ssse3, int16_t, b < 0 ? -a : b ? a : 0)
EACH(psignd, ssse3, int32_t, b < 0 ? 0u - (uint32_t)a : b ? (uint32_t)a : 0u)
EACH(pmulhrsw, ssse3, int16_t, (((a * b) >> 14) + 1) >> 1)
EACH(pmaddubsw, ssse3, uint16_t, sat_s16((a & 255) * (int8_t)b + (a >> 8) * (int8_t)(b >> 8)))
HADD(phaddw, int16_t, x + y)
HADD(phaddd, uint32_t, x + y)
HADD(phaddsw, int16_t, sat_s16(x + y))
HADD(phsubw, int16_t, x - y)
HADD(phsubd, uint32_t, x - y)
HADD(phsubsw, int16_t, sat_s16(x - y))
P_ALL(pshufb, uint8_t, uint8_t, for (int i = 0; i < N; i++) r[i] = b[i] & 0x80 ? 0 : a[b[i] & (N - 1)];)
H_SSE(pshufb, "pshufb", ssse3)
H_MMX(pshufb, "pshufb", ssse3, PREP_IDX8, 0)

/* SSE4.1, SSE4.2 */
EACH(pmulld, sse41, uint32_t, a * b)
EACH(pmuldq, sse41, uint64_t, (int64_t)(int32_t)a * (int32_t)b)
EACH(pminsb, sse41, int8_t, a < b ? a : b)
EACH(pmaxsb, sse41, int8_t, a > b ? a : b)
EACH(pminuw, sse41, uint16_t, a < b ? a : b)
EACH(pmaxuw, sse41, uint16_t, a > b ? a : b)
EACH(pminsd, sse41, int32_t, a < b ? a : b)
EACH(pmaxsd, sse41, int32_t, a > b ? a : b)
EACH(pminud, sse41, uint32_t, a < b ? a : b)
EACH(pmaxud, sse41, uint32_t, a > b ? a : b)
EACH(pcmpeqq, sse41, uint64_t, a == b ? -1 : 0)
EACH(pcmpgtq, sse42, int64_t, a > b ? -1 : 0)
PACK(packusdw, sse41, int32_t, uint16_t, sat_u16)
P_ALL(phminposuw, uint16_t, uint16_t, memset(r, 0, 16); r[0] = b[0];
      for (int i = 1; i < N; i++) if (b[i] < r[0]) { r[0] = b[i]; r[1] = (uint16_t)i; })
H_SSE(phminposuw, "phminposuw", sse41)
/* widening moves: the low elements of the source */
#define WIDEN(name, T, U)                                                                                            \
    PORTABLE void p_##name(uint8_t *d, const uint8_t *s)                                                             \
    {                                                                                                                \
        T b[16 / sizeof(U)];                                                                                         \
        U r[16 / sizeof(U)];                                                                                         \
        memcpy(b, s, sizeof(b));                                                                                     \
        for (int i = 0; i < 16 / (int)sizeof(U); i++) r[i] = (U)b[i];                                                \
        memcpy(d, r, 16);                                                                                            \
    }                                                                                                                \
    INLINE void h_##name(uint8_t *d, const uint8_t *s)                                                               \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_sse41)) {                                                                               \
            uint64_t v = 0;                                                                                          \
            memcpy(&v, s, 16 / sizeof(U) * sizeof(T));                                                               \
            v2u64 a = {0, 0}, b = lo64(v);                                                                           \
            ASM2(#name, a, b);                                                                                       \
            st128(d, a);                                                                                             \
        } else                                                                                                       \
            p_##name(d, s);                                                                                          \
    }
WIDEN(pmovsxbw, int8_t, int16_t)
WIDEN(pmovsxbd, int8_t, int32_t)
WIDEN(pmovsxbq, int8_t, int64_t)
WIDEN(pmovsxwd, int16_t, int32_t)
WIDEN(pmovsxwq, int16_t, int64_t)
WIDEN(pmovsxdq, int32_t, int64_t)
WIDEN(pmovzxbw, uint8_t, uint16_t)
WIDEN(pmovzxbd, uint8_t, uint32_t)
WIDEN(pmovzxbq, uint8_t, uint64_t)
WIDEN(pmovzxwd, uint16_t, uint32_t)
WIDEN(pmovzxwq, uint16_t, uint64_t)
WIDEN(pmovzxdq, uint32_t, uint64_t)

/* -------------------------------------------------------------------------------------- moves inside a register */
/* 64-bit half made of 16-bit elements of s picked by four two-bit fields */
INLINE uint64_t pick16(const uint8_t *s, uint32_t imm)
{
    return (uint64_t)ld16u(s + (imm & 3) * 2) | (uint64_t)ld16u(s + ((imm >> 2) & 3) * 2) << 16
           | (uint64_t)ld16u(s + ((imm >> 4) & 3) * 2) << 32 | (uint64_t)ld16u(s + ((imm >> 6) & 3) * 2) << 48;
}
/* ... of 32-bit elements picked by two */
INLINE uint64_t pick32(const uint8_t *s, uint32_t imm)
{
    return (uint64_t)ld32u(s + (imm & 3) * 4) | (uint64_t)ld32u(s + ((imm >> 2) & 3) * 4) << 32;
}
INLINE void hi_pshufd(uint8_t *d, const uint8_t *s, uint32_t imm) { st_pair(d, pick32(s, imm), pick32(s, imm >> 4)); }
INLINE void hi_pshuflw(uint8_t *d, const uint8_t *s, uint32_t imm) { st_pair(d, pick16(s, imm), ld64u(s + 8)); }
INLINE void hi_pshufhw(uint8_t *d, const uint8_t *s, uint32_t imm) { st_pair(d, ld64u(s), pick16(s + 8, imm)); }
INLINE void hi_shufps(uint8_t *d, const uint8_t *s, uint32_t imm) { st_pair(d, pick32(d, imm), pick32(s, imm >> 4)); }
INLINE void hi_shufpd(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    st_pair(d, ld64u(d + (imm & 1) * 8), ld64u(s + ((imm >> 1) & 1) * 8));
}

/* Byte shifts slide a 16-byte window over this row: entry 16 + k of the window is byte k, 0x80 makes PSHUFB write zero. */
static const uint8_t pcemu_slide[48] = {
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128};

INLINE v2u64 slide(v2u64 v, int from)       /* bytes from .. from+15 of v, zero outside; -16 <= from <= 16 */
{
    if (LIKELY_HOST(HAVE_ssse3)) {
        v2u64 m = ld128(pcemu_slide + 16 + from);
        ASM2("pshufb", v, m);
        return v;
    }
    uint8_t t[48] = {0};
    memcpy(t + 16, &v, 16);
    return ld128(t + 16 + from);
}
INLINE void hi_pslldq(uint8_t *d, uint64_t n) { st128(d, slide(ld128(d), -(int)(n > 16 ? 16 : n))); }
INLINE void hi_psrldq(uint8_t *d, uint64_t n) { st128(d, slide(ld128(d), (int)(n > 16 ? 16 : n))); }
INLINE void hi_palignr(uint8_t *d, const uint8_t *s, uint32_t n)
{
    if (n > 32)
        n = 32;
    v2u64 hi = ld128(d), lo = ld128(s);
    st128(d, slide(lo, n > 16 ? 16 : (int)n) | slide(hi, (int)n - 16));
}
INLINE uint64_t m_palignr(uint64_t d, uint64_t s, uint32_t n)
{
    return n >= 16 ? 0 : n >= 8 ? d >> (n - 8) * 8 : n ? s >> n * 8 | d << (64 - n * 8) : s;
}

/* select: bits of s where the mask is set */
INLINE void blend(uint8_t *d, const uint8_t *s, v2u64 m) { st128(d, (ld128(d) & ~m) | (ld128(s) & m)); }
INLINE void hi_pblendw(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    const v8s16 bit = {1, 2, 4, 8, 16, 32, 64, 128};
    v8s16 k = (v8s16){0} + (int16_t)imm;
    blend(d, s, (v2u64)((k & bit) == bit));
}
INLINE void hi_blendps(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    const v4s32 bit = {1, 2, 4, 8};
    v4s32 k = (v4s32){0} + (int32_t)imm;
    blend(d, s, (v2u64)((k & bit) == bit));
}
INLINE void hi_blendpd(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    st_pair(d, imm & 1 ? ld64u(s) : ld64u(d), imm & 2 ? ld64u(s + 8) : ld64u(d + 8));
}
INLINE void hm_pblendvb(uint8_t *d, const uint8_t *s, const uint8_t *m) { blend(d, s, (v2u64)((v16s8)ld128(m) < 0)); }
INLINE void hm_blendvps(uint8_t *d, const uint8_t *s, const uint8_t *m) { blend(d, s, (v2u64)((v4s32)ld128(m) < 0)); }
INLINE void hm_blendvpd(uint8_t *d, const uint8_t *s, const uint8_t *m) { blend(d, s, (v2u64)((v2s64)ld128(m) < 0)); }

/* one element replaced */
INLINE void ins8(uint8_t *d, uint32_t v, uint32_t i)
{
    const v16u8 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    v2u64 m = (v2u64)(lane == (v16u8){0} + (uint8_t)(i & 15)), x = (v2u64)((v16u8){0} + (uint8_t)v);
    st128(d, (ld128(d) & ~m) | (x & m));
}
INLINE void ins16(uint8_t *d, uint32_t v, uint32_t i)
{
    const v8u16 lane = {0, 1, 2, 3, 4, 5, 6, 7};
    v2u64 m = (v2u64)(lane == (v8u16){0} + (uint16_t)(i & 7)), x = (v2u64)((v8u16){0} + (uint16_t)v);
    st128(d, (ld128(d) & ~m) | (x & m));
}
INLINE void ins32(uint8_t *d, uint32_t v, uint32_t i)
{
    const v4u32 lane = {0, 1, 2, 3};
    v2u64 m = (v2u64)(lane == (v4u32){0} + (i & 3)), x = (v2u64)((v4u32){0} + v);
    st128(d, (ld128(d) & ~m) | (x & m));
}
INLINE void ins64(uint8_t *d, uint64_t v, uint32_t i) { i & 1 ? st_pair(d, ld64u(d), v) : st_pair(d, v, ld64u(d + 8)); }
/* INSERTPS: element v goes to place imm[5:4], then the elements of imm[3:0] become zero */
INLINE void hi_insertps(uint8_t *d, uint32_t v, uint32_t imm)
{
    const v4s32 bit = {1, 2, 4, 8};
    ins32(d, v, imm >> 4);
    v4s32 k = (v4s32){0} + (int32_t)imm;
    st128(d, ld128(d) & (v2u64)((k & bit) != bit));
}

/* ------------------------------------------------------------------------------------------- masks to registers */
INLINE uint32_t h_pmovmskb(const uint8_t *s)
{
    uint32_t r = 0;
#if PCEMU_X86
    v2u64 a = ld128(s);
    __asm__("pmovmskb %1, %0" : "=r"(r) : "x"(a));
#else
    for (int i = 0; i < 16; i++)
        r |= (uint32_t)(s[i] >> 7) << i;
#endif
    return r;
}
INLINE uint32_t m_pmovmskb(uint64_t s) { return (uint32_t)(((s >> 7 & 0x0101010101010101u) * 0x0102040810204080u) >> 56); }
INLINE uint32_t h_movmskps(const uint8_t *s)
{
    return s[3] >> 7 | s[7] >> 7 << 1 | s[11] >> 7 << 2 | s[15] >> 7 << 3;
}
INLINE uint32_t h_movmskpd(const uint8_t *s) { return s[7] >> 7 | s[15] >> 7 << 1; }
/* PTEST: ZF at bit 6, CF at bit 0 */
INLINE uint32_t h_ptest(const uint8_t *d, const uint8_t *s)
{
    uint64_t a0 = ld64u(d), a1 = ld64u(d + 8), b0 = ld64u(s), b1 = ld64u(s + 8);
    return (((a0 & b0) | (a1 & b1)) == 0) << 6 | (((~a0 & b0) | (~a1 & b1)) == 0);
}
/* MPSADBW: eight sums of |a[i+k] - b[k]| over k = 0..3; imm bit 2 picks a's half, bits 1:0 the dword of b */
INLINE void hi_mpsadbw(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    const uint8_t *a = d + (imm & 4), *b = s + (imm & 3) * 4;
    uint16_t r[8];
    for (int i = 0; i < 8; i++) {
        r[i] = 0;
        for (int k = 0; k < 4; k++) {
            int x = a[i + k] - b[k];
            r[i] += (uint16_t)(x < 0 ? -x : x);
        }
    }
    memcpy(d, r, 16);
}

/* ----------------------------------------------------------------- comparisons of PCMPxSTRx: a bit an element of v */
#define STR_MASK(name, V, T, op)                                                                                     \
    INLINE uint32_t name(const uint8_t *v, uint32_t x)                                                               \
    {                                                                                                                \
        return lanes((v2u64)((V)ld128(v) op (V){0} + (T)x), sizeof(T) == 2);                                         \
    }
INLINE uint32_t lanes(v2u64 m, int wide)
{
    uint8_t t[16];
    if (!wide) {
        st128(t, m);
        return h_pmovmskb(t);
    }
    v8s16 w = (v8s16)m;
    v16s8 b = {0};
    for (int i = 0; i < 8; i++)
        b[i] = (int8_t)w[i];
#if PCEMU_X86
    __asm__("packsswb %1, %0" : "=x"(b) : "x"(m), "0"(m));
#endif
    st128(t, (v2u64)b);
    return h_pmovmskb(t) & 255;
}
STR_MASK(str_eq8, v16u8, uint8_t, ==)
STR_MASK(str_eq16, v8u16, uint16_t, ==)
STR_MASK(str_geu8, v16u8, uint8_t, >=)
STR_MASK(str_geu16, v8u16, uint16_t, >=)
STR_MASK(str_ges8, v16s8, int8_t, >=)
STR_MASK(str_ges16, v8s16, int16_t, >=)
STR_MASK(str_leu8, v16u8, uint8_t, <=)
STR_MASK(str_leu16, v8u16, uint16_t, <=)
STR_MASK(str_les8, v16s8, int8_t, <=)
STR_MASK(str_les16, v8s16, int16_t, <=)
/* elements of a and b equal, place by place */
INLINE uint32_t str_same8(const uint8_t *a, const uint8_t *b) { return lanes((v2u64)((v16u8)ld128(a) == (v16u8)ld128(b)), 0); }
INLINE uint32_t str_same16(const uint8_t *a, const uint8_t *b) { return lanes((v2u64)((v8u16)ld128(a) == (v8u16)ld128(b)), 1); }

#endif
