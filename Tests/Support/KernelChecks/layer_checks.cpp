// kernels/layers.cu against CTorch's layers.
#include "checks.hpp"

using namespace checks;
using namespace tg::device;

namespace {

const int64_t kWidths[] = {1, 7, 15, 16, 37, 64, 576, 1000, 2049, 9001};
const int64_t kRowCounts[] = {0, 1, 3};

/// A CPU answer computed in the type that has operations there.
Tensor for_cpu(const Tensor &t) { return t.as(cpu_type(t.type())); }

std::vector<int32_t> numbers(int64_t count, int32_t below) {
    std::vector<int32_t> answer(static_cast<size_t>(count));
    for (int32_t &n : answer) n = int32_t(noise_source()() % uint32_t(below));
    return answer;
}

}  // namespace

KERNEL_CHECK(rms_norm, "rms_norm is the CPU's") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : kRowCounts)
            for (const int64_t width : kWidths) {
                const Tensor x(noise(rows * width, 3), {rows, width}, type), w(noise(width), {width}, type);
                Memory out(type, rows * width);
                launch_rms_norm(type, x.data(), w.data(), out.data(), rows, width, 1e-5f);
                const Tensor wanted(tg_rms_norm(for_cpu(x), for_cpu(w), 1e-5f));
                expect_close("rms_norm", type, out.floats(), wanted.floats());
            }
    });
}

KERNEL_CHECK(add_rms_norm, "add_rms_norm adds, rounds and then normalises") {
    each_type([](tg_dtype type) {
        for (const int64_t width : kWidths) {
            const int64_t rows = 3;
            const Tensor x(noise(rows * width), {rows, width}, type), w(noise(width), {width}, type);
            const Tensor residual(noise(rows * width), {rows, width}, type);
            const Tensor sum(tg_add(residual, x));
            Tensor changed = residual.copy();
            Memory out(type, rows * width);
            launch_add_rms_norm(type, x.data(), changed.data(), w.data(), out.data(), rows, width, 1e-6f);
            expect_equal("residual", changed.floats(), sum.floats());
            const Tensor wanted(tg_rms_norm(for_cpu(sum), for_cpu(w), 1e-6f));
            expect_close("add_rms_norm", type, out.floats(), wanted.floats());
        }
    });
}

KERNEL_CHECK(head_norm, "head_norm is the CPU's and leaves other columns alone") {
    each_type([](tg_dtype type) {
        for (const int64_t dim : {1, 16, 32, 64, 80, 96, 128, 256})
            for (const int64_t heads : {1, 3, 7}) {
                const int64_t rows = 2, stride = heads * dim + 11, column = 5;
                const Tensor x(noise(rows * stride, 2), {rows, stride}, type), w(noise(dim), {dim}, type);
                Tensor found = x.copy();
                launch_head_norm(type, found.data(), rows, stride, column, heads, dim, w.data(), 1e-6f);
                const Tensor wanted = for_cpu(x).copy();
                tg_head_norm(wanted, column, heads, dim, for_cpu(w), 1e-6f);
                expect_close("head_norm", type, found.floats(), wanted.floats());
            }
    });
}

KERNEL_CHECK(layer_norm, "layer_norm is the CPU's, with and without weight and bias") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : kRowCounts)
            for (const int64_t width : kWidths)
                for (const int given : {0, 1, 3}) {
                    std::vector<float> values = noise(rows * width, 3);
                    for (float &v : values) v += 1.5f;
                    const Tensor x(values, {rows, width}, type);
                    const Tensor w(noise(width), {width}, type), b(noise(width), {width}, type);
                    Memory out(type, rows * width);
                    launch_layer_norm(type, x.data(), given & 1 ? w.data() : nullptr,
                                      given & 2 ? b.data() : nullptr, out.data(), rows, width, 1e-5f);
                    const Tensor wide = for_cpu(w), shift = for_cpu(b);
                    const Tensor wanted(tg_layer_norm(for_cpu(x), given & 1 ? tg_tensor(wide) : nullptr,
                                                      given & 2 ? tg_tensor(shift) : nullptr, 1e-5f));
                    expect_close("layer_norm", type, out.floats(), wanted.floats(), 2e-5);
                }
    });
}

