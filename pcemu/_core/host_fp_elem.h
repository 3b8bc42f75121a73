/* One element of SSE arithmetic in portable C, on its bits. Included by host_fp_generic.h with W 32 and 64:
   U the bits, F the host's type, S signed integer of the width, MB fraction bits, E(x) the name of x at this width.

   NaNs, denormals, invalid operands and flush to zero by the SDM (vol. 1, 4.8.3, 10.2.3 and 11.5); the arithmetic itself by
   the host's type under the guest's rounding. A host that detects tininess before rounding (64-bit ARM) may set UE, and with
   FTZ flush, where x86 does not: for results that round up to the smallest normal number. */

#define SIGN ((U)1 << (W - 1))
#define INFINITE ((U)~SIGN >> MB << MB)
#define QUIET ((U)1 << (MB - 1))
#define MIN_NORMAL ((U)1 << MB)
#define INDEFINITE (SIGN | INFINITE | QUIET)
#define BIAS ((1 << (W - MB - 2)) - 1)

INLINE F E(val)(U a) { F f; memcpy(&f, &a, sizeof(f)); return f; }
INLINE U E(bits)(F f) { U a; memcpy(&a, &f, sizeof(a)); return a; }
INLINE int E(is_nan)(U a) { return (a & ~SIGN) > INFINITE; }
INLINE int E(is_snan)(U a) { return E(is_nan)(a) && !(a & QUIET); }
INLINE int E(is_den)(U a) { return (a & ~SIGN) && (a & ~SIGN) < MIN_NORMAL; }
INLINE U E(daz)(U a, const uint32_t *mx) { return (*mx & MX_DAZ) && E(is_den)(a) ? a & SIGN : a; }
INLINE U E(den)(U a, uint32_t *mx)         /* operand of an operation that signals denormals */
{
    if (!E(is_den)(a))
        return a;
    if (*mx & MX_DAZ)
        return a & SIGN;
    *mx |= MX_DE;
    return a;
}

/* The first operand if it is a NaN, else the second; true if one is */
INLINE int E(nan2)(U a, U b, U *r, uint32_t *mx)
{
    if (!E(is_nan)(a) && !E(is_nan)(b))
        return 0;
    if (E(is_snan)(a) || E(is_snan)(b))
        *mx |= MX_IE;
    *r = (E(is_nan)(a) ? a : b) | QUIET;
    return 1;
}

/* Flags of the host operation that gave r, and flush to zero */
INLINE U E(result)(U r, uint32_t fl, uint32_t *mx)
{
    if (fl & MX_IE) {
        *mx |= MX_IE;
        return INDEFINITE;
    }
    if (*mx & MX_FTZ && (E(is_den)(r) || fl & MX_UE)) {
        *mx |= MX_UE | MX_PE;
        return r & SIGN;
    }
    *mx |= fl;
    return r;
}

PORTABLE U E(arith)(char op, U a, U b, uint32_t *mx)
{
    U r;
    uint32_t was = *mx;
    if (E(nan2)(a, b, &r, mx))
        return r;
    a = E(den)(a, mx);
    b = E(den)(b, mx);
    if (op == '/' && !(b & ~SIGN))              /* division by zero goes before a denormal dividend */
        *mx = was | (*mx & ~(uint32_t)MX_DE);
    volatile F x = E(val)(a), y = E(val)(b), z;
    g_env_t env = g_begin(*mx);
    switch (op) {
        case '+': z = x + y; break;
        case '-': z = x - y; break;
        case '*': z = x * y; break;
        default: z = x / y; break;
    }
    return E(result)(E(bits)(z), g_end(env), mx);
}

PORTABLE U E(sqrt)(U a, uint32_t *mx)
{
    U r;
    if (E(nan2)(a, a, &r, mx))
        return r;
    if (a & SIGN && E(daz)(a, mx) != SIGN) {
        *mx |= MX_IE;
        return INDEFINITE;
    }
    a = E(den)(a, mx);
    g_env_t env = g_begin(*mx);
    volatile F z = E(root)(E(val)(a));
    return E(result)(E(bits)(z), g_end(env), mx);
}

/* MIN and MAX give the second operand if either is a NaN, or both are zeros */
PORTABLE U E(minmax)(int max, U a, U b, uint32_t *mx)
{
    if (E(is_nan)(a) || E(is_nan)(b)) {
        *mx |= MX_IE;
        return E(daz)(b, mx);
    }
    a = E(den)(a, mx);
    b = E(den)(b, mx);
    F x = E(val)(a), y = E(val)(b);
    return (max ? x > y : x < y) ? a : b;
}

