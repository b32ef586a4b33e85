// kernels/weights.cu against the CPU's packed weights: the same values, and their products.
#include "checks.hpp"

#include <algorithm>

#include "../../../Sources/Inference/CTorch/packed.hpp"

using namespace checks;
using namespace tg::device;

namespace {

/// Packed weights of every kind, from random bytes or values.
struct Packed {
    std::string name;
    tg_packed weight;
    explicit Packed(std::string name, int64_t rows, int64_t columns)
        : name(std::move(name)), weight(tg_packed_new(rows, columns)) {}
    Packed(Packed &&other) noexcept : name(std::move(other.name)), weight(other.weight) {
        other.weight = nullptr;
    }
    ~Packed() { tg_packed_free(weight); }
};

void check(bool done) {
    if (done) return;
    const std::string message = tg_error() ? tg_error() : "failed";
    tg_clear_error();
    throw std::runtime_error(message);
}

/// Bytes of rows in a GGUF format whose halves are small numbers.
std::vector<uint8_t> stored(tg_format format, int64_t rows, int64_t columns) {
    static const struct {
        tg_format format;
        int64_t elements, bytes;
        std::vector<int64_t> halves;
    } kinds[] = {
        {TG_FORMAT_Q4_0, 32, 18, {0}},      {TG_FORMAT_Q4_1, 32, 20, {0, 2}},
        {TG_FORMAT_Q5_0, 32, 22, {0}},      {TG_FORMAT_Q5_1, 32, 24, {0, 2}},
        {TG_FORMAT_Q8_0, 32, 34, {0}},      {TG_FORMAT_Q4_K, 256, 144, {0, 2}},
        {TG_FORMAT_Q5_K, 256, 176, {0, 2}}, {TG_FORMAT_Q6_K, 256, 210, {208}},
    };
    for (const auto &kind : kinds) {
        if (kind.format != format) continue;
        const int64_t count = rows * columns / kind.elements;
        std::vector<uint8_t> bytes(static_cast<size_t>(count * kind.bytes));
        for (uint8_t &b : bytes) b = uint8_t(noise_source()());
        for (int64_t i = 0; i < count; ++i)
            for (const int64_t at : kind.halves) {
                const auto half = __builtin_bit_cast(uint16_t, _Float16(noise(1, 0.02f)[0]));
                bytes[size_t(i * kind.bytes + at)] = uint8_t(half);
                bytes[size_t(i * kind.bytes + at + 1)] = uint8_t(half >> 8);
            }
        return bytes;
    }
    return {};
}

std::vector<Packed> every_kind(int64_t rows, int64_t columns) {
    std::vector<Packed> answer;
    const auto begin = [&](const char *name) -> tg_packed {
        answer.emplace_back(name, rows, columns);
        return answer.back().weight;
    };
    static const std::pair<const char *, tg_format> formats[] = {
        {"Q4_0", TG_FORMAT_Q4_0}, {"Q4_1", TG_FORMAT_Q4_1}, {"Q5_0", TG_FORMAT_Q5_0},
        {"Q5_1", TG_FORMAT_Q5_1}, {"Q8_0", TG_FORMAT_Q8_0}, {"Q4_K", TG_FORMAT_Q4_K},
        {"Q5_K", TG_FORMAT_Q5_K}, {"Q6_K", TG_FORMAT_Q6_K},
    };
    for (const auto &[name, format] : formats) {
        if (columns % 256 && format >= TG_FORMAT_Q4_K) continue;
        const std::vector<uint8_t> bytes = stored(format, rows, columns);
        check(tg_pack_rows(begin(name), rows, format, bytes.data(), int64_t(bytes.size()), 0));
    }
    const std::vector<float> values = noise(rows * columns, 0.05f);
    tg_source floats{};
    floats.format = TG_FORMAT_F32;
    floats.data = values.data();
    floats.bytes = rows * columns * 4;
    static const std::pair<const char *, tg_packing> packings[] = {
        {"int8", TG_PACK_INT8}, {"int4", TG_PACK_INT4}, {"nf4", TG_PACK_NF4}};
    for (const auto &[name, how] : packings) {
        if (columns % 64 && how == TG_PACK_NF4) continue;
        check(tg_pack_source(begin(name), rows, &floats, how));
    }
    if (columns % 64 == 0 && rows % 8 == 0) {
        // AWQ's layout: words of 8 rows, zero points and scales by groups of 64 columns.
        std::vector<uint32_t> words(static_cast<size_t>(columns * rows / 8));
        for (uint32_t &w : words) w = noise_source()();
        const int64_t groups = columns / 64;
        std::vector<int16_t> zeros(static_cast<size_t>(groups * rows));
        for (int16_t &z : zeros) z = int16_t(noise_source()() % 16);
        std::vector<float> scales = noise(groups * rows, 0.02f);
        for (float &s : scales) s = float(_Float16(s));
        tg_source awq{};
        awq.format = TG_FORMAT_AWQ4;
        awq.rounded = TG_F16;
        awq.data = words.data();
        awq.bytes = int64_t(words.size() * 4);
        awq.scales = scales.data();
        awq.scale_count = groups * rows;
        awq.zeros = zeros.data();
        awq.block_columns = 64;
        check(tg_pack_source(begin("AWQ"), rows, &awq, TG_PACK_STORED));
        // GPTQ's layout: words of 4 columns; zero points of the first version go up to 256.
        words.resize(static_cast<size_t>(columns * rows / 4));
        for (uint32_t &w : words) w = noise_source()();
        for (int16_t &z : zeros) z = int16_t(noise_source()() % 256 + 1);
        zeros[0] = 256;
        awq.format = TG_FORMAT_GPTQ8;
        awq.data = words.data();
        awq.bytes = int64_t(words.size() * 4);
        awq.zeros = zeros.data();
        check(tg_pack_source(begin("GPTQ 8"), rows, &awq, TG_PACK_STORED));
    }
    std::vector<uint8_t> bytes(static_cast<size_t>(rows * columns));
    for (uint8_t &b : bytes) b = uint8_t(noise_source()());
    const std::vector<float> scales = noise(rows * ((columns + 63) / 64), 0.01f);
    tg_source eight{};
    eight.format = TG_FORMAT_INT8;
    eight.data = bytes.data();
    eight.bytes = rows * columns;
    eight.scales = scales.data();
    eight.scale_count = rows;
    check(tg_pack_source(begin("int8 by row"), rows, &eight, TG_PACK_STORED));
    for (uint8_t &b : bytes) b = (b & 127) == 127 ? 0x81 : b;
    eight.format = TG_FORMAT_F8_E4M3;
    eight.block_rows = 24;
    eight.block_columns = 64;
    eight.scale_count = (rows + 23) / 24 * ((columns + 63) / 64);
    check(tg_pack_source(begin("float8"), rows, &eight, TG_PACK_STORED));
    return answer;
}

std::vector<float> values_of(tg_packed weight) {
    std::vector<float> values(static_cast<size_t>(weight->rows * weight->columns));
    for (const tg::QuantPart &part : weight->parts) {
        for (int64_t r = 0; r < part.rows; ++r) {
            tg::unpack_row(part, r, values.data() + (part.first + r) * weight->columns);
        }
    }
    return values;
}

}  // namespace