KERNEL_CHECK(rope, "rope is the CPU's, rounded or wide") {
    each_type([](tg_dtype type) {
        for (const int64_t dim : {2, 16, 32, 64, 80, 96, 128, 256})
            for (const bool wide : {false, true})
                for (const int64_t heads : {1, 3}) {
                    const int64_t rows = 4, stride = (heads + 2) * dim, column = dim, table_rows = 100;
                    const Tensor x(noise(rows * stride), {rows, stride}, type);
                    const Tensor angles(noise(table_rows * dim, 0.6f), {table_rows, dim});
                    const std::vector<int32_t> positions{0, 99, 64, 3};
                    Tensor found = x.copy();
                    launch_rope(type, found.data(), rows, stride, column, heads, dim,
                                static_cast<const float *>(angles.data()), table_rows, positions.data(),
                                wide);
                    const Tensor wanted = for_cpu(x).copy();
                    tg_rope(wanted, column, heads, dim, angles, positions.data(), rows, wide);
                    // The CPU has no rounding of float16 between; products of it differ by more than a step.
                    if (type != TG_F16 || wide) {
                        expect_close("rope", type, found.floats(), wanted.floats());
                    }
                }
    });
}

KERNEL_CHECK(gates, "swiglu, gelu, relu, add and multiply are the CPU's") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : kRowCounts)
            for (const int64_t width : kWidths) {
                const Tensor x(noise(rows * 2 * width, 4), {rows, 2 * width}, type);
                const Tensor y(noise(rows * 2 * width, 4), {rows, 2 * width}, type);
                const Tensor wide = for_cpu(x);
                const int64_t count = rows * 2 * width;
                Memory gate(type, rows * width);
                launch_swiglu(type, x.data(), gate.data(), rows, width);
                if (type != TG_F16) {
                    expect_close("swiglu", type, gate.floats(), Tensor(tg_swiglu(wide)).floats());
                }
                for (const bool by_tanh : {false, true}) {
                    Memory out(type, count);
                    launch_gelu(type, x.data(), out.data(), count, by_tanh);
                    expect_close("gelu", type, out.floats(), Tensor(tg_gelu(wide, by_tanh)).floats());
                }
                Memory relu(type, count), sum(type, count), product(type, count);
                launch_relu(type, x.data(), relu.data(), count);
                expect_equal("relu", relu.floats(), Tensor(tg_relu(x)).floats());
                launch_add(type, x.data(), y.data(), sum.data(), count);
                expect_equal("add", sum.floats(), Tensor(tg_add(x, y)).floats());
                launch_multiply(type, x.data(), y.data(), product.data(), count);
                expect_equal("multiply", product.floats(), Tensor(tg_multiply(x, y)).floats());
                Tensor changed = x.copy();
                launch_add_in_place(type, changed.data(), y.data(), count);
                expect_equal("add in place", changed.floats(), sum.floats());
            }
    });
}

KERNEL_CHECK(conversions, "conversions round to nearest even, from addresses of any alignment") {
    std::vector<float> values = noise(1003, 100);
    for (const float special : {0.0f, -0.0f, 1e-8f, 65504.0f, 1.00390625f, 1.01171875f, 3e38f, 6e-8f}) {
        values.push_back(special);
    }
    each_type([&](tg_dtype from) {
        each_type([&](tg_dtype to) {
            const Tensor x(values, {int64_t(values.size())}, from);
            const size_t size = from == TG_F32 ? 4 : 2;
            for (const int64_t skipped : {0, 1, 4}) {
                const int64_t count = x.count() - skipped;
                Memory out(to, count);
                launch_convert(from, static_cast<const char *>(x.data()) + size_t(skipped) * size, to,
                               out.data(), count);
                const std::vector<float> wanted = x.as(to).floats();
                expect_equal("convert", out.floats(), {wanted.begin() + skipped, wanted.end()});
            }
        });
    });
}

KERNEL_CHECK(gathers, "rows are taken by their numbers; those outside are zeros") {
    each_type([](tg_dtype type) {
        for (const int64_t width : kWidths) {
            const int64_t table_rows = 9;
            const Tensor table(noise(table_rows * width), {table_rows, width}, type);
            std::vector<int32_t> ids = numbers(5, int32_t(table_rows));
            Memory out(type, 5 * width);
            launch_embedding(type, table.data(), table_rows, width, ids.data(), 5, out.data());
            expect_equal("embedding", out.floats(), Tensor(tg_embedding(table, ids.data(), 5)).floats());
            Memory taken(type, 5 * width);
            launch_take_rows(type, table.data(), width, ids.data(), 5, taken.data());
            expect_equal("take_rows", taken.floats(), out.floats());
            const std::vector<int32_t> outside{-1, int32_t(table_rows)};
            Memory zeros(type, 2 * width);
            launch_embedding(type, table.data(), table_rows, width, outside.data(), 2, zeros.data());
            expect_equal("outside", zeros.floats(), std::vector<float>(size_t(2 * width), 0.0f));
        }
    });
}

