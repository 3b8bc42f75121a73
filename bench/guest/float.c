/* Groups for vectors and floating point. Only operations that IEEE 754 defines to the last bit. */
#define _MM_MALLOC_H_INCLUDED /* the header would ask for a C library */
#include <emmintrin.h>

#include "sys.h"

static u64 bits(double value)
{
    u64 result;
    __builtin_memcpy(&result, &value, 8);
    return result;
}

/* Packed integers: a search for bytes, a mixing function, saturating sums. */
u64 run_sse_integer(u32 rounds)
{
    static u8 text[16384] __attribute__((aligned(16)));
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

/* Scalars: planets around a sun. Vectors: single-precision multiply and add. */
struct body {
    double x, y, z, vx, vy, vz, mass;
};

u64 run_sse_float(u32 rounds)
{
    static float a[1024] __attribute__((aligned(16))), b[1024] __attribute__((aligned(16)));
    struct body bodies[5] = {{0, 0, 0, 0, 0, 0, 40}, {4.8, -1.2, -.1, .6, 2.8, -.02, .04}, {8.3, 4.1, -.4, -1, 1.8, .01, .01},
                             {12.8, -15.1, -.2, 1.1, .9, -.01, .002}, {15.3, -25.9, .2, .9, .6, -.03, .002}};
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++) {
        a[i] = (float)i / 16;
        b[i] = 1 + (float)(i & 15) / 64;
    }
    while (rounds--) {
        for (u32 step = 0; step < 300; step++) {
            for (int i = 0; i < 5; i++)
                for (int j = i + 1; j < 5; j++) {
                    struct body *p = &bodies[i], *q = &bodies[j];
                    double dx = p->x - q->x, dy = p->y - q->y, dz = p->z - q->z, d2 = dx * dx + dy * dy + dz * dz;
                    double force = 0.001 / (d2 * __builtin_sqrt(d2));
                    p->vx -= dx * q->mass * force, p->vy -= dy * q->mass * force, p->vz -= dz * q->mass * force;
                    q->vx += dx * p->mass * force, q->vy += dy * p->mass * force, q->vz += dz * p->mass * force;
                }
            for (int i = 0; i < 5; i++)
                bodies[i].x += 0.001 * bodies[i].vx, bodies[i].y += 0.001 * bodies[i].vy, bodies[i].z += 0.001 * bodies[i].vz;
        }
        for (u32 pass = 0; pass < 10; pass++)
            for (u32 i = 0; i < 1024; i += 4) {
                __m128 x = _mm_load_ps(a + i), y = _mm_load_ps(b + i);
                x = _mm_add_ps(_mm_mul_ps(x, y), _mm_set1_ps(0.25f));
                x = _mm_min_ps(_mm_sub_ps(x, _mm_mul_ps(y, y)), _mm_set1_ps(1e6f));
                _mm_store_ps(a + i, _mm_add_ps(_mm_sqrt_ps(x), _mm_div_ps(x, y)));
            }
        sum = sum * 31 + bits(bodies[0].x + bodies[4].vy) + bits(a[rounds * 7 & 1023]);
    }
    return sum;
}

/* The x87 stack, with its 64-bit mantissas: a matrix product, a logistic map, roots. No transcendentals. */
u64 run_x87(u32 rounds)
{
    static long double m[3][16][16];
    long double x = 0.3L;
    u64 sum = 0;
    while (rounds--) {
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 16; j++)
                m[0][i][j] = 1.0L / (i + j + 1), m[1][i][j] = (long double)(i - j) / 3;
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 16; j++) {
                long double total = 0;
                for (int k = 0; k < 16; k++)
                    total += m[0][i][k] * m[1][k][j];
                m[2][i][j] = total;
            }
        for (u32 i = 0; i < 5000; i++)
            x = 3.9L * x * (1 - x);
        long double root = 2;
        for (u32 i = 0; i < 500; i++)
            root = __builtin_sqrtl(root + x) + 1 / (root + 1);
        long double result = m[2][3][5] + x + root;
        u64 mantissa;
        __builtin_memcpy(&mantissa, &result, 8);
        sum = sum * 31 + mantissa;
    }
    return sum;
}
