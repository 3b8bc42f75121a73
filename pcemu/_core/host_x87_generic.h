/* x87 arithmetic in portable C, for hosts that have no x87: the same operations as host_x87.h, on integers.

   Everything but the transcendentals (host_x87_libm.h) is exact, flags and C1 included; FPREM may take other partial steps than a
   given processor. */
#ifndef PCEMU_HOST_X87_GENERIC_H
#define PCEMU_HOST_X87_GENERIC_H

#include <math.h>
#include "host_x87.h"

typedef unsigned __int128 x_u128;
enum { X_IE = 1, X_DE = 2, X_ZE = 4, X_OE = 8, X_UE = 16, X_PE = 32, X_UNORDERED = X_C0 | X_C2 | X_C3 };
enum { N_ZERO, N_NUM, N_INF, N_QNAN, N_SNAN, N_BAD };
/* m * 2^(e - 63), m with bit 63 set; NaN: m is the whole significand */
typedef struct { int kind, e; uint32_t sign; uint64_t m; } xnum;
#define X_TOP (1ull << 63)
#define X_QUIET (1ull << 62)

/* ------------------------------------------------------------------------------------------- operands and results */
static xnum x_norm(uint32_t sign, int e, uint64_t m)
{
    xnum n = {m ? N_NUM : N_ZERO, e, sign, m};
    if (m) {
        int z = __builtin_clzll(m);
        n.m <<= z;
        n.e -= z;
    }
    return n;
}
static xnum x_get80(const void *p, uint32_t *fl)
{
    uint64_t m;
    uint16_t se;
    memcpy(&m, p, 8);
    memcpy(&se, (const uint8_t *)p + 8, 2);
    int e = se & 0x7fff;
    xnum n = {N_NUM, e - 16383, se >> 15, m};
    if (e == 0) {
        n = x_norm(se >> 15, -16382, m);
        *fl |= m ? X_DE : 0;
    } else if (!(m >> 63))
        n.kind = N_BAD;                                 /* unnormal, pseudo-infinity, pseudo-NaN: not since the 387 */
    else if (e == 0x7fff)
        n.kind = m == X_TOP ? N_INF : m & X_QUIET ? N_QNAN : N_SNAN;
    return n;
}
static xnum x_getf(uint64_t v, int mbits, int ebits, uint32_t *fl)
{
    int bias = (1 << (ebits - 1)) - 1, e = (int)(v >> mbits) & ((1 << ebits) - 1);
    uint32_t sign = (uint32_t)(v >> (mbits + ebits)) & 1;
    uint64_t m = v << (63 - mbits) & ~X_TOP;
    xnum n = {N_NUM, e - bias, sign, m | X_TOP};
    if (e == 0) {
        n = x_norm(sign, 1 - bias, m);
        *fl |= m ? X_DE : 0;
    } else if (e == (1 << ebits) - 1)
        n.kind = m == 0 ? N_INF : m & X_QUIET ? N_QNAN : N_SNAN;
    return n;
}
static xnum x_get_m32(const void *p, uint32_t *fl) { uint32_t v; memcpy(&v, p, 4); return x_getf(v, 23, 8, fl); }
static xnum x_get_m64(const void *p, uint32_t *fl) { uint64_t v; memcpy(&v, p, 8); return x_getf(v, 52, 11, fl); }
static xnum x_int(int64_t v) { return x_norm(v < 0, 63, v < 0 ? 0 - (uint64_t)v : (uint64_t)v); }
static xnum x_get_i16(const void *p, uint32_t *fl) { int16_t v; (void)fl; memcpy(&v, p, 2); return x_int(v); }
static xnum x_get_i32(const void *p, uint32_t *fl) { int32_t v; (void)fl; memcpy(&v, p, 4); return x_int(v); }

static void x_put(void *d, uint32_t sign, uint32_t biased, uint64_t m)
{
    uint16_t se = (uint16_t)(sign << 15 | biased);
    memcpy(d, &m, 8);
    memcpy((uint8_t *)d + 8, &se, 2);
}
static uint32_t x_invalid(void *d) { x_put(d, 1, 0x7fff, X_TOP | X_QUIET); return X_IE; }
static uint32_t x_inf(void *d, uint32_t sign) { x_put(d, sign, 0x7fff, X_TOP); return 0; }
static uint32_t x_zero(void *d, uint32_t sign) { x_put(d, sign, 0, 0); return 0; }