KERNEL_CHECK(transposes, "matrices are transposed") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : {1, 31, 33, 100})
            for (const int64_t width : {1, 32, 65}) {
                const Tensor x(noise(rows * width), {rows, width}, type);
                Memory out(type, rows * width);
                launch_transpose(type, x.data(), rows, width, out.data());
                expect_equal("transpose", out.floats(), Tensor(tg_transpose(x)).floats());
            }
    });
}

KERNEL_CHECK(mixtures, "weighted rows are summed as on the CPU") {
    for (const int64_t width : {1, 33, 300}) {
        const int64_t count = 7, taps = 4, table_rows = 12;
        const Tensor table(noise(table_rows * width), {table_rows, width});
        const std::vector<int32_t> rows = numbers(count * taps, int32_t(table_rows));
        const std::vector<float> weights = noise(count * taps);
        Memory out(TG_F32, count * width);
        launch_mix_rows(static_cast<const float *>(table.data()), table_rows, width, rows.data(),
                        weights.data(), count, taps, out.as<float>());
        const Tensor wanted(tg_mix_rows(table, rows.data(), weights.data(), count, taps));
        expect_close("mix_rows", TG_F32, out.floats(), wanted.floats());
    }
}

KERNEL_CHECK(dense_products, "products of few rows with dense weights are the CPU's") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : {0, 1, 2, 3, 4})
            for (const auto &[n, k] : {std::pair<int64_t, int64_t>{1, 8}, {17, 576}, {33, 7}, {40, 1000},
                                       {9, 4100}, {3, 25000}})
                for (const bool biased : {false, true}) {
                    const Tensor x(noise(rows * k), {rows, k}, type), w(noise(n * k, 0.1f), {n, k}, type);
                    const Tensor bias(noise(n), {n}, type);
                    Memory out(type, rows * n);
                    launch_gemv(type, x.data(), rows, w.data(), biased ? bias.data() : nullptr, out.data(), n,
                                k);
                    const Tensor b = bias.as(TG_F32);
                    const Tensor exact(
                        tg_linear(x.as(TG_F32), w.as(TG_F32), biased ? tg_tensor(b) : nullptr));
                    expect_close("gemv", type, out.floats(), exact.as(type).floats());
                }
    });
}

KERNEL_CHECK(surrounded_products, "norms before and gates and sums behind a product are those of their own") {
    each_type([](tg_dtype type) {
        for (const int64_t rows : {1, 2, 4})
            for (const auto &[n, k] : {std::pair<int64_t, int64_t>{2, 8}, {18, 576}, {34, 7}, {6, 4104}})
                for (int kind = 0; kind < 16; ++kind) {
                    const bool normed = kind & 1, gated = kind & 2, adds = kind & 4, wide = kind & 8;
                    if (wide && adds) continue;
                    const int64_t width = gated ? n / 2 : n;
                    const Tensor x(noise(rows * k), {rows, k}, type), norm(noise(k), {k}, type);
                    const Tensor w(noise(n * k, 0.1f), {n, k}, type), bias(noise(n), {n}, type);
                    Tensor sum(noise(rows * width), {rows, width}, type);
                    Memory inputs(type, rows * k), product(type, rows * n), gate(type, rows * width),
                        whole(type, rows * width), out(wide ? TG_F32 : type, rows * width);
                    const void *from = x.data();
                    if (normed) {
                        launch_rms_norm(type, from, norm.data(), inputs.data(), rows, k, 1e-5f);
                        from = inputs.data();
                    }
                    launch_gemv(type, from, rows, w.data(), bias.data(), product.data(), n, k);
                    Memory *wanted = &product;
                    if (gated) {
                        launch_swiglu(type, product.data(), gate.data(), rows, width);
                        wanted = &gate;
                    }
                    if (adds) {
                        launch_add(type, wanted->data(), sum.data(), whole.data(), rows * width);
                        wanted = &whole;
                    }
                    ProductAround around;
                    if (normed) around.norm = norm.data(), around.eps = 1e-5f;
                    around.gated = gated;
                    around.wide = wide;
                    // A sum takes the product in place.
                    if (adds) around.sum = sum.data();
                    launch_gemv(type, x.data(), rows, w.data(), bias.data(), adds ? sum.data() : out.data(),
                                n, k, around);
                    // Two sums of squares in different orders may give inputs a step apart.
                    expect_close("surrounded", type, adds ? sum.floats() : out.floats(), wanted->floats(), 2e-5);
                }
    });
}
