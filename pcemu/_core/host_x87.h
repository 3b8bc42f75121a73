/* x87 arithmetic: the host's own instructions, one each, so that results, NaN payloads and condition codes are the host's.

   Every operation has the shape x_<name>(d, a, b, cw) and returns the status word as the instruction left it: exception flags
   and C0-C3. a is ST(0), b is ST(1) or the operand, each an 80-bit value or a guest's memory operand; d takes the result (two
   of them 16 bytes apart: ST(1), then ST(0)). On x86-64 precision and rounding are those of the host's control word, which
   x87_run() sets and puts back; all exceptions are masked there at any time, and the host's stack is empty before and after. Other
   hosts take them from cw (host_x87_generic.h); -DPCEMU_PORTABLE builds that for the tests. */
#ifndef PCEMU_HOST_X87_H
#define PCEMU_HOST_X87_H

#include <stdint.h>
#include <string.h>

#include "core.h"

#define X_ARGS void *d, const void *a, const void *b, uint32_t cw
#define X_OP static __attribute__((unused)) uint32_t
#define X_UNUSED ((void)a, (void)b, (void)cw)
typedef uint32_t (*x87_fn)(X_ARGS);

enum { X_FLAGS = 0x3f, X_C0 = 0x100, X_C1 = 0x200, X_C2 = 0x400, X_C3 = 0x4000, X_CONTROL = 0xf00, X_DEFAULT = 0x300 };

#if defined(__x86_64__) && !defined(PCEMU_PORTABLE)
#define PCEMU_HOST_X87 1

#define IN(p, n) "m"(*(const uint8_t(*)[n])(p))
#define OUT(p, n) "=m"(*(uint8_t(*)[n])(p))
#define X_STACK "st", "st(1)"
/* d and status out; a and b in. Opcode bytes where assemblers disagree about names. */
#define X_ASM(code, nd, na, nb)                                                                                          \
    {                                                                                                                    \
        uint16_t sw;                                                                                                     \
        X_UNUSED;                                                                                                        \
        __asm__ volatile(code : OUT(d, nd), "=a"(sw) : IN(a, na), IN(b, nb) : X_STACK);                                  \
        return sw;                                                                                                       \
    }
/* ... with no b, and with no result */
#define X_ASM1(code, nd, na)                                                                                             \
    {                                                                                                                    \
        uint16_t sw;                                                                                                     \
        X_UNUSED;                                                                                                        \
        __asm__ volatile(code : OUT(d, nd), "=a"(sw) : IN(a, na) : X_STACK);                                             \
        return sw;                                                                                                       \
    }
#define X_ASM0(code, na, nb)                                                                                             \
    {                                                                                                                    \
        uint16_t sw;                                                                                                     \
        (void)d;                                                                                                         \
        X_UNUSED;                                                                                                        \
        __asm__ volatile(code : "=a"(sw) : IN(a, na), IN(b, nb) : X_STACK);                                              \
        return sw;                                                                                                       \
    }

/* a op b by the popping register form, and with the four kinds of memory operand */
#define X_ARITH(name, bytes, f, fi)                                                                                      \
    X_OP x_##name(X_ARGS) X_ASM("fldt %2; fldt %3; .byte " bytes "; fnstsw %1; fstpt %0", 10, 10, 10)                    \
    X_OP x_##name##_m32(X_ARGS) X_ASM("fldt %2; " f "s %3; fnstsw %1; fstpt %0", 10, 10, 4)                              \
    X_OP x_##name##_m64(X_ARGS) X_ASM("fldt %2; " f "l %3; fnstsw %1; fstpt %0", 10, 10, 8)                              \
    X_OP x_##name##_i16(X_ARGS) X_ASM("fldt %2; " fi "s %3; fnstsw %1; fstpt %0", 10, 10, 2)                             \
    X_OP x_##name##_i32(X_ARGS) X_ASM("fldt %2; " fi "l %3; fnstsw %1; fstpt %0", 10, 10, 4)
X_ARITH(add, "0xde, 0xc1", "fadd", "fiadd")
X_ARITH(mul, "0xde, 0xc9", "fmul", "fimul")
X_ARITH(subr, "0xde, 0xe1", "fsubr", "fisubr")
X_ARITH(sub, "0xde, 0xe9", "fsub", "fisub")
X_ARITH(divr, "0xde, 0xf1", "fdivr", "fidivr")
X_ARITH(div, "0xde, 0xf9", "fdiv", "fidiv")

X_OP x_com(X_ARGS) X_ASM0("fldt %2; fldt %1; fcompp; fnstsw %0", 10, 10)
X_OP x_ucom(X_ARGS) X_ASM0("fldt %2; fldt %1; fucompp; fnstsw %0", 10, 10)
X_OP x_com_m32(X_ARGS) X_ASM0("fldt %1; fcomps %2; fnstsw %0", 10, 4)
X_OP x_com_m64(X_ARGS) X_ASM0("fldt %1; fcompl %2; fnstsw %0", 10, 8)
X_OP x_com_i16(X_ARGS) X_ASM0("fldt %1; ficomps %2; fnstsw %0", 10, 2)
X_OP x_com_i32(X_ARGS) X_ASM0("fldt %1; ficompl %2; fnstsw %0", 10, 4)

