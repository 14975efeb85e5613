#include "lib/sha256.h"

#include "lib/string.h"

#define BLOCK_SIZE  64
#define LENGTH_SIZE 8 /* of the message, in bits, at the end of the last block */
#define PADDING     0x80
#define ROUNDS      64

/* FIPS 180-4, 4.2.2: the cube roots of the first 64 primes. */
static const uint32_t k[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned int n)
{
    return x >> n | x << (32 - n);
}

/* 6.2.2. The names are the standard's. */
static void add_block(uint32_t h[8], const uint8_t *block)
{
    uint32_t w[ROUNDS];

    memcpy(w, block, BLOCK_SIZE);
    for (unsigned int t = 0; t < 16; t++)
        w[t] = __builtin_bswap32(w[t]);
    for (unsigned int t = 16; t < ROUNDS; t++) {
        uint32_t x = w[t - 15], y = w[t - 2];
        w[t] = w[t - 16] + w[t - 7] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) +
               (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], i = h[7];

    for (unsigned int t = 0; t < ROUNDS; t++) {
        uint32_t t1 =
            i + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + k[t] + w[t];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));
        i = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += i;
}

void sha256(const void *data, uint64_t size, uint8_t sum[SHA256_SIZE])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t tail[2 * BLOCK_SIZE] = {0};
    const uint8_t *at = data;
    uint64_t left = size, bits = __builtin_bswap64(8 * size);

    for (; left >= BLOCK_SIZE; left -= BLOCK_SIZE, at += BLOCK_SIZE)
        add_block(h, at);
    if (left > 0)
        memcpy(tail, at, left);
    tail[left] = PADDING;
    uint64_t end = left + 1 + LENGTH_SIZE <= BLOCK_SIZE ? BLOCK_SIZE : 2 * BLOCK_SIZE;

    memcpy(tail + end - LENGTH_SIZE, &bits, LENGTH_SIZE);
    for (uint64_t n = 0; n < end; n += BLOCK_SIZE)
        add_block(h, tail + n);
    for (unsigned int n = 0; n < 8; n++) {
        uint32_t word = __builtin_bswap32(h[n]);
        memcpy(sum + 4 * n, &word, sizeof(word));
    }
}

void sha256_hex(const uint8_t sum[SHA256_SIZE], char hex[SHA256_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (unsigned int n = 0; n < SHA256_SIZE; n++) {
        hex[2 * n] = digits[sum[n] >> 4];
        hex[2 * n + 1] = digits[sum[n] & 15];
    }
    hex[2 * SHA256_SIZE] = '\0';
}