/* -1 less, 0 equal, 1 greater, 2 unordered; `loud`: a quiet NaN is invalid too */
PORTABLE int E(compare)(U a, U b, int loud, uint32_t *mx)
{
    if (E(is_nan)(a) || E(is_nan)(b)) {
        if (loud || E(is_snan)(a) || E(is_snan)(b))
            *mx |= MX_IE;
        return 2;
    }
    F x = E(val)(E(den)(a, mx)), y = E(val)(E(den)(b, mx));
    return x < y ? -1 : x > y;
}

PORTABLE U E(cmp)(U a, U b, uint32_t pred, uint32_t *mx)
{
    int loud = (pred & 3) == 1 || (pred & 3) == 2, r = E(compare)(a, b, loud, mx), t;
    switch (pred & 3) {
        case 0: t = r == 0; break;
        case 1: t = r == -1; break;
        case 2: t = r <= 0; break;
        default: t = r == 2; break;
    }
    return t ^ (pred >> 2 & 1) ? (U)-1 : 0;
}

/* To an integral value: rc 0 nearest even, 1 down, 2 up, 3 toward zero; *inexact is set if it changes */
PORTABLE U E(integral)(U a, uint32_t rc, int *inexact)
{
    U sign = a & SIGN, mag = a & ~SIGN, one = (U)BIAS << MB, frac, half;
    int exp = (int)(mag >> MB) - BIAS;
    *inexact = 0;
    if (exp >= MB)
        return a;
    if (exp < 0) {
        if (!mag)
            return a;
        *inexact = 1;
        if (rc == 0)
            return mag > ((U)(BIAS - 1) << MB) ? sign | one : sign;
        return sign | ((rc == 1 && sign) || (rc == 2 && !sign) ? one : 0);
    }
    half = (U)1 << (MB - 1) >> exp;
    frac = mag & (half * 2 - 1);
    if (!frac)
        return a;
    *inexact = 1;
    mag -= frac;
    if (rc == 0 ? frac > half || (frac == half && mag & (half * 2)) : (rc == 1 && sign) || (rc == 2 && !sign))
        mag += half * 2;
    return sign | mag;
}

PORTABLE U E(round)(U a, uint32_t imm, uint32_t *mx)
{
    U r;
    int inexact;
    if (E(nan2)(a, a, &r, mx))
        return r;
    r = E(integral)(E(daz)(a, mx), imm & 4 ? *mx >> 13 & 3 : imm & 3, &inexact);
    if (inexact && !(imm & 8))
        *mx |= MX_PE;
    return r;
}

/* To a signed integer of `bits` bits; the indefinite integer if it does not fit */
PORTABLE uint64_t E(to_int)(U a, uint32_t rc, int bits, uint32_t *mx)
{
    int inexact;
    uint64_t bad = 1ull << (bits - 1);
    U r = E(integral)(E(daz)(a, mx), rc, &inexact);
    F limit = (F)bad, v = E(val)(r);
    if (E(is_nan)(a) || !(v >= -limit && v < limit)) {
        *mx |= MX_IE;
        return bad;
    }
    if (inexact)
        *mx |= MX_PE;
    return bits == 32 ? (uint32_t)(int32_t)v : (uint64_t)(int64_t)v;
}

PORTABLE U E(from_int)(int64_t v, uint32_t *mx)
{
    volatile int64_t x = v;
    g_env_t env = g_begin(*mx);
    volatile F z = (F)x;
    *mx |= g_end(env);
    return E(bits)(z);
}

/* The value sig * 2^(exp - 127), rounded; the lowest bit of sig stands for whatever lay below. *wide: inexact already with an
   unbounded exponent (what PE says when overflow or underflow is unmasked). */