#define X_UN(name) X_OP x_##name(X_ARGS) X_ASM1("fldt %2; f" #name "; fnstsw %1; fstpt %0", 10, 10)
X_UN(sqrt)
X_UN(rndint)
X_UN(2xm1)
X_UN(sin)
X_UN(cos)
/* ST(0) changes, ST(1) stays */
#define X_KEEP(name) X_OP x_##name(X_ARGS) X_ASM("fldt %3; fldt %2; f" #name "; fnstsw %1; fstpt %0; fstp %%st(0)", 10, 10, 10)
X_KEEP(scale)
X_KEEP(prem)
X_KEEP(prem1)
/* the result replaces ST(1), ST(0) goes */
#define X_POP(name) X_OP x_##name(X_ARGS) X_ASM("fldt %3; fldt %2; f" #name "; fnstsw %1; fstpt %0", 10, 10, 10)
X_POP(yl2x)
X_POP(yl2xp1)
X_POP(patan)
/* one operand, two results; out of range (C2, which FXTRACT does not write) the operand is all there is */
#define X_TWO(name, unless)                                                                                              \
    X_OP x_##name(X_ARGS)                                                                                                \
    {                                                                                                                    \
        uint16_t sw;                                                                                                     \
        X_UNUSED;                                                                                                        \
        __asm__ volatile("fldt %3; f" #name "; fnstsw %1; " unless "fstpt %2; 1: fstpt %0"                               \
                         : OUT(d, 10), "=a"(sw), OUT((uint8_t *)d + 16, 10) : IN(a, 10) : X_STACK, "cc");                \
        return sw;                                                                                                       \
    }
X_TWO(ptan, "testb $4, %%ah; jnz 1f; ")
X_TWO(sincos, "testb $4, %%ah; jnz 1f; ")
X_TWO(xtract, "")

X_OP x_ld32(X_ARGS) X_ASM1("flds %2; fnstsw %1; fstpt %0", 10, 4)
X_OP x_ld64(X_ARGS) X_ASM1("fldl %2; fnstsw %1; fstpt %0", 10, 8)
X_OP x_ldbcd(X_ARGS) X_ASM1("fbld %2; fnstsw %1; fstpt %0", 10, 10)
X_OP x_st32(X_ARGS) X_ASM1("fldt %2; fstps %0; fnstsw %1", 4, 10)
X_OP x_st64(X_ARGS) X_ASM1("fldt %2; fstpl %0; fnstsw %1", 8, 10)
X_OP x_ist16(X_ARGS) X_ASM1("fldt %2; fistps %0; fnstsw %1", 2, 10)
X_OP x_ist32(X_ARGS) X_ASM1("fldt %2; fistpl %0; fnstsw %1", 4, 10)
X_OP x_ist64(X_ARGS) X_ASM1("fldt %2; fistpll %0; fnstsw %1", 8, 10)
X_OP x_stbcd(X_ARGS) X_ASM1("fldt %2; fbstp %0; fnstsw %1", 10, 10)

/* Is the host's control word what the fast paths count on: nearest, 64 bits, all masked? */
static inline int x87_host_default(void)
{
    uint16_t cw;
    __asm__ volatile("fnstcw %0" : "=m"(cw));
    return (cw & (X_CONTROL | X_FLAGS)) == (X_DEFAULT | X_FLAGS);
}

/* Run f under precision and rounding of cw. The host's exception flags are sticky and clearing them costs more than the rest: only
   when the status shows a flag that is not in `known` are they cleared, and f runs again. Bits in `known` are not to be trusted. */
static __attribute__((unused)) uint32_t x87_run(x87_fn f, X_ARGS, uint32_t known)
{
    uint16_t old, ctl = (uint16_t)((cw & X_CONTROL) | X_FLAGS | 0x40);
    uint32_t sw;
    __asm__ volatile("fnstcw %0" : "=m"(old));
    if (ctl != old)
        __asm__ volatile("fldcw %0" : : "m"(ctl));
    sw = f(d, a, b, cw);
    if (sw & X_FLAGS & ~known) {
        __asm__ volatile("fnclex");
        sw = f(d, a, b, cw);
    }
    if (ctl != old)
        __asm__ volatile("fldcw %0" : : "m"(old));
    return sw;
}
#else
#define PCEMU_HOST_X87 0
#include "host_x87_generic.h"

static inline int x87_host_default(void) { return 1; }
static __attribute__((unused)) uint32_t x87_run(x87_fn f, X_ARGS, uint32_t known)
{
    (void)known;
    return f(d, a, b, cw);
}
#endif

/* ------------------------------------------------------------------------------------------------ ordinary numbers
   Sums, products and quotients of normal numbers and zeros, rounded to nearest at 64 bits: a few integer operations, and much the
   shorter way where the operand has just been stored, because loads of 80 bits wait long for it. Whatever else comes: X_SLOW. */
typedef struct { uint64_t m; uint32_t se, sw; } x87_num;
#define X_SLOW 0x10000u
#define X_INLINE static inline __attribute__((always_inline, unused))

