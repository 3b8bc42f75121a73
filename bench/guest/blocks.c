/* Blocks of bytes: REP string instructions short and long, and what a C library does with vectors. */
#define _MM_MALLOC_H_INCLUDED /* the header would ask for a C library */
#include <emmintrin.h>

#include "sys.h"

static inline void rep_movsb(void *to, const void *from, uword n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static inline void rep_movsl(void *to, const void *from, uword n)
{
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
static inline void rep_stosb(void *to, int value, uword n)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}
static inline void rep_stosl(void *to, int value, uword n)
{
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}
static inline uword repne_scasb(const void *at, int value, uword n)
{
    __asm__ volatile("repne scasb" : "+D"(at), "+c"(n) : "a"(value) : "memory", "cc");
    return n;
}
static inline uword repe_cmpsb(const void *a, const void *b, uword n)
{
    __asm__ volatile("repe cmpsb" : "+D"(a), "+S"(b), "+c"(n) : : "memory", "cc");
    return n;
}

/* The lengths of names and small structures. */
u64 run_short_rep(u32 rounds)
{
    enum { SIZE = 64 << 10 };
    static u8 a[SIZE + 64], b[SIZE + 64];
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        a[i] = (u8)(i * 7 >> 2 | 1);
    while (rounds--)
        for (u32 i = 0; i < 1000; i++) {
            u32 n = 4 + (i * 13 & 31), at = i * 64 & (SIZE - 1);
            rep_movsb(b + at, a + at + 5, n);
            rep_stosb(a + at, (int)n, n);
            sum += repne_scasb(b + at, (int)n, n) + repe_cmpsb(a + at, b + at, n);
        }
    return sum;
}

/* Not a power of two apart: that is another test. */
enum { GAP = 9 * 4096 };

u64 run_rep_movs(u32 rounds)
{
    enum { SIZE = 64 << 10 };
    u8 *a = map(2 * SIZE + GAP, 0), *b = a + SIZE + GAP;
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        a[i] = (u8)(i * 7 >> 2);
    while (rounds--) {
        rep_movsb(b, a, SIZE);
        rep_movsl(a + 4096, b + 100, SIZE / 8);
        sum = sum * 31 + b[rounds * 97 & (SIZE - 1)];
    }
    unmap(a, 2 * SIZE + GAP);
    return sum;
}

u64 run_rep_stos(u32 rounds)
{
    enum { SIZE = 64 << 10 };
    u8 *a = map(SIZE, 0);
    u64 sum = 0;
    while (rounds--) {
        rep_stosb(a + 1, (int)rounds, SIZE - 3);
        rep_stosl(a + 4096, (int)rounds * 3, SIZE / 8);
        sum = sum * 31 + a[rounds * 97 & (SIZE - 1)];
    }
    unmap(a, SIZE);
    return sum;
}

/* REP MOVSB of 256 KiB and nothing else: to be compared with the host's memmove. */
u64 run_block_copy(u32 rounds)
{
    enum { SIZE = 256 << 10 };
    u8 *a = map(2 * SIZE + GAP, 0), *b = a + SIZE + GAP;
    u64 sum = 0;
    for (u32 i = 0; i < SIZE; i++)
        a[i] = (u8)(i * 7 >> 2);
    while (rounds--) {
        rep_movsb(b, a, SIZE);
        sum = sum * 31 + b[rounds * 97 & (SIZE - 1)];
    }
    unmap(a, 2 * SIZE + GAP);
    return sum;
}

/* memcpy, memset, memchr and memcmp as C libraries have them for SSE2: sixteen bytes at a time, four times a turn. */
static KEEP void vector_copy(u8 *to, const u8 *from, uword n)
{
    uword i = 0;
    for (; i + 64 <= n; i += 64) {
        __m128i a = _mm_loadu_si128((const __m128i *)(from + i)), b = _mm_loadu_si128((const __m128i *)(from + i + 16));
        __m128i c = _mm_loadu_si128((const __m128i *)(from + i + 32)), d = _mm_loadu_si128((const __m128i *)(from + i + 48));
        _mm_storeu_si128((__m128i *)(to + i), a);
        _mm_storeu_si128((__m128i *)(to + i + 16), b);
        _mm_storeu_si128((__m128i *)(to + i + 32), c);
        _mm_storeu_si128((__m128i *)(to + i + 48), d);
    }
    for (; i < n; i++)
        to[i] = from[i];
}

static KEEP void vector_set(u8 *to, int value, uword n)
{
    __m128i v = _mm_set1_epi8((char)value);
    uword i = 0;
    for (; i + 64 <= n; i += 64)
        for (u32 k = 0; k < 64; k += 16)
            _mm_storeu_si128((__m128i *)(to + i + k), v);
    for (; i < n; i++)
        to[i] = (u8)value;
}

static KEEP uword vector_find(const u8 *s, int value, uword n)
{
    __m128i v = _mm_set1_epi8((char)value);
    for (uword i = 0; i + 16 <= n; i += 16) {
        int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(s + i)), v));
        if (mask)
            return i + (uword)__builtin_ctz((unsigned)mask);
    }
    return n;
}