KERNEL_CHECK(unpacking, "quantised weights become the CPU's values, whole or by rows") {
    for (const auto &[rows, columns] : {std::pair<int64_t, int64_t>{8, 64}, {40, 256}, {33, 96}, {17, 768}}) {
        for (const Packed &packed : every_kind(rows, columns)) {
            const std::vector<float> wanted = values_of(packed.weight);
            const tg::QuantPart &part = packed.weight->parts[0];
            each_type([&](tg_dtype type) {
                for (const auto &[row, count] :
                     {std::pair<int64_t, int64_t>{0, rows}, {3, rows - 4}, {rows - 1, 1}}) {
                    Memory out(type, count * columns);
                    launch_unpack(part, row, count, type, out.data());
                    const auto from = wanted.begin() + row * columns;
                    const Tensor rounded({from, from + count * columns}, {count, columns}, type);
                    expect_equal(packed.name.c_str(), out.floats(), rounded.floats());
                }
                std::vector<int32_t> ids{0, int32_t(rows - 1), 5, -1, int32_t(rows)};
                Memory out(type, 5 * columns);
                launch_convert(TG_F32, std::vector<float>(size_t(5 * columns), 1.5f).data(), type, out.data(),
                               5 * columns);
                launch_unpack_rows(part, ids.data(), 5, type, out.data());
                std::vector<float> picked;
                for (const int32_t id : ids) {
                    const bool inside = id >= 0 && id < rows;
                    const auto from = wanted.begin() + (inside ? id : 0) * columns;
                    if (inside) picked.insert(picked.end(), from, from + columns);
                    else picked.insert(picked.end(), size_t(columns), 1.5f);
                }
                expect_equal(packed.name.c_str(), out.floats(), Tensor(picked, {5, columns}, type).floats());
            });
        }
    }
}

