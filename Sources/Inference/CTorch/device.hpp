// What a device does for the operations of ctorch.h: implemented by a library of its own, loaded at start.
//
// 1. ctorch.h's functions check shapes; a device may rely on them. What fails throws.
// 2. Tensors are the device's own unless a name says host; pointers to integers and floats are the host's.
// 3. Work is put on one stream, in order; only what answers values to the host waits for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "include/ctorch.h"

struct tg_packed_s;

namespace tg {

/// Grows with every change of this file, ctorch.h's structs and quant.hpp: library and engine must agree.
constexpr int32_t kDeviceVersion = 5;

/// What tg_stage is given.
struct StagedStep {
    const int32_t *ids, *positions, *follows;
    const tg_run *runs;
    const tg_sampler_row *samplers;
    int64_t rows, longest, owner;
};

class Device {
  public:
    virtual ~Device() = default;

    // The device ---------------------------------------------------------------------------------
    /// What log lines and `loaded` say: `cuda:0`, and the model of the GPU.
    virtual const char *name() const = 0;
    virtual const char *model() const = 0;
    /// Address on the bus, as NVML takes it.
    virtual const char *bus() const = 0;
    virtual tg_device_memory memory() = 0;
    /// Gives cached memory back.
    virtual void trim() = 0;
    /// Whether an error has spoilt the device for this process.
    virtual bool lost() const = 0;

    // Memory -------------------------------------------------------------------------------------
    virtual at::Tensor empty(at::IntArrayRef sizes, at::ScalarType type) = 0;
    virtual at::Tensor zeros(at::IntArrayRef sizes, at::ScalarType type) = 0;
    /// Address space alone; `commit` puts memory behind a range of bytes, `discard` takes whole pages off.
    virtual at::Tensor reserve(at::IntArrayRef sizes, at::ScalarType type, uint64_t bytes) = 0;
    virtual void commit(const at::Tensor &t, int64_t offset, int64_t bytes) = 0;
    virtual void discard(const at::Tensor &t, int64_t offset, int64_t bytes) = 0;
    /// From the host; returns when `host` may be changed.
    virtual void upload(const at::Tensor &to, const at::Tensor &host) = 0;
    /// Of a tensor of the same type; waits.
    virtual void download(const at::Tensor &host, const at::Tensor &from) = 0;
    /// `bytes` of memory to fill for `send`; waits until an earlier sending of this memory is done.
    virtual void *fill(int64_t bytes) = 0;
    /// Sends what `fill` gave to a place in `to`, while the next is filled.
    virtual void send(const at::Tensor &to, int64_t offset, int64_t bytes) = 0;