static KEEP uword vector_compare(const u8 *a, const u8 *b, uword n)
{
    for (uword i = 0; i + 16 <= n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(a + i)), y = _mm_loadu_si128((const __m128i *)(b + i));
        int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
        if (mask != 0xffff)
            return i + (uword)__builtin_ctz(~(unsigned)mask);
    }
    return n;
}

u64 run_libc_mem(u32 rounds)
{
    static u8 a[8192 + 64], b[8192 + 64];
    u64 sum = 0;
    for (u32 i = 0; i < sizeof a; i++)
        a[i] = (u8)(i % 251 + 1);
    while (rounds--) {
        uword n = 1024 + (rounds & 7) * 1000, total = 0;
        vector_copy(b + 3, a + 8, n);
        total += vector_compare(a + 8, b + 3, n);
        vector_set(b + 77, (int)rounds | 1, n / 2);
        total += vector_find(b, 0, n) + vector_compare(a + 8, b + 3, n);
        vector_copy(b, a, n);
        sum = sum * 31 + total + b[n / 3];
    }
    return sum;
}

/* Packed integers: a mixing function, averages, saturating sums. */
u64 run_sse_integer(u32 rounds)
{
    static u8 text[4096] __attribute__((aligned(16)));
    u64 sum = 0;
    u32 state = 7;
    for (u32 i = 0; i < sizeof text; i++)
        text[i] = (u8)next_random(&state);
    __m128i mix = _mm_set_epi32(1, 2, 3, 4);
    while (rounds--) {
        __m128i wanted = _mm_set1_epi8((char)rounds), total = _mm_setzero_si128();
        u32 hits = 0;
        for (u32 i = 0; i < sizeof text; i += 16) {
            __m128i block = _mm_load_si128((__m128i *)(text + i));
            hits = hits * 3 + (u32)_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted));
            mix = _mm_add_epi32(_mm_xor_si128(mix, _mm_slli_epi32(mix, 5)), _mm_shuffle_epi32(block, 0x39));
            mix = _mm_xor_si128(mix, _mm_mul_epu32(mix, block));
            total = _mm_adds_epu8(total, _mm_avg_epu8(block, wanted));
            total = _mm_add_epi64(total, _mm_sad_epu8(block, total));
            block = _mm_unpacklo_epi8(block, total);
            _mm_storeu_si128((__m128i *)(text + (i ^ 16)), _mm_packus_epi16(block, mix));
        }
        u64 out[4];
        _mm_storeu_si128((__m128i *)out, mix);
        _mm_storeu_si128((__m128i *)(out + 2), total);
        sum = sum * 31 + hits + (out[0] ^ out[1]) + out[2] + out[3];
    }
    return sum;
}

/* The best match of a block of pixels, by sums of differences. */
u64 run_sse_search(u32 rounds)
{
    static u8 picture[64 * 128 + 16] __attribute__((aligned(16)));
    u32 state = 21;
    u64 sum = 0;
    for (u32 i = 0; i < sizeof picture; i++)
        picture[i] = (u8)next_random(&state);
    while (rounds--) {
        u32 best = ~0u, where = 0;
        const u8 *block = picture + (rounds & 31) * 128 + 40;
        for (u32 at = 0; at < 400; at++) {
            const u8 *other = picture + (at / 20) * 128 + 3 * (at % 20);
            __m128i total = _mm_setzero_si128();
            for (u32 row = 0; row < 16; row++)
                total = _mm_add_epi32(total, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(block + row * 128)),
                                                          _mm_loadu_si128((const __m128i *)(other + row * 128))));
            u32 difference = (u32)_mm_cvtsi128_si32(total) + (u32)_mm_cvtsi128_si32(_mm_srli_si128(total, 8));
            if (difference - 1 < best) {
                best = difference - 1;
                where = at;
            }
        }
        sum = sum * 31 + best + where;
    }
    return sum;
}
