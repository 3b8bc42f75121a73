/* Data that passes by: arrays, copies, hashes, strings; and chains of pointers. */
#include "sys.h"

/* Scale, sum and mix arrays that do not fit the caches of the host's core. */
u64 run_arrays(u32 rounds)
{
    enum { WORDS = 2 * MIB / sizeof(uword) };
    uword *a = map(5 * MIB, 0), *b = a + WORDS + 2560, sum = 0; /* not a power of two apart: that is another test */
    for (u32 i = 0; i < WORDS; i++)
        a[i] = i * (uword)0x9e3779b97f4a7c15ull;
    while (rounds--) {
        for (u32 i = 0; i < WORDS; i++)
            b[i] = a[i] * 5 + rounds;
        for (u32 i = 0; i < WORDS; i++)
            sum += b[i];
        for (u32 i = 0; i < WORDS; i++)
            a[i] = b[i] ^ sum;
    }
    unmap(a, 5 * MIB);
    return sum;
}

/* A copy in a loop of words, inside the first-level cache. */
u64 run_copy_loop(u32 rounds)
{
    static uword a[1024], b[1024];
    u64 sum = 0;
    for (u32 i = 0; i < 1024; i++)
        a[i] = i * 2654435761u;
    while (rounds--) {
        for (u32 pass = 0; pass < 20; pass++) {
            const uword *from = pass & 1 ? b : a;
            uword *to = pass & 1 ? a : b;
            for (u32 i = 0; i < 1024; i++)
                to[i] = from[i];
            to[pass] += pass;
        }
        sum = sum * 31 + a[7] + b[7];
    }
    return sum;
}

/* SHA-256 of 4 KiB. */
static const u32 constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static u32 turn(u32 x, int n) { return x >> n | x << (32 - n); }