    // Operations, as those of the same name ------------------------------------------------------
    virtual at::Tensor linear(const at::Tensor &x, const at::Tensor &w, const at::Tensor *bias) = 0;
    virtual at::Tensor embedding(const at::Tensor &w, const int32_t *ids, int64_t count) = 0;
    virtual at::Tensor rms_norm(const at::Tensor &x, const at::Tensor &w, float eps) = 0;
    virtual void head_norm(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim,
                           const at::Tensor &w, float eps) = 0;
    virtual at::Tensor layer_norm(const at::Tensor &x, const at::Tensor *w, const at::Tensor *bias,
                                  float eps) = 0;
    virtual at::Tensor swiglu(const at::Tensor &x) = 0;
    virtual at::Tensor gelu(const at::Tensor &x, bool by_tanh) = 0;
    virtual void rope(const at::Tensor &x, int64_t column, int64_t heads, int64_t dim,
                      const at::Tensor &angles, const int32_t *positions, int64_t count, bool wide) = 0;
    virtual at::Tensor add(const at::Tensor &a, const at::Tensor &b) = 0;
    virtual at::Tensor multiply(const at::Tensor &a, const at::Tensor &b) = 0;
    virtual at::Tensor relu(const at::Tensor &x) = 0;
    virtual at::Tensor convert(const at::Tensor &x, at::ScalarType type) = 0;
    virtual at::Tensor take_rows(const at::Tensor &x, const int64_t *rows, int64_t count) = 0;
    virtual at::Tensor transpose(const at::Tensor &x) = 0;
    virtual void put_rows(const at::Tensor &to, const at::Tensor &from, bool adds) = 0;
    virtual at::Tensor mix_rows(const at::Tensor &table, const int32_t *rows, const float *weights,
                                int64_t count, int64_t taps) = 0;
    virtual at::Tensor add_rms_norm(const at::Tensor &x, const at::Tensor &residual, const at::Tensor &w,
                                    float eps) = 0;
    /// `turn`: null where queries and keys are turned already.
    virtual at::Tensor attention(const at::Tensor &qkv, const tg_turn *turn, int64_t heads, int64_t kv_heads,
                                 int64_t dim, float scale, int64_t window, const tg_run *runs,
                                 int64_t run_count) = 0;
    virtual void segment_keep(const at::Tensor &rows, int64_t at, const at::Tensor &cache) = 0;
    virtual at::Tensor segment_attention(const at::Tensor &queries, int64_t at, int64_t heads, int64_t dim,
                                         float scale, const int64_t *lengths, int64_t segments,
                                         const at::Tensor &cache) = 0;
    virtual at::Tensor linear_attention(const at::Tensor &queries, const at::Tensor &values,
                                        const tg_recurrence *runs, int64_t run_count) = 0;
    virtual at::Tensor pair_angles(const float *cycles, int64_t pairs, const int32_t *positions,
                                   int64_t count) = 0;
    virtual at::Tensor turn_pairs(const at::Tensor &x, const at::Tensor &angles) = 0;
    /// Takes a finished weight over: its parts point into device memory afterwards.
    virtual void take_over(tg_packed_s &w) = 0;
    virtual at::Tensor packed_linear(const at::Tensor &x, const tg_packed_s &w, const at::Tensor *bias,
                                     at::ScalarType out) = 0;
    virtual bool joins(const at::Tensor &x) const = 0;
    /// `w` or `packed`.
    virtual at::Tensor joined_linear(const at::Tensor &x, const at::Tensor *w, const tg_packed_s *packed,
                                     const tg_around &around) = 0;
    virtual at::Tensor packed_embedding(const tg_packed_s &w, const int32_t *ids, int64_t count,
                                        at::ScalarType out) = 0;
    /// Copies positions 0..<count of one sequence's memory, `bytes` in all.
    virtual void copy(const void *from, void *to, int64_t bytes) = 0;
    virtual void sample(const at::Tensor &logits, const tg_sampler_row *rows, tg_sampled *out,
                        int64_t count) = 0;

    // Decode steps as graphs ---------------------------------------------------------------------
    /// Puts a step's integers where a graph looks for them, in one copy; false where they are too many.
    virtual bool stage(const StagedStep &step) = 0;
    virtual bool has_graph() const = 0;
    virtual void graphs_free(int64_t owner) = 0;
    /// Until `graph_end`, operations are recorded for later and done by no one.
    virtual void graph_begin() = 0;
    /// Ends the recording with the drawing of a token a row of `logits`; keeps it for such steps.
    virtual void graph_end(const at::Tensor &logits) = 0;
    /// Gives a recording up; operations are done again.
    virtual void graph_abandon() noexcept = 0;
    /// Starts the recorded work on what was staged last.
    virtual void graph_start() = 0;
    /// Waits for the oldest work that was started: `count` answers.
    virtual void graph_answers(tg_sampled *out, int64_t count) = 0;
};

/// What the library's `tg_open_device` is given.
struct DeviceOptions {
    int32_t version;     // kDeviceVersion
    const char *cache;   // folder for compiled kernels; null: none is kept
};

/// The library's one symbol. Null: `message` says why.
using OpenDevice = Device *(*)(const DeviceOptions &options, char *message, size_t room) noexcept;

/// Where this thread's new tensors go; null: to the CPU.
Device *current_device() noexcept;

}  // namespace tg