/* the operand itself: a pseudo-denormal becomes normal */
static uint32_t x_pack(void *d, uint32_t sign, int e, uint64_t m, uint64_t lo, uint32_t cw);
static uint32_t x_same(void *d, xnum n)
{
    return n.kind == N_INF ? x_inf(d, n.sign) : n.kind == N_ZERO ? x_zero(d, n.sign) : x_pack(d, n.sign, n.e, n.m, 0, X_DEFAULT);
}

/* The NaN that results (SDM vol. 1, table 4-7). No denormal is reported beside one. */
static uint32_t x_nan(void *d, xnum a, xnum b)
{
    uint32_t fl = a.kind == N_SNAN || b.kind == N_SNAN ? X_IE : 0;
    int pick;
    if (a.kind == N_BAD || b.kind == N_BAD)
        return x_invalid(d);
    if (a.kind < N_QNAN || b.kind < N_QNAN)
        pick = a.kind < N_QNAN;
    else if (a.kind != b.kind)
        pick = b.kind == N_QNAN;
    else
        pick = a.m != b.m ? b.m > a.m : a.sign > b.sign;
    x_put(d, pick ? b.sign : a.sign, 0x7fff, (pick ? b.m : a.m) | X_QUIET);
    return fl;
}

/* Round m + lo / 2^64 to a multiple of 2^drop in direction rc; returns X_PE and X_C1 (up), *carry when it reaches 2^64. */
static uint32_t x_round(uint64_t *m, uint64_t lo, int drop, uint32_t rc, uint32_t sign, int *carry)
{
    uint64_t unit = 1ull << drop, cut = *m & (unit - 1);
    int half = drop ? (int)(cut >> (drop - 1)) : (int)(lo >> 63), odd = (*m & unit) != 0, up;
    int rest = drop ? (cut & ((unit >> 1) - 1)) != 0 || lo : lo << 1 != 0;
    *m -= cut;
    *carry = 0;
    if (!half && !rest)
        return 0;
    up = rc == 0 ? half && (rest || odd) : rc == 1 ? sign != 0 : rc == 2 ? !sign : 0;
    if (!up)
        return X_PE;
    *m += unit;
    *carry = *m == 0;
    return X_PE | X_C1;
}

/* Round to a format of 64 - drop significand bits; *m and *biased (0: denormal or zero) take the result, all ones the infinity. */
static uint32_t x_format(uint64_t *m, uint64_t lo, int e, int drop, int emax, uint32_t rc, uint32_t sign, int *biased)
{
    int emin = 1 - emax, carry, tiny = 0, shift;
    uint32_t fl;
    if (e < emin) {
        uint64_t t = *m;
        x_round(&t, lo, drop, rc, sign, &carry);        /* tiny is what is so after rounding with an unbounded exponent */
        tiny = !(carry && e == emin - 1);
        shift = emin - e;
        if (shift < 64)
            lo = *m << (64 - shift) | (lo != 0), *m >>= shift;
        else if (shift == 64)
            lo = *m | (lo != 0), *m = 0;
        else
            lo = 1, *m = 0;
        e = emin;
    }
    fl = x_round(m, lo, drop, rc, sign, &carry);
    if (carry)
        *m = X_TOP, e++;
    if (tiny && fl)
        fl |= X_UE;
    *biased = *m >> 63 ? e + emax : 0;
    if (e > emax) {
        int to_inf = rc == 0 || (rc == 1 && sign) || (rc == 2 && !sign);
        *biased = to_inf ? 2 * emax + 1 : 2 * emax;
        *m = to_inf ? X_TOP : ~0ull << drop;
        fl = X_OE | X_PE | (to_inf ? X_C1 : 0);
    }
    return fl;
}
static uint32_t x_pack(void *d, uint32_t sign, int e, uint64_t m, uint64_t lo, uint32_t cw)
{
    static const uint8_t drop[4] = {40, 0, 11, 0};
    int biased;
    uint32_t fl = x_format(&m, lo, e, drop[cw >> 8 & 3], 16383, cw >> 10 & 3, sign, &biased);
    x_put(d, sign, (uint32_t)biased, m);
    return fl;
}

