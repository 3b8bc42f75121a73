/* Floating point by SSE, AVX and x87. Checksums: only operations that IEEE 754 defines to the last bit; else rounded. */
#define _MM_MALLOC_H_INCLUDED /* the header would ask for a C library */
#include <immintrin.h>

#include "sys.h"

static u64 bits(double value)
{
    u64 result;
    __builtin_memcpy(&result, &value, 8);
    return result;
}

/* Scalar doubles: planets around a sun. */
struct body {
    double x, y, z, vx, vy, vz, mass;
};

u64 run_nbody(u32 rounds)
{
    struct body bodies[5] = {{0, 0, 0, 0, 0, 0, 40}, {4.8, -1.2, -.1, .6, 2.8, -.02, .04}, {8.3, 4.1, -.4, -1, 1.8, .01, .01},
                             {12.8, -15.1, -.2, 1.1, .9, -.01, .002}, {15.3, -25.9, .2, .9, .6, -.03, .002}};
    u64 sum = 0;
    while (rounds--) {
        for (u32 step = 0; step < 100; step++) {
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
        sum = sum * 31 + bits(bodies[0].x + bodies[4].vy);
    }
    return sum;
}

/* Scalar doubles: a product of matrices; conversions. */
u64 run_matrix(u32 rounds)
{
    enum { N = 24 };
    static double m[3][N][N];
    u64 sum = 0;
    while (rounds--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                m[0][i][j] = 1.0 / (i + j + 1), m[1][i][j] = (double)(i - j + (int)rounds) / 3;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double total = 0;
                for (int k = 0; k < N; k++)
                    total += m[0][i][k] * m[1][k][j];
                m[2][i][j] = total;
            }
        sum = sum * 31 + bits(m[2][3][5]) + (u32)(int)m[2][N - 1][N - 1];
    }
    return sum;
}

/* Packed singles: multiply, add, divide, roots. */
u64 run_packed_single(u32 rounds)
{
    static float a[1024] __attribute__((aligned(16))), b[1024] __attribute__((aligned(16)));
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++) {
        a[i] = (float)i / 16;
        b[i] = 1 + (float)(i & 15) / 64;
    }
    while (rounds--) {
        for (u32 i = 0; i < 1024; i += 4) {
            __m128 x = _mm_load_ps(a + i), y = _mm_load_ps(b + i);
            x = _mm_add_ps(_mm_mul_ps(x, y), _mm_set1_ps(0.25f));
            x = _mm_min_ps(_mm_sub_ps(x, _mm_mul_ps(y, y)), _mm_set1_ps(1e6f));
            _mm_store_ps(a + i, _mm_add_ps(_mm_sqrt_ps(x), _mm_div_ps(x, y)));
        }
        sum = sum * 31 + bits(a[rounds * 7 & 1023]);
    }
    return sum;
}

/* Packed doubles: how long points stay near the Mandelbrot set. */
u64 run_mandelbrot(u32 rounds)
{
    u64 sum = 0;
    while (rounds--)
        for (u32 i = 0; i < 40; i++) {
            __m128d cx = _mm_set_pd(-2 + i * 0.06, -2 + i * 0.07), cy = _mm_set1_pd((double)(rounds % 50) * 0.02);
            __m128d x = cx, y = cy, inside = _mm_setzero_pd(), one = _mm_set1_pd(1), four = _mm_set1_pd(4);
            for (u32 n = 0; n < 40; n++) {
                __m128d xx = _mm_mul_pd(x, x), yy = _mm_mul_pd(y, y), xy = _mm_mul_pd(x, y);
                __m128d near = _mm_cmplt_pd(_mm_add_pd(xx, yy), four);
                if (!_mm_movemask_pd(near))
                    break;
                inside = _mm_add_pd(inside, _mm_and_pd(near, one));
                y = _mm_add_pd(_mm_add_pd(xy, xy), cy);
                x = _mm_add_pd(_mm_sub_pd(xx, yy), cx);
            }
            sum = sum * 3 + (u32)_mm_cvttsd_si32(inside) + 41 * (u32)_mm_cvttsd_si32(_mm_unpackhi_pd(inside, inside));
        }
    return sum;
}

/* AVX and FMA: a product of matrices, eight singles at a time. */
__attribute__((target("avx2,fma"))) u64 run_matrix_avx(u32 rounds)
{
    enum { N = 32 };
    static float m[3][N][N] __attribute__((aligned(32)));
    u64 sum = 0;
    while (rounds--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                m[0][i][j] = (float)(i ^ j) / 8, m[1][i][j] = (float)(i - j + (int)(rounds & 15)) / 4;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j += 8) {
                __m256 total = _mm256_setzero_ps();
                for (int k = 0; k < N; k++)
                    total = _mm256_fmadd_ps(_mm256_broadcast_ss(&m[0][i][k]), _mm256_loadu_ps(&m[1][k][j]), total);
                _mm256_store_ps(&m[2][i][j], _mm256_max_ps(total, _mm256_set1_ps(-1e6f)));
            }
        sum = sum * 31 + bits(m[2][3][5]) + bits(m[2][N - 1][rounds & (N - 1)]);
    }
    return sum;
}

/* AVX2: integers, compared and shuffled across lanes. */
__attribute__((target("avx2,fma"))) u64 run_integer_avx(u32 rounds)
{
    static u32 a[1024] __attribute__((aligned(32)));
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++)
        a[i] = i * 2654435761u;
    while (rounds--) {
        __m256i total = _mm256_set1_epi32((int)rounds);
        for (u32 i = 0; i < 1024; i += 8) {
            __m256i x = _mm256_load_si256((__m256i *)(a + i));
            __m256i larger = _mm256_cmpgt_epi32(x, total);
            total = _mm256_add_epi32(total, _mm256_blendv_epi8(_mm256_mullo_epi32(x, total), _mm256_slli_epi32(x, 3), larger));
            total = _mm256_xor_si256(total, _mm256_permute4x64_epi64(x, 0x1b));
            _mm256_store_si256((__m256i *)(a + i), _mm256_shuffle_epi8(_mm256_add_epi32(x, total), _mm256_set1_epi32(0x00030201)));
        }
        sum = sum * 31 + (u32)_mm256_extract_epi32(total, 3) + (u32)_mm256_extract_epi32(total, 6);
    }
    return sum;
}

/* The x87 stack, with its 64-bit mantissas: a matrix product, a logistic map, roots. */
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

/* x87 transcendentals; six decimal places count. */
u64 run_x87_functions(u32 rounds)
{
    long double total = 0;
    u64 sum = 0;
    while (rounds--) {
        for (u32 i = 0; i < 50; i++) {
            long double x = 0.001L + i * 0.0187L, s, c, t, a, e, l;
            __asm__("fsincos" : "=t"(c), "=u"(s) : "0"(x * 3));
            __asm__("fptan; fstp %%st(0)" : "=t"(t) : "0"(x));
            __asm__("fpatan" : "=t"(a) : "0"(x + 1), "u"(x * 5) : "st(1)");
            __asm__("f2xm1" : "=t"(e) : "0"(x));
            __asm__("fyl2x" : "=t"(l) : "0"(x + 0.5L), "u"(x + 2) : "st(1)");
            total += s - c + t + a * e + l;
        }
        sum = sum * 31 + (u64)(long long)(total * 1e6L);
        total *= 0.125L;
    }
    return sum;
}
