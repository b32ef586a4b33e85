// File formats to dense rows: the plain floats and GGUF's blocks (ggml's layouts, little endian).

#include <ATen/core/Tensor.h>

#include <cstring>
#include <vector>

#include "internal.hpp"

namespace {

struct Block {
    int64_t elements, bytes;
    void (*decode)(const uint8_t *block, float *out);
};

float half(const uint8_t *p) {
    c10::Half h;
    std::memcpy(&h.x, p, 2);
    return float(h);
}

template <typename T>
T read(const uint8_t *p) {
    T value;
    std::memcpy(&value, p, sizeof(T));
    return value;
}

void f32(const uint8_t *b, float *out) { *out = read<float>(b); }
void f16(const uint8_t *b, float *out) { *out = half(b); }
void b16(const uint8_t *b, float *out) {
    *out = __builtin_bit_cast(float, uint32_t(read<uint16_t>(b)) << 16);
}
void f64(const uint8_t *b, float *out) { *out = float(read<double>(b)); }

void q4_0(const uint8_t *b, float *out) {
    const float d = half(b);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * float((b[2 + i] & 15) - 8);
        out[i + 16] = d * float((b[2 + i] >> 4) - 8);
    }
}

void q4_1(const uint8_t *b, float *out) {
    const float d = half(b), m = half(b + 2);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * float(b[4 + i] & 15) + m;
        out[i + 16] = d * float(b[4 + i] >> 4) + m;
    }
}

