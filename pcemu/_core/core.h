/* What Cython cannot say: branch hints, sibling calls, 128-bit products and single host instructions.
   The logic of the core stays in the .pyx files. */
#ifndef PCEMU_CORE_H
#define PCEMU_CORE_H

#include <stdint.h>
#include <string.h>
#include <stddef.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define PCEMU_CR0_PG 0x80000000u

typedef unsigned __int128 pcemu_u128;
typedef __int128 pcemu_s128;

static inline uint64_t pcemu_mulhi_u64(uint64_t a, uint64_t b) { return (uint64_t)(((pcemu_u128)a * b) >> 64); }
static inline int64_t pcemu_mulhi_s64(int64_t a, int64_t b) { return (int64_t)(((pcemu_s128)a * b) >> 64); }

/* 128/64 -> 64 division. The caller has excluded overflow (hi < d), so no host fault can happen. */
static inline uint64_t pcemu_div128(uint64_t hi, uint64_t lo, uint64_t d, uint64_t *rem)
{
    if (hi == 0) { *rem = lo % d; return lo / d; }
#if defined(__x86_64__)
    uint64_t q, r;
    __asm__("divq %4" : "=a"(q), "=d"(r) : "a"(lo), "d"(hi), "r"(d) : "cc");
    *rem = r;
    return q;
#else
    pcemu_u128 n = ((pcemu_u128)hi << 64) | lo;
    *rem = (uint64_t)(n % d);
    return (uint64_t)(n / d);
#endif
}

static inline int pcemu_clz64(uint64_t x) { return __builtin_clzll(x); }
static inline int pcemu_ctz64(uint64_t x) { return __builtin_ctzll(x); }
static inline int pcemu_popcount64(uint64_t x) { return __builtin_popcountll(x); }
static inline uint64_t pcemu_bswap64(uint64_t x) { return __builtin_bswap64(x); }
static inline uint32_t pcemu_bswap32(uint32_t x) { return __builtin_bswap32(x); }
static inline uint16_t pcemu_bswap16(uint16_t x) { return __builtin_bswap16(x); }
/* even parity of the low byte, as PF wants it */
static inline int pcemu_parity8(uint64_t x) { return !__builtin_parity((unsigned)(x & 0xff)); }

static inline void pcemu_store_release_u32(volatile uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint32_t pcemu_load_acquire_u32(volatile uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }

/* The host's time-stamp counter, and whether it runs at one rate whatever the processor does (SDM vol. 3, 17.17.1). */
#if defined(__x86_64__)
#include <cpuid.h>
static inline uint64_t pcemu_host_tsc(void) { return __builtin_ia32_rdtsc(); }
static inline int pcemu_steady_tsc(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && d >> 8 & 1;
}
#else
static inline uint64_t pcemu_host_tsc(void) { return 0; }
static inline int pcemu_steady_tsc(void) { return 0; }
#endif

#endif
