/* Straight integer code, and 64-bit arithmetic that a 32-bit program does in halves. */
#include "sys.h"

/* Multiplication, shifts, rotation, logic, at the width of the machine. */
u64 run_alu(u32 rounds)
{
    uword x = 1, sum = 0;
    while (rounds--)
        for (u32 i = 1; i < 20000; i++) {
            x = x * (uword)6364136223846793005ull + (uword)1442695040888963407ull;
            sum ^= x >> 9 ^ x << 7;
            sum += (sum << 5 | sum >> (8 * sizeof sum - 5)) & i;
            sum -= x >> 3;
        }
    return sum;
}

u64 run_divide(u32 rounds)
{
    uword sum = 0;
    u32 x = 1;
    while (rounds--)
        for (u32 i = 1; i < 6000; i++) {
            next_random(&x);
            sum += x / (i * 7 + 1) + x % (i + 3);
            sum += ((uword)x << (4 * sizeof sum - 1)) / ((sum & 0xffff) + 3);
            sum += (uword)((int)x / (int)(i + 9));
        }
    return sum;
}

/* A CRC bit by bit. */
u64 run_crc(u32 rounds)
{
    u32 value = ~0u, x = 1;
    while (rounds--)
        for (u32 i = 0; i < 2000; i++) {
            value ^= next_random(&x) & 255;
            for (int bit = 0; bit < 8; bit++)
                value = value >> 1 ^ (0xedb88320 & -(value & 1));
        }
    return value;
}

/* 64 bits: in 32-bit code MUL and ADC, SHLD and SHRD. */
u64 run_wide_alu(u32 rounds)
{
    u64 x = 1, sum = 0;
    while (rounds--)
        for (u32 i = 1; i < 20000; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            sum ^= x >> 29 ^ x << 7;
            sum += (x >> 32) & i;
            sum -= x >> 3;
        }
    return sum;
}

static u64 turn(u64 x, int n) { return x >> n | x << (64 - n); }

/* The rounds of SHA-512, with constants of our own. */
u64 run_wide_hash(u32 rounds)
{
    u64 h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[80];
    while (rounds--)
        for (u32 block = 0; block < 20; block++) {
            for (u32 i = 0; i < 16; i++)
                w[i] = h[i & 7] * (i + 1) + block;
            for (u32 i = 16; i < 80; i++)
                w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 1) ^ turn(w[i - 15], 8) ^ w[i - 15] >> 7)
                       + (turn(w[i - 2], 19) ^ turn(w[i - 2], 61) ^ w[i - 2] >> 6);
            u64 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
            for (u32 i = 0; i < 80; i++) {
                u64 t = z + (turn(e, 14) ^ turn(e, 18) ^ turn(e, 41)) + ((e & f) ^ (~e & g)) + w[i] + 0x428a2f98d728ae22ull;
                u64 s = (turn(a, 28) ^ turn(a, 34) ^ turn(a, 39)) + ((a & b) ^ (a & c) ^ (b & c));
                z = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + s;
            }
            h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += z;
        }
    return h[0] ^ h[3] ^ h[7];
}