KERNEL_CHECK(products, "products of few rows with quantised weights are those of their values") {
    for (const auto &[rows, columns] :
         {std::pair<int64_t, int64_t>{8, 64}, {40, 256}, {33, 96}, {17, 2304}}) {
        for (const Packed &packed : every_kind(rows, columns)) {
            const std::vector<float> values = values_of(packed.weight);
            tg::QuantPart part = packed.weight->parts[0];
            part.first = 3;  // as if other parts lay around it
            const int64_t stride = rows + 5;
            each_type([&](tg_dtype type) {
                for (const int64_t inputs : {1, 2, 4, 5, 8, 13}) {
                    if (inputs > 8 && (type == TG_F32 || part.scales == tg::Scales::table)) continue;
                    const Tensor x(noise(inputs * columns), {inputs, columns}, type);
                    const tg_dtype out_type = inputs == 2 ? TG_F32 : type;
                    const Tensor bias(noise(stride), {stride}, type);
                    const std::vector<float> in = x.floats(), added = bias.floats();
                    std::vector<float> wanted(static_cast<size_t>(inputs * stride), 2.5f);
                    for (int64_t m = 0; m < inputs; ++m)
                        for (int64_t r = 0; r < rows; ++r) {
                            double sum = inputs == 4 ? 0 : added[size_t(3 + r)];
                            for (int64_t c = 0; c < columns; ++c) {
                                sum += double(values[size_t(r * columns + c)]) * in[size_t(m * columns + c)];
                            }
                            wanted[size_t(m * stride + 3 + r)] = float(sum);
                        }
                    Memory out(out_type, inputs * stride);
                    const std::vector<float> before(size_t(inputs * stride), 2.5f);
                    launch_convert(TG_F32, before.data(), out_type, out.data(), inputs * stride);
                    const PackedInput with{&part, x.data()};
                    launch_packed_products(&with, 1, type, inputs, inputs == 4 ? nullptr : bias.data(), nullptr,
                                           out_type, out.data(), stride);
                    const Tensor rounded(wanted, {inputs, stride}, out_type);
                    expect_close(packed.name.c_str(), out_type, out.floats(), rounded.floats());
                }
            });
        }
    }
}

KERNEL_CHECK(parts_together, "parts of one kind are one product, and a residual takes it in place") {
    const int64_t columns = 96;
    const std::vector<Packed> kinds = every_kind(40, columns), others = every_kind(17, columns);
    for (const size_t k : {size_t(0), kinds.size() - 1}) {
        for (const tg_dtype type : {TG_F32, TG_BF16}) {
            const int64_t count = 6, rows = 40 * count + 17;
            std::vector<tg::QuantPart> parts(size_t(count), kinds[k].weight->parts[0]);
            // Another kind between, whose launch is its own.
            parts.insert(parts.begin() + 2, others[k == 0 ? 1 : 0].weight->parts[0]);
            const Tensor x(noise(3 * columns), {3, columns}, type), sum(noise(3 * rows), {3, rows}, type);
            std::vector<PackedInput> with;
            int64_t first = 0;
            for (tg::QuantPart &part : parts) {
                part.first = first;
                first += part.rows;
                with.push_back({&part, x.data()});
            }
            Memory apart(type, 3 * rows), added(type, 3 * rows);
            for (const PackedInput &one : with) {
                launch_packed_products(&one, 1, type, 3, nullptr, nullptr, type, apart.data(), rows);
            }
            launch_add(type, apart.data(), sum.data(), added.data(), 3 * rows);
            launch_packed_products(with.data(), count + 1, type, 3, nullptr, sum.data(), type, sum.data(), rows);
            expect_equal("parts", sum.floats(), added.floats());
        }
    }
}

KERNEL_CHECK(columns, "columns are taken by their numbers, and put back") {
    const std::vector<int32_t> from{4, 0, -1, 6, 2, -1, 5};
    each_type([&](tg_dtype type) {
        const Tensor x(noise(3 * 8), {3, 8}, type);
        Memory taken(type, 3 * 7), back(type, 3 * 8);
        launch_take_columns(type, x.data(), 3, 8, from.data(), 7, false, taken.data());
        launch_convert(TG_F32, std::vector<float>(24, 1.5f).data(), type, back.data(), 24);
        launch_take_columns(type, taken.data(), 3, 8, from.data(), 7, true, back.data());
        const std::vector<float> given = x.floats();
        std::vector<float> wanted, returned(24, 1.5f);
        for (size_t row = 0; row < 3; ++row)
            for (const int32_t column : from) {
                wanted.push_back(column < 0 ? 0 : given[row * 8 + size_t(column)]);
                if (column >= 0) returned[row * 8 + size_t(column)] = given[row * 8 + size_t(column)];
            }
        expect_equal("taken", taken.floats(), wanted);
        expect_equal("put back", back.floats(), returned);
    });
}
