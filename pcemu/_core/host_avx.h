/* VEX forms for the AVX handlers: three operands, 128 bits with the rest of the register cleared, or 256 bits.

   Made of the 16-byte operations of host_simd.h, so that any host runs them: a 256-bit instruction works on the two halves of its
   operands separately, or else has a function of its own here. Two shapes of each, destination d, first source a (VEX.vvvv),
   second source b (register or memory), immediate:
     v_<name>(d, a, b, imm)  VEX.128      w_<name>(d, a, b, imm)  VEX.256
   d may be a or b: everything is read before anything is written. */
#ifndef PCEMU_HOST_AVX_H
#define PCEMU_HOST_AVX_H

#include "host_simd.h"

#define AVX_ARGS uint8_t *d, const uint8_t *a, const uint8_t *b, uint32_t imm
#define AVX_UNUSED ((void)a, (void)b, (void)imm)
#define BYTES(x) ((uint8_t *)&(x))

INLINE void put128(uint8_t *d, v2u64 x) { st128(d, x); st_pair(d + 16, 0, 0); }
INLINE void put256(uint8_t *d, v2u64 x, v2u64 y) { st128(d, x); st128(d + 16, y); }
INLINE void clear_high(uint8_t *d) { st_pair(d + 16, 0, 0); }

/* x, y: the halves of the destination, which hold those of the first source before */
#define AVX_128(name, ...)                                                                                           \
    INLINE void v_##name(AVX_ARGS) { v2u64 x = ld128(a); AVX_UNUSED; __VA_ARGS__; put128(d, x); }
#define AVX_256(name, ...)                                                                                           \
    INLINE void w_##name(AVX_ARGS) { v2u64 x = ld128(a), y = ld128(a + 16); AVX_UNUSED; __VA_ARGS__; put256(d, x, y); }
#define AVX_SLOW_128(name, ...)                                                                                      \
    PORTABLE void v_slow_##name(AVX_ARGS) { v2u64 x = ld128(a); AVX_UNUSED; __VA_ARGS__; put128(d, x); }
#define AVX_SLOW_256(name, ...)                                                                                      \
    PORTABLE void w_slow_##name(AVX_ARGS) { v2u64 x = ld128(a), y = ld128(a + 16); AVX_UNUSED; __VA_ARGS__; put256(d, x, y); }
/* ... with one source, b */
#define AVX_128_1(name, ...)                                                                                         \
    INLINE void v_##name(AVX_ARGS) { v2u64 x = {0, 0}; AVX_UNUSED; __VA_ARGS__; put128(d, x); }
#define AVX_256_1(name, ...)                                                                                         \
    INLINE void w_##name(AVX_ARGS) { v2u64 x = {0, 0}, y = {0, 0}; AVX_UNUSED; __VA_ARGS__; put256(d, x, y); }