void q5_0(const uint8_t *b, float *out) {
    const float d = half(b);
    const auto high = read<uint32_t>(b + 2);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * float(int((b[6 + i] & 15) | (high >> i & 1) << 4) - 16);
        out[i + 16] = d * float(int((b[6 + i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
    }
}

void q5_1(const uint8_t *b, float *out) {
    const float d = half(b), m = half(b + 2);
    const auto high = read<uint32_t>(b + 4);
    for (int i = 0; i < 16; ++i) {
        out[i] = d * float((b[8 + i] & 15) | (high >> i & 1) << 4) + m;
        out[i + 16] = d * float((b[8 + i] >> 4) | (high >> (i + 16) & 1) << 4) + m;
    }
}

void q8_0(const uint8_t *b, float *out) {
    const float d = half(b);
    for (int i = 0; i < 32; ++i) out[i] = d * float(int8_t(b[2 + i]));
}

/// The 6-bit scale and minimum of sub-block j of a K block.
void scale_and_minimum(const uint8_t *b, int j, int &scale, int &minimum) {
    if (j < 4) {
        scale = b[j] & 63;
        minimum = b[j + 4] & 63;
    } else {
        scale = (b[j + 4] & 15) | (b[j - 4] >> 6) << 4;
        minimum = (b[j + 4] >> 4) | (b[j] >> 6) << 4;
    }
}

void q4_k(const uint8_t *b, float *out) {
    const float d = half(b), dmin = half(b + 2);
    const uint8_t *quants = b + 16;
    for (int j = 0; j < 8; ++j) {
        int scale, minimum;
        scale_and_minimum(b + 4, j, scale, minimum);
        const float s = d * float(scale), m = dmin * float(minimum);
        const uint8_t *q = quants + 32 * (j / 2);
        for (int i = 0; i < 32; ++i) {
            out[32 * j + i] = s * float(j % 2 ? q[i] >> 4 : q[i] & 15) - m;
        }
    }
}

void q5_k(const uint8_t *b, float *out) {
    const float d = half(b), dmin = half(b + 2);
    const uint8_t *high = b + 16, *quants = b + 48;
    for (int j = 0; j < 8; ++j) {
        int scale, minimum;
        scale_and_minimum(b + 4, j, scale, minimum);
        const float s = d * float(scale), m = dmin * float(minimum);
        const uint8_t *q = quants + 32 * (j / 2);
        for (int i = 0; i < 32; ++i) {
            const int low = j % 2 ? q[i] >> 4 : q[i] & 15;
            out[32 * j + i] = s * float(low | (high[i] >> j & 1) << 4) - m;
        }
    }
}

void q6_k(const uint8_t *b, float *out) {
    const float d = half(b + 208);
    for (int part = 0; part < 2; ++part) {
        const uint8_t *low = b + 64 * part, *high = b + 128 + 32 * part;
        const auto *scales = reinterpret_cast<const int8_t *>(b + 192 + 8 * part);
        float *to = out + 128 * part;
        for (int i = 0; i < 32; ++i) {
            const int quants[4] = {
                (low[i] & 15) | (high[i] & 3) << 4,
                (low[i + 32] & 15) | (high[i] >> 2 & 3) << 4,
                (low[i] >> 4) | (high[i] >> 4 & 3) << 4,
                (low[i + 32] >> 4) | (high[i] >> 6) << 4,
            };
            for (int k = 0; k < 4; ++k) {
                to[32 * k + i] = d * float(scales[2 * k + i / 16]) * float(quants[k] - 32);
            }
        }
    }
}

const Block *block_of(tg_format format) {
    static const Block blocks[] = {
        {1, 4, f32},    {1, 2, f16},    {1, 2, b16},    {1, 8, f64},     {32, 18, q4_0},   {32, 20, q4_1},
        {32, 22, q5_0}, {32, 24, q5_1}, {32, 34, q8_0}, {256, 144, q4_k}, {256, 176, q5_k}, {256, 210, q6_k},
    };
    const auto index = size_t(format);
    return index < std::size(blocks) ? &blocks[index] : nullptr;
}

template <typename T>
void convert(const float *from, T *to, int64_t count) {
    for (int64_t i = 0; i < count; ++i) to[i] = T(from[i]);
}

}  // namespace

namespace tg {

int64_t stored_row_bytes(tg_format format, int64_t columns) {
    const Block *block = block_of(format);
    TORCH_CHECK(block && columns > 0 && columns % block->elements == 0, "rows of ", columns,
                " of format ", int(format));
    return columns / block->elements * block->bytes;
}

void decode_row(tg_format format, const uint8_t *row, int64_t columns, float *out) {
    const Block *block = block_of(format);
    for (int64_t c = 0; c < columns; c += block->elements) {
        block->decode(row + c / block->elements * block->bytes, out + c);
    }
}

void write_rows(tg_tensor out, int64_t at, int64_t count, int64_t columns,
                const std::function<void(char *, int64_t, int64_t)> &write) {
    const int64_t row_bytes = columns * int64_t(out->value.element_size());
    if (!out->device) return write(static_cast<char *>(out->value.data_ptr()) + at * row_bytes, 0, count);
    // Large enough for the bus, small enough that reading and sending overlap; whole tiles of 16 rows.
    const int64_t rows = std::max<int64_t>(1, (int64_t(32) << 20) / row_bytes / 16) * 16;
    for (int64_t first = 0; first < count; first += rows) {
        const int64_t end = std::min(count, first + rows), bytes = (end - first) * row_bytes;
        auto *host = static_cast<char *>(out->device->fill(bytes));
        write(host, first, end);
        out->device->send(out->value, (at + first) * row_bytes, bytes);
        progressed();
    }
}

}  // namespace tg

extern "C" {

bool tg_decode_rows(tg_tensor out, int64_t at, int64_t count, int64_t columns, tg_format format,
                    const void *source, int64_t source_bytes, int64_t permuted_heads) noexcept {
    return tg::guarded(false, [&] {
        const at::Tensor &to = tg::get(out);
        const Block *block = block_of(format);
        TORCH_CHECK(block, "unknown weight format ", int(format));
        TORCH_CHECK(to.is_contiguous() && (out->device || to.is_cpu()),
                    "decoding into a tensor that is not dense");
        TORCH_CHECK(columns > 0 && columns % block->elements == 0, "rows of ", columns,
                    " are no whole blocks of ", block->elements);
        const int64_t row_bytes = columns / block->elements * block->bytes;
        TORCH_CHECK(at >= 0 && count > 0 && count <= INT64_MAX / row_bytes &&
                        at <= to.numel() / columns - count && count * row_bytes == source_bytes,
                    count, " rows of ", columns, " from row ", at, " of ", to.sizes(), ", ", source_bytes,
                    " bytes");
        const int64_t head = permuted_heads > 0 ? count / permuted_heads : 0;
        TORCH_CHECK(permuted_heads <= 0 || (head * permuted_heads == count && head % 2 == 0), count,
                    " rows are no ", permuted_heads, " rotary heads");
        const auto type = to.scalar_type();
        TORCH_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kHalf,
                    "decoding into ", type);
        const auto *bytes = static_cast<const uint8_t *>(source);
        const bool copies = (type == at::kFloat && format == TG_FORMAT_F32) ||
                            (type == at::kBFloat16 && format == TG_FORMAT_BF16) ||
                            (type == at::kHalf && format == TG_FORMAT_F16);
        const int64_t step = std::max<int64_t>(1, 65536 / columns);
        const auto decode = [&](char *target, int64_t first, int64_t end) {
            tg::parallel((end - first + step - 1) / step, [&](int64_t chunk) {
                float values[256];
                const int64_t start = first + chunk * step;
                for (int64_t r = start; r < std::min(end, start + step); ++r) {
                    int64_t from = r;
                    if (head > 0) {
                        const int64_t in_head = r % head;
                        from = r - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2);
                    }
                    const uint8_t *row = bytes + from * row_bytes;
                    if (copies) {
                        std::memcpy(target + (r - first) * row_bytes, row, size_t(row_bytes));
                        continue;
                    }
                    const int64_t stride = 256 / block->elements * block->elements;
                    for (int64_t c = 0; c < columns; c += stride) {
                        const int64_t part = std::min(stride, columns - c);
                        for (int64_t i = 0; i < part; i += block->elements) {
                            block->decode(row + (c + i) / block->elements * block->bytes, values + i);
                        }
                        const int64_t place = (r - first) * columns + c;
                        if (type == at::kFloat) {
                            std::memcpy(target + place * 4, values, size_t(part) * 4);
                        } else if (type == at::kBFloat16) {
                            convert(values, reinterpret_cast<c10::BFloat16 *>(target) + place, part);
                        } else {
                            convert(values, reinterpret_cast<c10::Half *>(target) + place, part);
                        }
                    }
                }
            });
        };
        tg::write_rows(out, at, count, columns, decode);
        return true;
    });
}
}