/* ------------------------------------------------------------------------------------------------- + - * / and root */
static uint32_t x_sum(void *d, xnum a, xnum b, uint32_t cw)
{
    uint32_t down = (cw >> 10 & 3) == 1;
    if (a.kind == N_INF || b.kind == N_INF)
        return a.kind == b.kind && a.sign != b.sign ? x_invalid(d) : x_inf(d, a.kind == N_INF ? a.sign : b.sign);
    if (a.kind == N_ZERO && b.kind == N_ZERO)
        return x_zero(d, a.sign == b.sign ? a.sign : down);
    if (a.kind == N_ZERO || (b.kind == N_NUM && (b.e > a.e || (b.e == a.e && b.m > a.m)))) {
        xnum t = a;
        a = b;
        b = t;
    }
    if (b.kind == N_ZERO)
        return x_pack(d, a.sign, a.e, a.m, 0, cw);
    int sh = a.e - b.e, z;
    x_u128 x = (x_u128)a.m << 62, y = (x_u128)b.m << 62;
    if (sh >= 128)
        y = 1;
    else if (sh)
        y = y >> sh | (y << (128 - sh) != 0);
    x = a.sign == b.sign ? x + y : x - y;
    if (!x)
        return x_zero(d, down);
    z = x >> 64 ? __builtin_clzll((uint64_t)(x >> 64)) : 64 + __builtin_clzll((uint64_t)x);
    x <<= z;
    return x_pack(d, a.sign, a.e + 2 - z, (uint64_t)(x >> 64), (uint64_t)x, cw);
}
static uint32_t x_product(void *d, xnum a, xnum b, uint32_t cw)
{
    uint32_t sign = a.sign ^ b.sign;
    if (a.kind == N_INF || b.kind == N_INF)
        return a.kind == N_ZERO || b.kind == N_ZERO ? x_invalid(d) : x_inf(d, sign);
    if (a.kind == N_ZERO || b.kind == N_ZERO)
        return x_zero(d, sign);
    x_u128 p = (x_u128)a.m * b.m;
    int z = !(p >> 127);
    p <<= z;
    return x_pack(d, sign, a.e + b.e + 1 - z, (uint64_t)(p >> 64), (uint64_t)p, cw);
}
/* what is left of r / m, r < m, as a fraction: exact about zero, half and sides */
static uint64_t x_rest(uint64_t r, uint64_t m) { return !r ? 0 : r < m - r ? 1 : r == m - r ? X_TOP : X_TOP + 1; }
static uint32_t x_quotient(void *d, xnum a, xnum b, uint32_t cw)
{
    uint32_t sign = a.sign ^ b.sign;
    if (a.kind == b.kind && a.kind != N_NUM)
        return x_invalid(d);
    if (a.kind == N_INF || b.kind == N_ZERO)
        return x_inf(d, sign) | (a.kind == N_INF ? 0 : X_ZE);
    if (b.kind == N_INF || a.kind == N_ZERO)
        return x_zero(d, sign);
    int big = a.m >= b.m;
    x_u128 n = (x_u128)a.m << (64 - big);
    uint64_t q = (uint64_t)(n / b.m), r = (uint64_t)(n % b.m);
    return x_pack(d, sign, a.e - b.e - 1 + big, q, x_rest(r, b.m), cw);
}
enum { A_ADD, A_MUL, A_SUB, A_SUBR, A_DIV, A_DIVR };
static uint32_t x_do(void *d, xnum a, xnum b, int op, uint32_t cw, uint32_t fl)
{
    uint32_t r;
    if (a.kind >= N_QNAN || b.kind >= N_QNAN)
        return x_nan(d, a, b);
    b.sign ^= op == A_SUB;
    a.sign ^= op == A_SUBR;
    r = op == A_MUL ? x_product(d, a, b, cw) : op == A_DIV ? x_quotient(d, a, b, cw) : op == A_DIVR ? x_quotient(d, b, a, cw)
        : x_sum(d, a, b, cw);
    return r & (X_IE | X_ZE) ? r : r | fl;
}
#define X_KIND(name, get, op) \
    X_OP x_##name(X_ARGS) { uint32_t fl = 0; xnum x = x_get80(a, &fl), y = get(b, &fl); return x_do(d, x, y, op, cw, fl); }