/* the SSE operation on each half: the host's instruction; the other way out of line, so that the fast path needs no stack */
#define AVX_AT(name, lvl, SLOW_128, SLOW_256, b_high)                                                                \
    SLOW_128 SLOW_256                                                                                                \
    INLINE void v_##name(AVX_ARGS)                                                                                   \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_##lvl)) {                                                                               \
            v2u64 x = ld128(a), t = ld128(b);                                                                        \
            ASM2(#name, x, t);                                                                                       \
            put128(d, x);                                                                                            \
        } else                                                                                                       \
            v_slow_##name(d, a, b, imm);                                                                             \
    }                                                                                                                \
    INLINE void w_##name(AVX_ARGS)                                                                                   \
    {                                                                                                                \
        if (LIKELY_HOST(HAVE_##lvl)) {                                                                               \
            v2u64 x = ld128(a), y = ld128(a + 16), t = ld128(b), u = ld128(b_high);                                  \
            ASM2(#name, x, t);                                                                                       \
            ASM2(#name, y, u);                                                                                       \
            put256(d, x, y);                                                                                         \
        } else                                                                                                       \
            w_slow_##name(d, a, b, imm);                                                                             \
    }
#define AVX3(name, lvl)                                                                                              \
    AVX_AT(name, lvl, AVX_SLOW_128(name, h_##name(BYTES(x), b)),                                                     \
           AVX_SLOW_256(name, h_##name(BYTES(x), b), h_##name(BYTES(y), b + 16)), b + 16)
#define AVX2(name, lvl) AVX3(name, lvl)         /* (a is not used) */
/* with an immediate; the upper half takes it shifted right */
#define AVX3I(name, shift)                                                                                           \
    AVX_128(name, hi_##name(BYTES(x), b, imm)) AVX_256(name, hi_##name(BYTES(x), b, imm), hi_##name(BYTES(y), b + 16, imm >> (shift)))
#define AVX2I(name, shift)                                                                                           \
    AVX_128_1(name, hi_##name(BYTES(x), b, imm))                                                                     \
    AVX_256_1(name, hi_##name(BYTES(x), b, imm), hi_##name(BYTES(y), b + 16, imm >> (shift)))
/* one count for both halves */
#define AVX_SHIFT(name)                                                                                              \
    AVX_AT(name, sse2, AVX_SLOW_128(name, h_##name(BYTES(x), b)), AVX_SLOW_256(name, h_##name(BYTES(x), b), h_##name(BYTES(y), b)), b)
#define AVX_SHIFTI(name)                                                                                             \
    AVX_128_1(name##i, x = ld128(b); hi_##name(BYTES(x), imm))                                                       \
    AVX_256_1(name##i, x = ld128(b); hi_##name(BYTES(x), imm), y = ld128(b + 16); hi_##name(BYTES(y), imm))
/* widening: the upper half comes from the next n bytes */
#define AVX_WIDEN(name, n) AVX_128_1(name, h_##name(BYTES(x), b)) AVX_256_1(name, h_##name(BYTES(x), b), h_##name(BYTES(y), b + (n)))

/* select by a third register */
#define AVX_BLENDV(name)                                                                                             \
    INLINE void v_##name(uint8_t *d, const uint8_t *a, const uint8_t *b, const uint8_t *m)                           \
    {                                                                                                                \
        v2u64 x = ld128(a);                                                                                          \
        hm_##name(BYTES(x), b, m);                                                                                   \
        put128(d, x);                                                                                                \
    }                                                                                                                \
    INLINE void w_##name(uint8_t *d, const uint8_t *a, const uint8_t *b, const uint8_t *m)                           \
    {                                                                                                                \
        v2u64 x = ld128(a), y = ld128(a + 16);                                                                       \
        hm_##name(BYTES(x), b, m);                                                                                   \
        hm_##name(BYTES(y), b + 16, m + 16);                                                                         \
        put256(d, x, y);                                                                                             \
    }

/* ------------------------------------------------------------------------------------- moves and broadcasts */
INLINE v2u64 both(uint64_t v) { return (v2u64){v, v}; }
INLINE v2u64 even32(v2u64 s) { return (s & both(0xffffffffu)) | s << 32; }
INLINE v2u64 odd32(v2u64 s) { return (s & both(~0ull << 32)) | s >> 32; }

AVX_128_1(mov, x = ld128(b))
AVX_256_1(mov, x = ld128(b); y = ld128(b + 16))
AVX_128_1(movddup, x = both(ld64u(b)))
AVX_256_1(movddup, x = both(ld64u(b)); y = both(ld64u(b + 16)))
AVX_128_1(movsldup, x = even32(ld128(b)))
AVX_256_1(movsldup, x = even32(ld128(b)); y = even32(ld128(b + 16)))
AVX_128_1(movshdup, x = odd32(ld128(b)))
AVX_256_1(movshdup, x = odd32(ld128(b)); y = odd32(ld128(b + 16)))
AVX_128_1(movd_32, x = lo64(ld32u(b)))
AVX_128_1(movd_64, x = lo64(ld64u(b)))
AVX_128_1(movss_m, x = lo64(ld32u(b)))
/* low or high part from b, the rest from a */
AVX_128(movss, x = (x & (v2u64){~0ull << 32, ~0ull}) | lo64(ld32u(b)))
AVX_128(movsd, x[0] = ld64u(b))
AVX_128(movhlps, x[0] = ld64u(b + 8))
AVX_128(movlhps, x[1] = ld64u(b))
AVX_128(pinsrb, ins8(BYTES(x), b[0], imm))
AVX_128(pinsrw, ins16(BYTES(x), ld16u(b), imm))
AVX_128(pinsrdq_32, ins32(BYTES(x), ld32u(b), imm))
AVX_128(pinsrdq_64, ins64(BYTES(x), ld64u(b), imm))
AVX_128(insertps, hi_insertps(BYTES(x), ld32u(b + (imm >> 6 & 3) * 4), imm))
AVX_128(insertps_m, hi_insertps(BYTES(x), ld32u(b), imm))

#define AVX_BROADCAST(name, v) AVX_128_1(name, x = both(v)) AVX_256_1(name, x = y = both(v))
AVX_BROADCAST(broadcast8, b[0] * 0x0101010101010101ull)
AVX_BROADCAST(broadcast16, ld16u(b) * 0x0001000100010001ull)
AVX_BROADCAST(broadcast32, ld32u(b) * 0x0000000100000001ull)
AVX_BROADCAST(broadcast64, ld64u(b))
AVX_256_1(broadcast128, x = y = ld128(b))

/* --------------------------------------------------------------------------------------------- permutations */
INLINE void hi_permilpd(uint8_t *d, const uint8_t *s, uint32_t imm)
{
    st_pair(d, ld64u(s + (imm & 1) * 8), ld64u(s + (imm >> 1 & 1) * 8));
}
INLINE v2u64 permilps(const uint8_t *a, const uint8_t *b)
{
    return (v2u64)(v4u32){ld32u(a + (b[0] & 3) * 4), ld32u(a + (b[4] & 3) * 4), ld32u(a + (b[8] & 3) * 4), ld32u(a + (b[12] & 3) * 4)};
}
INLINE v2u64 permilpd(const uint8_t *a, const uint8_t *b) { return (v2u64){ld64u(a + (b[0] >> 1 & 1) * 8), ld64u(a + (b[8] >> 1 & 1) * 8)}; }
INLINE v2u64 permd(const uint8_t *v, const uint8_t *index)      /* four of v's eight */
{
    return (v2u64)(v4u32){ld32u(v + (index[0] & 7) * 4), ld32u(v + (index[4] & 7) * 4), ld32u(v + (index[8] & 7) * 4),
                          ld32u(v + (index[12] & 7) * 4)};
}
INLINE v2u64 half_of(const uint8_t *a, const uint8_t *b, uint32_t ctl)
{
    v2u64 v = ld128((ctl & 2 ? b : a) + (ctl & 1) * 16);
    return ctl & 8 ? both(0) : v;
}
AVX2I(permilpd, 2)
AVX_128_1(permilps_v, x = permilps(a, b))
AVX_256_1(permilps_v, x = permilps(a, b); y = permilps(a + 16, b + 16))
AVX_128_1(permilpd_v, x = permilpd(a, b))
AVX_256_1(permilpd_v, x = permilpd(a, b); y = permilpd(a + 16, b + 16))
AVX_256_1(permd, x = permd(b, a); y = permd(b, a + 16))
AVX_256_1(permq, x = (v2u64){ld64u(b + (imm & 3) * 8), ld64u(b + (imm >> 2 & 3) * 8)};
          y = (v2u64){ld64u(b + (imm >> 4 & 3) * 8), ld64u(b + (imm >> 6 & 3) * 8)})
AVX_256_1(perm2f128, x = half_of(a, b, imm); y = half_of(a, b, imm >> 4))
AVX_256(insertf128, if (imm & 1) y = ld128(b); else x = ld128(b))

/* ------------------------------------------------------------------------- shifts, each element by its own count */
#define PER_ELEMENT(name, V, N, T, expr)                                                                             \
    INLINE v2u64 each_##name(v2u64 a, v2u64 b)                                                                       \
    {                                                                                                                \
        V x = (V)a, y = (V)b;                                                                                        \
        for (int i = 0; i < N; i++) {                                                                                \
            T v = x[i], n = y[i];                                                                                    \
            x[i] = (T)(expr);                                                                                        \
        }                                                                                                            \
        return (v2u64)x;                                                                                             \
    }                                                                                                                \
    AVX_128(name, x = each_##name(x, ld128(b))) AVX_256(name, x = each_##name(x, ld128(b)); y = each_##name(y, ld128(b + 16)))
PER_ELEMENT(psllvd, v4u32, 4, uint32_t, n < 32 ? v << n : 0)
PER_ELEMENT(psrlvd, v4u32, 4, uint32_t, n < 32 ? v >> n : 0)
PER_ELEMENT(psravd, v4u32, 4, uint32_t, (int32_t)v >> (n < 32 ? n : 31))
PER_ELEMENT(psllvq, v2u64, 2, uint64_t, n < 64 ? v << n : 0)
PER_ELEMENT(psrlvq, v2u64, 2, uint64_t, n < 64 ? v >> n : 0)

/* ------------------------------------------------------------------------------------------------------- tests */
/* ZF and CF at their places: no bit of b in a; no bit of b outside a; of those in `mask` */
INLINE uint32_t test_bits(v2u64 a, v2u64 b, v2u64 mask)
{
    v2u64 z = a & b & mask, c = ~a & b & mask;
    return (z[0] | z[1] ? 0 : 0x40u) | (c[0] | c[1] ? 0 : 1u);
}
INLINE uint32_t v_test(const uint8_t *a, const uint8_t *b, uint64_t mask) { return test_bits(ld128(a), ld128(b), both(mask)); }
INLINE uint32_t w_test(const uint8_t *a, const uint8_t *b, uint64_t mask)
{
    return test_bits(ld128(a), ld128(b), both(mask)) & test_bits(ld128(a + 16), ld128(b + 16), both(mask));
}

#endif
