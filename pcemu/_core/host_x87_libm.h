/* The x87 transcendentals on hosts that have no x87, through the host's mathematical library: in long double where that holds
   a 64-bit significand, else with 53 bits. They are the only results of the FPU that depend on the host. */
#ifndef PCEMU_HOST_X87_LIBM_H
#define PCEMU_HOST_X87_LIBM_H

#include <float.h>
#include <math.h>

#if LDBL_MANT_DIG >= 64
typedef long double x_real;
#define XF(name) name##l
#else
typedef double x_real;
#define XF(name) name
#endif
static const uint64_t x_ln2 = 0xb17217f7d1cf79abull, x_pi = 0xc90fdaa22168c234ull;     /* e = -1 and 1, cut off */

/* the significand, as a number in [1, 2) times 2^e */
static x_real x_open(xnum n, int e) { x_real r = XF(ldexp)((x_real)n.m, e - 63); return n.sign ? -r : r; }
/* v * 2^e, inexact */
static uint32_t x_close(void *d, x_real v, int e, uint32_t cw)
{
    int k;
    uint32_t sign = signbit(v) != 0;
    x_real f = XF(frexp)(XF(fabs)(v), &k);
    if (v == 0)
        return x_zero(d, sign) | X_PE;
    uint64_t m = (uint64_t)XF(ldexp)(f, 64);
    return x_pack(d, sign, e + k - 1, m, f != XF(ldexp)((x_real)m, -64), cw | X_DEFAULT) | X_PE;
}
/* a * b for a constant b known to more bits than it has: never exact */
static uint32_t x_times(void *d, xnum a, uint64_t m, int e, uint32_t cw)
{
    xnum k = {N_NUM, e, 0, m};
    return x_product(d, a, k, cw | X_DEFAULT) | X_PE;
}
enum { T_SIN, T_COS, T_TAN, T_SINCOS };
static uint32_t x_circle(void *d, const void *a, uint32_t cw, int what)
{
    uint8_t *two = (uint8_t *)d + 16;
    uint32_t fl = 0, one = what == T_TAN || what == T_SINCOS;
    xnum n = x_get80(a, &fl), unit = {N_NUM, 0, 0, X_TOP};
    if (n.kind >= N_QNAN || n.kind == N_INF) {
        fl = n.kind == N_INF ? x_invalid(d) : x_nan(d, n, x_int(0));
        if (one)
            memcpy(two, d, 10);
        return fl;
    }
    if (n.kind == N_NUM && n.e >= 63) {
        memmove(d, a, 10);
        return X_C2;
    }
    if (one)
        x_pack(two, 0, 0, unit.m, 0, X_DEFAULT);
    if (n.kind == N_ZERO)
        return what == T_COS ? x_pack(d, 0, 0, unit.m, 0, X_DEFAULT) : x_zero(d, n.sign);
    if (n.e < -34) {                                    /* the next term of the series is beyond the significand */
        if (what == T_COS)
            return x_pack(d, 0, 0, unit.m, 0, X_DEFAULT) | X_PE | fl;
        return x_pack(d, n.sign, n.e, n.m, 0, cw | X_DEFAULT) | X_PE | fl | (n.e < -16382 ? X_UE : 0);
    }
    x_real x = x_open(n, n.e);
    if (what == T_SINCOS)
        x_close(two, XF(cos)(x), 0, cw);
    return x_close(d, what == T_COS ? XF(cos)(x) : what == T_TAN ? XF(tan)(x) : XF(sin)(x), 0, cw) | fl;
}
X_OP x_sin(X_ARGS) { (void)b; return x_circle(d, a, cw, T_SIN); }
X_OP x_cos(X_ARGS) { (void)b; return x_circle(d, a, cw, T_COS); }
X_OP x_ptan(X_ARGS) { (void)b; return x_circle(d, a, cw, T_TAN); }
X_OP x_sincos(X_ARGS) { (void)b; return x_circle(d, a, cw, T_SINCOS); }