X_INLINE int x_normal(uint64_t m, uint32_t se) { return m >> 63 && (se & 0x7fff) - 1 < 0x7ffe; }
X_INLINE x87_num x_nearest(uint64_t hi, uint64_t lo, uint32_t e, uint32_t sign)
{
    uint64_t up = lo >> 63 & ((lo << 1 != 0) | (hi & 1)), r = hi + up;
    uint32_t carry = r < hi;
    x87_num n = {r | (uint64_t)carry << 63, (e + carry) | sign, (lo ? 0x20 : 0) | (uint32_t)up << 9};
    if (__builtin_expect(e - 1 >= 0x7ffd, 0))           /* next to overflow or underflow */
        n.sw = X_SLOW;
    return n;
}
X_INLINE x87_num x_quick_mul(uint64_t ma, uint32_t sa, uint64_t mb, uint32_t sb)
{
    uint32_t sign = (sa ^ sb) & 0x8000;
    if (__builtin_expect(!x_normal(ma, sa) || !x_normal(mb, sb), 0)) {
        int za = !ma && !(sa & 0x7fff), zb = !mb && !(sb & 0x7fff);
        return (x87_num){0, sign, (za && (zb || x_normal(mb, sb))) || (zb && x_normal(ma, sa)) ? 0 : X_SLOW};
    }
    unsigned __int128 p = (unsigned __int128)ma * mb;
    uint32_t low = !(uint64_t)(p >> 127);
    p <<= low;
    return x_nearest((uint64_t)(p >> 64), (uint64_t)p, (sa & 0x7fff) + (sb & 0x7fff) - 16382 - low, sign);
}
X_INLINE x87_num x_quick_div(uint64_t ma, uint32_t sa, uint64_t mb, uint32_t sb)
{
    uint32_t sign = (sa ^ sb) & 0x8000;
    if (__builtin_expect(!x_normal(ma, sa) || !x_normal(mb, sb), 0))
        return (x87_num){0, sign, !ma && !(sa & 0x7fff) && x_normal(mb, sb) ? 0 : X_SLOW};
    uint32_t big = ma >= mb;
    uint64_t rest, q = pcemu_div128(ma >> big, ma << 63 & (0 - (uint64_t)big), mb, &rest);
    uint64_t lo = !rest ? 0 : rest < mb - rest ? 1 : rest == mb - rest ? 1ull << 63 : (1ull << 63) + 1;
    return x_nearest(q, lo, (sa & 0x7fff) - (sb & 0x7fff) + 16382 + big, sign);
}
X_INLINE x87_num x_quick_add(uint64_t ma, uint32_t sa, uint64_t mb, uint32_t sb)
{
    uint32_t ea = sa & 0x7fff, eb = sb & 0x7fff, sh, z;
    if (__builtin_expect(!x_normal(ma, sa) || !x_normal(mb, sb), 0)) {
        int za = !ma && !ea, zb = !mb && !eb;
        if (za && (zb || x_normal(mb, sb)))
            return (x87_num){mb, zb ? sa & sb & 0x8000 : sb, 0};
        return (x87_num){ma, sa, zb && x_normal(ma, sa) ? 0 : X_SLOW};
    }
    uint64_t hi, lo;
    if (ea < eb || (ea == eb && ma < mb)) {
        hi = ma, ma = mb, mb = hi;
        sh = sa, sa = sb, sb = sh;
        sh = ea, ea = eb, eb = sh;
    }
    sh = ea - eb;
    hi = mb >> (sh & 63);
    lo = mb << 1 << (~sh & 63);
    if (__builtin_expect(sh >= 64, 0)) {
        lo = sh > 65 ? 1 : sh == 64 ? mb : mb >> 1 | (mb & 1);
        hi = 0;
    }
    if (!((sa ^ sb) & 0x8000)) {
        hi += ma;
        if (hi < ma) {
            lo = hi << 63 | lo >> 1 | (lo & 1);
            hi = hi >> 1 | 1ull << 63;
            ea++;
        }
        return x_nearest(hi, lo, ea, sa & 0x8000);
    }
    hi = ma - hi - (lo != 0);
    lo = 0 - lo;
    if (!(hi >> 63)) {
        if (__builtin_expect(!hi, 0)) {
            if (!lo)
                return (x87_num){0, 0, 0};
            hi = lo, lo = 0, ea -= 64;
        }
        z = (uint32_t)__builtin_clzll(hi);
        hi = hi << z | lo >> 1 >> (~z & 63);
        lo <<= z;
        ea -= z;
    }
    return x_nearest(hi, lo, ea, sa & 0x8000);
}

/* by the opcodes' /reg, then by operand: register, m32, m64, m16 integer, m32 integer */
#define X_ROW(n) {x_##n, x_##n##_m32, x_##n##_m64, x_##n##_i16, x_##n##_i32}
static const x87_fn x87_arith[8][5] __attribute__((unused)) = {
    X_ROW(add), X_ROW(mul), X_ROW(com), X_ROW(com), X_ROW(sub), X_ROW(subr), X_ROW(div), X_ROW(divr)};

#endif