PORTABLE U E(pack)(int negative, int exp, unsigned __int128 sig, uint32_t *mx, int *wide)
{
    const int keep = MB + 1, rc = *mx >> 13 & 3;
    const U sign = negative ? SIGN : 0;
    *wide = 0;
    if (!sig)
        return sign;
    while (!(sig >> 127)) {
        sig <<= 1;
        exp--;
    }
    unsigned __int128 full = sig;
    for (int tiny = 0;; tiny = 1) {
        /* the second time round: what is below the smallest normal number, by its own last place */
        int drop = 128 - keep;
        if (tiny) {
            int down = 1 - BIAS - exp;
            drop += down < keep + 1 ? down : keep + 1;
            full = down < keep + 1 ? sig : 1;           /* too small for any place: only that it is there */
        }
        U q = drop > 127 ? 0 : (U)(full >> drop);
        unsigned __int128 rest = drop > 127 ? full : full & (((unsigned __int128)1 << drop) - 1);
        unsigned __int128 half = drop > 128 ? 0 : (unsigned __int128)1 << (drop - 1);
        int up = rc == 0 ? half && (rest > half || (rest == half && q & 1)) : (rc == 1 && negative) || (rc == 2 && !negative);
        q += rest && up;
        if (!tiny) {
            int e = exp + (q >> keep != 0);
            *wide = rest != 0;
            if (e > BIAS) {
                *mx |= MX_OE | MX_PE;
                return rc == 0 || (rc == 2 && !negative) || (rc == 1 && negative) ? sign | INFINITE : sign | (INFINITE - 1);
            }
            if (e < 1 - BIAS) {
                if (*mx & MX_FTZ) {
                    *mx |= MX_UE | MX_PE;
                    return sign;
                }
                continue;
            }
            *mx |= rest ? MX_PE : 0;
            if (exp < 1 - BIAS)                         /* rounded up to the smallest normal number */
                return sign | MIN_NORMAL;
            return sign | (((U)(exp + BIAS) << MB) + (q - MIN_NORMAL));
        }
        *mx |= rest ? MX_UE | MX_PE : 0;
        return sign | q;
    }
}

/* Product plus addend: -x * y if np, - z if na. Of several NaNs the first of x, y, z. */
PORTABLE U E(fma)(U x, U y, U z, int np, int na, uint32_t *mx, int *wide)
{
    int xe, ye, ze, pe, neg = (x >> (W - 1) ^ y >> (W - 1) ^ (U)np) & 1, zneg = (z >> (W - 1) ^ (U)na) & 1;
    unsigned __int128 p, s;
    *wide = 0;
    if (E(is_nan)(x) || E(is_nan)(y) || E(is_nan)(z)) {
        if (E(is_snan)(x) || E(is_snan)(y) || E(is_snan)(z))
            *mx |= MX_IE;
        return (E(is_nan)(x) ? x : E(is_nan)(y) ? y : z) | QUIET;
    }
    x = E(daz)(x, mx) & ~SIGN;
    y = E(daz)(y, mx) & ~SIGN;
    z = E(daz)(z, mx) & ~SIGN;
    if ((x == INFINITE && !y) || (y == INFINITE && !x) || ((x == INFINITE || y == INFINITE) && z == INFINITE && neg != zneg)) {
        *mx |= MX_IE;
        return INDEFINITE;
    }
    if (E(is_den)(x) || E(is_den)(y) || E(is_den)(z))
        *mx |= MX_DE;
    if (x == INFINITE || y == INFINITE)
        return (neg ? SIGN : 0) | INFINITE;
    if (z == INFINITE)
        return (zneg ? SIGN : 0) | INFINITE;
    if ((!x || !y) && !z)
        return neg == zneg ? (neg ? SIGN : 0) : (*mx >> 13 & 3) == 1 ? SIGN : 0;
    xe = (int)(x >> MB), ye = (int)(y >> MB), ze = (int)(z >> MB);
    /* significands as integers, exponents of their lowest bits */
    p = (unsigned __int128)(xe ? (x & (MIN_NORMAL - 1)) | MIN_NORMAL : x) * (ye ? (y & (MIN_NORMAL - 1)) | MIN_NORMAL : y);
    s = ze ? (z & (MIN_NORMAL - 1)) | MIN_NORMAL : z;
    pe = (xe ? xe : 1) + (ye ? ye : 1) - 2 * (BIAS + MB);
    ze = (ze ? ze : 1) - (BIAS + MB);
    if (!p)
        return E(pack)(zneg, ze + 127, s, mx, wide);
    if (!s)
        return E(pack)(neg, pe + 127, p, mx, wide);
    /* both with the leading bit at 125: bits lost in the alignment below only when there is no cancellation */
    while (!(p >> 125))
        p <<= 1, pe--;
    while (!(s >> 125))
        s <<= 1, ze--;
    int shift = pe - ze, e = shift > 0 ? pe : ze;
    unsigned __int128 *low = shift > 0 ? &s : &p;
    if (shift < 0)
        shift = -shift;
    if (shift > 126)
        *low = 1;
    else if (shift)
        *low = *low >> shift | ((*low & (((unsigned __int128)1 << shift) - 1)) != 0);
    if (neg == zneg)
        return E(pack)(neg, e + 127, p + s, mx, wide);
    if (p == s)
        return (*mx >> 13 & 3) == 1 ? SIGN : 0;
    return p > s ? E(pack)(neg, e + 127, p - s, mx, wide) : E(pack)(zneg, e + 127, s - p, mx, wide);
}

#undef SIGN
#undef INFINITE
#undef QUIET
#undef MIN_NORMAL
#undef INDEFINITE
#undef BIAS