X_OP x_2xm1(X_ARGS)
{
    uint32_t fl = 0;
    xnum n = x_get80(a, &fl);
    (void)b;
    if (n.kind >= N_QNAN)
        return x_nan(d, n, x_int(0));
    if (n.kind == N_ZERO)
        return x_zero(d, n.sign);
    if (n.kind == N_INF)
        return n.sign ? x_pack(d, 1, 0, X_TOP, 0, X_DEFAULT) : x_inf(d, 0);
    if (n.e > 0 || (n.e == 0 && n.m != X_TOP))          /* outside [-1, 1] the result is undefined: AMD's stays */
        return x_same(d, n) | X_PE;
    if (n.e == 0 && n.m == X_TOP)
        return x_pack(d, n.sign, n.sign ? -1 : 0, X_TOP, 0, X_DEFAULT);
    if (n.e < -66)
        return x_times(d, n, x_ln2, -1, cw) | fl;
    return x_close(d, XF(expm1)(x_open(n, n.e) * x_open((xnum){N_NUM, -1, 0, x_ln2}, -1)), 0, cw) | fl;
}
/* y * (the logarithm l, whose kind is known): shared ends of FYL2X and FYL2XP1 */
static uint32_t x_log_end(void *d, xnum y, x_real l, uint32_t cw, uint32_t fl)
{
    x_real p = x_open(y, 0) * l;
    return x_close(d, p, y.e, cw) | fl;
}
X_OP x_yl2x(X_ARGS)
{
    uint32_t fl = 0;
    xnum x = x_get80(a, &fl), y = x_get80(b, &fl);
    int below = x.kind == N_ZERO || (x.kind == N_NUM && x.e < 0), one = x.kind == N_NUM && x.e == 0 && x.m == X_TOP;
    if (x.kind >= N_QNAN || y.kind >= N_QNAN)
        return x_nan(d, x, y);
    if ((x.sign && x.kind != N_ZERO) || (y.kind == N_ZERO && (x.kind == N_ZERO || x.kind == N_INF)) || (y.kind == N_INF && one))
        return x_invalid(d);
    if (x.kind == N_ZERO)
        return x_inf(d, !y.sign) | (y.kind == N_INF ? 0 : X_ZE);
    if (y.kind == N_INF || x.kind == N_INF)
        return x_inf(d, y.sign ^ (uint32_t)below) | fl;
    if (y.kind == N_ZERO || one)
        return x_zero(d, y.sign ^ (uint32_t)below) | fl;
    x_real m = x_open(x, 0), l;
    if (x.e == -1)                                      /* just below 1: no cancellation */
        l = XF(log2)(m / 2);
    else
        l = (x_real)x.e + XF(log2)(m);
    if (x.m << 1 == 0)                                  /* a power of two: exact */
        return x_do(d, y, x_int(x.e), A_MUL, cw | X_DEFAULT, fl);
    return x_log_end(d, y, l, cw, fl);
}
X_OP x_yl2xp1(X_ARGS)
{
    uint32_t fl = 0;
    xnum x = x_get80(a, &fl), y = x_get80(b, &fl);
    if (x.kind >= N_QNAN || y.kind >= N_QNAN)
        return x_nan(d, x, y);
    if ((y.kind == N_INF && x.kind == N_ZERO) || (y.kind == N_ZERO && x.kind == N_INF) || (x.kind == N_INF && x.sign))
        return x_invalid(d);
    if (y.kind == N_INF || x.kind == N_INF)
        return x_inf(d, y.sign ^ x.sign) | fl;
    if (y.kind == N_ZERO || x.kind == N_ZERO)
        return x_zero(d, y.sign ^ x.sign) | fl;
    if (x.sign && x.e >= 0)                             /* outside the instruction's domain */
        return x_invalid(d);
    x_real ln2 = x_open((xnum){N_NUM, -1, 0, x_ln2}, -1);
    if (x.e < -66) {
        int e = x.e;
        x.e = 0;
        y.e += e;
        return x_log_end(d, y, x_open(x, 0) / ln2, cw, fl);
    }
    if (x.e > 66)
        return x_log_end(d, y, x.e + XF(log2)(x_open(x, 0)), cw, fl);
    return x_log_end(d, y, XF(log1p)(x_open(x, x.e)) / ln2, cw, fl);
}
X_OP x_patan(X_ARGS)
{
    uint32_t fl = 0;
    xnum x = x_get80(a, &fl), y = x_get80(b, &fl);
    if (x.kind >= N_QNAN || y.kind >= N_QNAN)
        return x_nan(d, x, y);
    int up = y.kind == N_INF || x.kind == N_ZERO, away = x.kind == N_INF || y.kind == N_ZERO;
    if (y.kind == N_INF && x.kind == N_INF)
        return x_close(d, (y.sign ? -1 : 1) * (x.sign ? 3 : 1) * x_open((xnum){N_NUM, -1, 0, x_pi}, -1), 0, cw) | fl;
    if (away || (!up && x.e - y.e > 66)) {              /* along the x axis: 0, a quotient, or pi */
        if (x.sign)
            return x_pack(d, y.sign, 1, x_pi, 0xc4c6628b80dc1cd1ull, cw | X_DEFAULT) | fl;
        return away ? x_zero(d, y.sign) | fl : x_do(d, y, x, A_DIV, cw | X_DEFAULT, fl) | X_PE;
    }
    if (up || y.e - x.e > 66)
        return x_pack(d, y.sign, 0, x_pi, 0xc4c6628b80dc1cd1ull, cw | X_DEFAULT) | fl;
    return x_close(d, XF(atan2)(x_open(y, y.e - x.e), x_open(x, 0)), 0, cw) | fl;
}

#endif