#define X_ARITH(name, op)                                                                                                \
    X_KIND(name, x_get80, op)                                                                                            \
    X_KIND(name##_m32, x_get_m32, op)                                                                                    \
    X_KIND(name##_m64, x_get_m64, op)                                                                                    \
    X_KIND(name##_i16, x_get_i16, op)                                                                                    \
    X_KIND(name##_i32, x_get_i32, op)
X_ARITH(add, A_ADD)
X_ARITH(mul, A_MUL)
X_ARITH(sub, A_SUB)
X_ARITH(subr, A_SUBR)
X_ARITH(div, A_DIV)
X_ARITH(divr, A_DIVR)

X_OP x_sqrt(X_ARGS)
{
    uint32_t fl = 0;
    xnum n = x_get80(a, &fl);
    (void)b;
    if (n.kind >= N_QNAN)
        return x_nan(d, n, x_int(0));
    if (n.kind == N_ZERO)
        return x_zero(d, n.sign);
    if (n.sign)
        return x_invalid(d);
    if (n.kind == N_INF)
        return x_inf(d, 0);
    /* the 64-bit root of a 128-bit number: a guess of 53 bits, one step of Newton's, the last unit by trying */
    x_u128 r = (x_u128)n.m << (63 + (n.e & 1));
    double guess = sqrt((double)r);
    uint64_t q = guess < 18446744073709551615.0 ? (uint64_t)guess : ~0ull;
    q = (uint64_t)((r / q + q) >> 1);
    while ((x_u128)q * q > r)
        q--;
    while (r - (x_u128)q * q > 2 * (x_u128)q)
        q++;
    r -= (x_u128)q * q;
    return x_pack(d, 0, (n.e - (n.e & 1)) / 2, q, !r ? 0 : r > q ? X_TOP + 1 : 1, cw) | fl;
}

/* -------------------------------------------------------------------------------------------------- comparisons */
static uint32_t x_order(xnum a, xnum b, int quiet, uint32_t fl)
{
    int less;
    if (a.kind == N_BAD || b.kind == N_BAD || a.kind == N_SNAN || b.kind == N_SNAN)
        return X_UNORDERED | X_IE;
    if (a.kind == N_QNAN || b.kind == N_QNAN)
        return X_UNORDERED | (quiet ? 0 : X_IE);
    if (a.kind == N_ZERO && b.kind == N_ZERO)
        return X_C3 | fl;
    if (a.kind == N_ZERO || b.kind == N_ZERO)
        less = a.kind == N_ZERO ? !b.sign : a.sign;
    else if (a.sign != b.sign)
        less = a.sign;
    else {
        int x = a.kind == N_INF ? 32768 : a.e, y = b.kind == N_INF ? 32768 : b.e;
        if (x == y && a.m == b.m)
            return X_C3 | fl;
        less = (x != y ? x < y : a.m < b.m) ^ (int)a.sign;
    }
    return (less ? X_C0 : 0) | fl;
}
#define X_COM(name, get, quiet)                                                                                          \
    X_OP x_##name(X_ARGS)                                                                                                \
    {                                                                                                                    \
        uint32_t fl = 0;                                                                                                 \
        xnum x = x_get80(a, &fl), y = get(b, &fl);                                                                       \
        (void)d, (void)cw;                                                                                               \
        return x_order(x, y, quiet, fl);                                                                                 \
    }
X_COM(com, x_get80, 0)
X_COM(ucom, x_get80, 1)
X_COM(com_m32, x_get_m32, 0)
X_COM(com_m64, x_get_m64, 0)
X_COM(com_i16, x_get_i16, 0)
X_COM(com_i32, x_get_i32, 0)

/* ------------------------------------------------------------------------------------------- loads, stores, integers */
#define X_LOAD(name, get)                                                                                                \
    X_OP x_##name(X_ARGS)                                                                                                \
    {                                                                                                                    \
        uint32_t fl = 0;                                                                                                 \
        xnum n = get(a, &fl);                                                                                            \
        (void)b, (void)cw;                                                                                                     \
        if (n.kind >= N_QNAN)                                                                                            \
            return x_nan(d, n, x_int(0));                                                                                \
        return x_same(d, n) | fl;                                                                                        \
    }
X_LOAD(ld32, x_get_m32)
X_LOAD(ld64, x_get_m64)

static uint32_t x_storef(uint64_t *v, const void *a, int mbits, int ebits, uint32_t cw)
{
    uint32_t fl = 0;
    xnum n = x_get80(a, &fl);
    int biased = 0, top = (1 << ebits) - 1;
    fl = 0;
    if (n.kind == N_BAD)
        fl = X_IE, n.sign = 1, n.m = X_TOP | X_QUIET, biased = top;
    else if (n.kind >= N_QNAN)
        fl = n.kind == N_SNAN ? X_IE : 0, n.m |= X_QUIET, biased = top;
    else if (n.kind == N_INF)
        biased = top;
    else if (n.kind == N_NUM)
        fl = x_format(&n.m, 0, n.e, 63 - mbits, top / 2, cw >> 10 & 3, n.sign, &biased);
    *v = (uint64_t)n.sign << (mbits + ebits) | (uint64_t)biased << mbits | (n.m & ~X_TOP) >> (63 - mbits);
    return fl;
}
X_OP x_st32(X_ARGS) { uint64_t v; uint32_t w, fl = x_storef(&v, a, 23, 8, cw); (void)b; w = (uint32_t)v; memcpy(d, &w, 4); return fl; }
X_OP x_st64(X_ARGS) { uint64_t v; uint32_t fl = x_storef(&v, a, 52, 11, cw); (void)b; memcpy(d, &v, 8); return fl; }

/* The magnitude rounded to an integer, at most max (one more when negative and `two`); X_IE when it does not fit. */
static uint32_t x_whole(xnum n, uint64_t *v, uint64_t max, int two, uint32_t rc)
{
    uint64_t lo;
    int sh = 63 - n.e, carry = 0;
    uint32_t fl;
    *v = 0;
    if (n.kind == N_ZERO)
        return 0;
    if (n.kind != N_NUM || sh < 0)
        return X_IE;
    *v = sh < 64 ? n.m >> sh : 0;
    lo = sh == 0 ? 0 : sh < 64 ? n.m << (64 - sh) : sh == 64 ? n.m : 1;
    fl = x_round(v, lo, 0, rc, n.sign, &carry);
    return carry || *v > max + (two && n.sign) ? X_IE : fl;
}
#define X_IST(bits)                                                                                                      \
    X_OP x_ist##bits(X_ARGS)                                                                                             \
    {                                                                                                                    \
        uint32_t fl = 0;                                                                                                 \
        xnum n = x_get80(a, &fl);                                                                                        \
        uint64_t v;                                                                                                      \
        (void)b;                                                                                                         \
        fl = x_whole(n, &v, (1ull << (bits - 1)) - 1, 1, cw >> 10 & 3);                                                  \
        uint##bits##_t w = (uint##bits##_t)(fl & X_IE ? 1ull << (bits - 1) : n.sign ? 0 - v : v);                        \
        memcpy(d, &w, bits / 8);                                                                                         \
        return fl;                                                                                                       \
    }
X_IST(16)
X_IST(32)
X_IST(64)

X_OP x_rndint(X_ARGS)
{
    uint32_t fl = 0, r;
    xnum n = x_get80(a, &fl);
    uint64_t v;
    (void)b;
    if (n.kind >= N_QNAN)
        return x_nan(d, n, x_int(0));
    if (n.kind != N_NUM || n.e >= 63)
        return x_same(d, n) | fl;
    r = x_whole(n, &v, ~0ull, 0, cw >> 10 & 3);
    return x_same(d, x_norm(n.sign, 63, v)) | r | fl;
}
X_OP x_ldbcd(X_ARGS)
{
    const uint8_t *p = a;
    uint64_t v = 0;
    (void)b, (void)cw;
    for (int i = 8; i >= 0; i--)
        v = v * 100 + (uint64_t)(p[i] >> 4) * 10 + (p[i] & 15);
    return x_same(d, x_norm(p[9] >> 7, 63, v));
}
X_OP x_stbcd(X_ARGS)
{
    uint32_t fl = 0;
    xnum n = x_get80(a, &fl);
    uint8_t *p = d;
    uint64_t v;
    (void)b;
    fl = x_whole(n, &v, 999999999999999999ull, 0, cw >> 10 & 3);
    if (fl & X_IE) {
        memset(p, 0, 7);
        p[7] = 0xc0;
        p[8] = p[9] = 0xff;
        return fl;
    }
    for (int i = 0; i < 9; i++, v /= 100)
        p[i] = (uint8_t)(v % 10 | v / 10 % 10 << 4);
    p[9] = (uint8_t)(n.sign << 7);
    return fl;
}

/* ------------------------------------------------------------------------------------------ scale, remainder, extract */
X_OP x_scale(X_ARGS)
{
    uint32_t fl = 0;
    xnum x = x_get80(a, &fl), y = x_get80(b, &fl);
    int n;
    if (x.kind >= N_QNAN || y.kind >= N_QNAN)
        return x_nan(d, x, y);
    if (y.kind == N_INF) {
        if (x.kind == (y.sign ? N_INF : N_ZERO))
            return x_invalid(d);
        return (x.kind == N_INF || (x.kind == N_NUM && !y.sign) ? x_inf(d, x.sign) : x_zero(d, x.sign)) | fl;
    }
    if (x.kind != N_NUM)
        return x_same(d, x) | fl;
    n = y.kind == N_ZERO || y.e < 0 ? 0 : y.e > 16 ? 100000 : (int)(y.m >> (63 - y.e));
    return x_pack(d, x.sign, x.e + (y.sign ? -n : n), x.m, 0, cw | X_DEFAULT) | fl;
}
static uint32_t x_remainder(void *d, const void *a, const void *b, int nearest)
{
    uint32_t fl = 0, more = 0;
    xnum x = x_get80(a, &fl), y = x_get80(b, &fl);
    uint64_t q = 0, r = x.m;
    int steps, over = 0;
    if (x.kind >= N_QNAN || y.kind >= N_QNAN)
        return x_nan(d, x, y);
    if (x.kind == N_INF || y.kind == N_ZERO)
        return x_invalid(d);
    steps = x.e - y.e;
    if (x.kind == N_ZERO || y.kind == N_INF || steps < -nearest || (steps < 0 && x.m <= y.m))
        return x_same(d, x) | fl;
    if (steps < 0) {                                    /* more than half the divisor: one of it is taken */
        q = 1;
        r = y.m - (x.m - y.m);
        x.sign ^= 1;
        y.e--;
    } else {
        if (steps >= 64) {                              /* part of the way */
            more = X_C2;
            steps = 32 + (steps & 31);
            y.e = x.e - steps;
        }
        for (int i = 0; i <= steps; i++) {
            if (i) {
                over = (int)(r >> 63);
                r <<= 1;
            }
            q <<= 1;
            if (over || r >= y.m)
                r -= y.m, q |= 1;
        }
        if (nearest && !more && (r > y.m - r || (r == y.m - r && q & 1)))
            r = y.m - r, q++, x.sign ^= 1;
    }
    fl |= more ? more : (q & 4 ? X_C0 : 0) | (q & 2 ? X_C3 : 0) | (q & 1 ? X_C1 : 0);
    return x_same(d, x_norm(x.sign, y.e, r)) | fl;
}
X_OP x_prem(X_ARGS) { (void)cw; return x_remainder(d, a, b, 0); }
X_OP x_prem1(X_ARGS) { (void)cw; return x_remainder(d, a, b, 1); }
X_OP x_xtract(X_ARGS)
{
    uint32_t fl = 0;
    uint8_t *two = (uint8_t *)d + 16;
    xnum n = x_get80(a, &fl);
    (void)b, (void)cw;
    if (n.kind >= N_QNAN) {
        fl = x_nan(two, n, x_int(0));
        memcpy(d, two, 10);
        return fl;
    }
    if (n.kind != N_NUM) {
        memcpy(two, a, 10);
        return x_inf(d, n.kind == N_ZERO) | (n.kind == N_ZERO ? X_ZE : 0);
    }
    x_put(two, n.sign, 16383, n.m);
    return x_same(d, x_int(n.e)) | fl;
}

#include "host_x87_libm.h"

#endif