static KEEP void sha256_block(u32 *h, const u8 *data)
{
    u32 w[64];
    for (u32 i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(*(const u32 *)(data + 4 * i));
    for (u32 i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3)
               + (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
    u32 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
    for (u32 i = 0; i < 64; i++) {
        u32 t = z + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + w[i];
        u32 s = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        z = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + s;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += z;
}

u64 run_sha256(u32 rounds)
{
    static u8 text[4096];
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (u32 i = 0; i < sizeof text; i++)
        text[i] = (u8)(i * 7);
    while (rounds--)
        for (u32 i = 0; i < sizeof text; i += 64)
            sha256_block(h, text + i);
    return (u64)h[0] << 32 | h[7];
}

/* Byte by byte, as simple C libraries do: length, comparison, search, hash of short strings. */
static KEEP uword length(const char *s)
{
    const char *start = s;
    while (*s)
        s++;
    return (uword)(s - start);
}
static KEEP int compare(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (u8)*a - (u8)*b;
}
static KEEP const char *find(const char *s, char c)
{
    while (*s && *s != c)
        s++;
    return s;
}
static KEEP u32 hash(const char *s)
{
    u32 value = 5381;
    while (*s)
        value = value * 33 + (u8)*s++;
    return value;
}

u64 run_strings(u32 rounds)
{
    static char words[256][40];
    u64 sum = 0;
    u32 state = 11;
    for (u32 i = 0; i < 256; i++) {
        u32 n = 4 + next_random(&state) % 32;
        for (u32 j = 0; j < n; j++)
            words[i][j] = (char)('a' + next_random(&state) % (j < 4 ? 2 : 20));
    }
    while (rounds--) {
        u32 total = 0;
        for (u32 i = 0; i < 256; i++) {
            const char *word = words[i], *other = words[(i * 7 + rounds) & 255];
            total = total * 3 + (u32)length(word) + (u32)compare(word, other) + hash(other) + (u32)(find(word, 'q') - word);
        }
        sum = sum * 31 + total;
    }
    return sum;
}

/* A chain through 16 MiB in random order: nearly every step misses the TLB and the caches. */
u64 run_chain(u32 rounds)
{
    enum { LINES = 16 * MIB / 64 };
    u32 *memory = map(16 * MIB, 0), state = 99;
    u64 sum = 0;
    for (u32 i = 0; i < LINES; i++)
        memory[i * 16] = i;
    for (u32 i = LINES - 1; i > 0; i--) { /* Sattolo: one cycle through all */
        u32 j = next_random(&state) % i, swap = memory[i * 16];
        memory[i * 16] = memory[j * 16];
        memory[j * 16] = swap;
    }
    u32 at = 0;
    while (rounds--) {
        for (u32 i = 0; i < 20000; i++)
            at = memory[at * 16];
        sum = sum * 31 + at;
    }
    unmap(memory, 16 * MIB);
    return sum;
}

/* A chain through 64 KiB, all in the second-level cache. */
u64 run_short_chain(u32 rounds)
{
    enum { LINES = 1024 };
    static struct node {
        struct node *next;
        uword value;
        u8 rest[64 - 2 * sizeof(uword)];
    } nodes[LINES];
    static u32 order[LINES];
    u32 state = 5;
    u64 sum = 0;
    for (u32 i = 0; i < LINES; i++)
        order[i] = i;
    for (u32 i = LINES - 1; i > 0; i--) {
        u32 j = next_random(&state) % i, swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (u32 i = 0; i < LINES; i++) {
        nodes[i].next = &nodes[order[i]];
        nodes[i].value = i;
    }
    struct node *at = nodes;
    while (rounds--) {
        for (u32 i = 0; i < 20000; i++)
            at = at->next;
        sum = sum * 31 + at->value;
    }
    return sum;
}

/* Arrays a power of two apart: what a TLB indexed by the low bits of the page number keeps in one place. */
static u64 apart(u32 rounds, uword distance)
{
    enum { ARRAYS = 4, PAGES = 4, WORDS = PAGES * 4096 / 4 };
    u8 *memory = map(ARRAYS * distance + MIB, 0);
    u32 *a[ARRAYS];
    u64 sum = 0;
    for (u32 k = 0; k < ARRAYS; k++) {
        a[k] = (u32 *)(memory + k * (distance + 7 * 64)); /* other sets of the host's caches */
        for (u32 i = 0; i < WORDS; i++)
            a[k][i] = i * (k + 3);
    }
    while (rounds--) {
        u32 total = 0;
        for (u32 i = 0; i < WORDS - 512; i++) {
            total = total * 3 + (a[0][i] ^ a[1][i]) + a[2][i];
            a[3][i] = total;
        }
        sum = sum * 31 + total;
    }
    unmap(memory, ARRAYS * distance + MIB);
    return sum;
}

u64 run_apart_4m(u32 rounds) { return apart(rounds, 4 * MIB); }
u64 run_apart_16m(u32 rounds) { return apart(rounds, 16 * MIB); }
u64 run_apart_64m(u32 rounds) { return apart(rounds, 64 * MIB); }

/* A chain whose nodes lie in four such arrays by turns. */
static u64 hops(u32 rounds, uword distance)
{
    enum { ARRAYS = 4, NODES = 256 };
    u8 *memory = map(ARRAYS * distance + MIB, 0);
    u64 sum = 0;
#define NODE(i) ((void **)(memory + ((i) & (ARRAYS - 1)) * (distance + 7 * 64) + (uword)((i) * 37 & (NODES - 1)) * 64))
    for (u32 i = 0; i < NODES * 4; i++) {
        NODE(i)[0] = NODE((i + 1) & (NODES * 4 - 1));
        NODE(i)[1] = (void *)(uword)(i * 7);
    }
    void **at = NODE(0);
    while (rounds--) {
        uword total = 0;
        for (u32 i = 0; i < 10000; i++) {
            at = *at;
            total += (uword)at[1];
        }
        sum = sum * 31 + total;
    }
    unmap(memory, ARRAYS * distance + MIB);
    return sum;
}

u64 run_hops_4m(u32 rounds) { return hops(rounds, 4 * MIB); }
u64 run_hops_64m(u32 rounds) { return hops(rounds, 64 * MIB); }
