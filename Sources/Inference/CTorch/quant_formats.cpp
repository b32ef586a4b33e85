// GGUF's blocks as codes and scales; ggml's layouts, little endian.

#include <cstring>

#include "packed.hpp"

namespace {

using tg::BlockCodes;

uint16_t half(const uint8_t *p) {
    uint16_t bits;
    std::memcpy(&bits, p, 2);
    return bits;
}

void nibbles(const uint8_t *quants, BlockCodes &out) {
    for (int i = 0; i < 16; ++i) {
        out.codes[i] = quants[i] & 15;
        out.codes[i + 16] = quants[i] >> 4;
    }
}

void fifth_bits(const uint8_t *bits, BlockCodes &out) {
    for (int i = 0; i < 32; ++i) out.codes[i] |= uint8_t((bits[i / 8] >> (i % 8) & 1) << 4);
}

void q4_0(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 18 * block;
    out.scale = half(b);
    nibbles(b + 2, out);
}

void q4_1(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 20 * block;
    out.scale = half(b);
    out.minimum = half(b + 2);
    nibbles(b + 4, out);
}

void q5_0(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 22 * block;
    out.scale = half(b);
    nibbles(b + 6, out);
    fifth_bits(b + 2, out);
}

void q5_1(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 24 * block;
    out.scale = half(b);
    out.minimum = half(b + 2);
    nibbles(b + 8, out);
    fifth_bits(b + 4, out);
}

void q8_0(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 34 * block;
    out.scale = half(b);
    for (int i = 0; i < 32; ++i) out.codes[i] = b[2 + i] ^ 0x80;
}

/// The 6-bit scale and minimum of sub-block j of a K block.
void scale_and_minimum(const uint8_t *b, int64_t j, BlockCodes &out) {
    if (j < 4) {
        out.inner[0] = b[j] & 63;
        out.inner[1] = b[j + 4] & 63;
    } else {
        out.inner[0] = uint8_t((b[j + 4] & 15) | (b[j - 4] >> 6) << 4);
        out.inner[1] = uint8_t((b[j + 4] >> 4) | (b[j] >> 6) << 4);
    }
}

void q4_k(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 144 * (block / 8);
    const int64_t j = block % 8;
    out.scale = half(b);
    out.minimum = half(b + 2);
    scale_and_minimum(b + 4, j, out);
    const uint8_t *quants = b + 16 + 32 * (j / 2);
    for (int i = 0; i < 32; ++i) out.codes[i] = j % 2 ? quants[i] >> 4 : quants[i] & 15;
}

void q5_k(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 176 * (block / 8);
    const int64_t j = block % 8;
    out.scale = half(b);
    out.minimum = half(b + 2);
    scale_and_minimum(b + 4, j, out);
    const uint8_t *high = b + 16, *quants = b + 48 + 32 * (j / 2);
    for (int i = 0; i < 32; ++i) {
        const int low = j % 2 ? quants[i] >> 4 : quants[i] & 15;
        out.codes[i] = uint8_t(low | (high[i] >> j & 1) << 4);
    }
}

void q6_k(const uint8_t *row, int64_t block, BlockCodes &out) {
    const uint8_t *b = row + 210 * (block / 8);
    const int64_t part = block % 8 / 4, k = block % 4;
    const uint8_t *low = b + 64 * part + 32 * (k % 2), *high = b + 128 + 32 * part;
    out.scale = half(b + 208);
    out.inner[0] = b[192 + 8 * part + 2 * k];
    out.inner[1] = b[192 + 8 * part + 2 * k + 1];
    for (int i = 0; i < 32; ++i) {
        const int nibble = k < 2 ? low[i] & 15 : low[i] >> 4;
        out.codes[i] = uint8_t(nibble | (high[i] >> (2 * k) & 3) << 4);
    }
}

}  // namespace

namespace tg {

const PackedFormat *packed_format(tg_format format) {
    static const PackedFormat formats[] = {
        {4, Scales::plain, 8, 32, 18, q4_0},    {4, Scales::minimum, 0, 32, 20, q4_1},
        {5, Scales::plain, 16, 32, 22, q5_0},   {5, Scales::minimum, 0, 32, 24, q5_1},
        {8, Scales::plain, 128, 32, 34, q8_0},  {4, Scales::nested, 0, 256, 144, q4_k},
        {5, Scales::nested, 0, 256, 176, q5_k}, {6, Scales::halved, 32, 256, 210, q6_k},
    };
    const int index = int(format) - int(TG_FORMAT_Q4_0);
    return index >= 0 && index < int(std::size(formats)) ? &formats[index] : nullptr;
}

}  // namespace tg
