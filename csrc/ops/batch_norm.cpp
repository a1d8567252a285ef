// Batch normalisation of the rows of x (M, C), and an activation after it:
//
//   y = activation(p),   p = (x - mean) scale + bias,   scale = weight inv_std
//
// There is little to compute: what counts is how often memory is read and written, for arrays that no cache holds.
//
//   forward    statistics (in training)   reads x
//              y                          reads x, writes y
//   backward   two sums                   reads x and dy
//              dx                         reads x and dy, writes dx
//
// The backward pass needs p for the activation's slope, and computes it again from x rather than having kept it.
#include "ops/batch_norm.h"

#include "ops/row_blocks.h"
#include "simd/activation.h"

namespace levit::LEVIT_ISA {
namespace {

// partial (blocks, 3, C) has a shift k, the sum of x - k, and the sum of (x - k)^2 of each block of rows. With d = k - mean,
// the block's sum of (x - mean)^2 is
//
//   sum (x - k)^2 + 2 d sum (x - k) + rows d^2
void merge_statistics(ptrdiff_t M, ptrdiff_t C, const float* partial, float* mean, float* variance) {
    const ptrdiff_t blocks = count_row_blocks(M);
    for_each_run(C, [&](ptrdiff_t c, ptrdiff_t n) {
        double means[RUN] = {}, squares[RUN] = {};
        for (ptrdiff_t t = 0; t < blocks; ++t) {
            const double rows = static_cast<double>(end_row(t, M) - first_row(t));
            const float *shift = partial + t * 3 * C + c, *sum = shift + C;
            for (ptrdiff_t i = 0; i < n; ++i) means[i] += rows * shift[i] + sum[i];
        }
        for (ptrdiff_t i = 0; i < n; ++i) means[i] /= static_cast<double>(M);
        for (ptrdiff_t t = 0; t < blocks; ++t) {
            const double rows = static_cast<double>(end_row(t, M) - first_row(t));
            const float *shift = partial + t * 3 * C + c, *sum = shift + C, *square = sum + C;
            for (ptrdiff_t i = 0; i < n; ++i) {
                const double d = shift[i] - means[i];
                squares[i] += square[i] + d * (2.0 * sum[i] + rows * d);
            }
        }
        for (ptrdiff_t i = 0; i < n; ++i) {
            mean[c + i] = static_cast<float>(means[i]);
            variance[c + i] = static_cast<float>(squares[i] / static_cast<double>(M));
        }
    });
}

// Mean and variance (divided by M) of each channel, reading x once. The mean of squares minus the square of the mean would
// lose all digits where the mean is far from zero. So each block of rows is shifted by its first row, which is as close to
// its mean as any of its rows; that makes the differences exact, and small.
void batch_norm_statistics(ptrdiff_t M, ptrdiff_t C, const float* x, float* mean, float* variance) {
    const ptrdiff_t blocks = count_row_blocks(M);
    thread_local Scratch memory;
    float* partial = memory.take<float>(blocks * 3 * C);  // (blocks, 3, C)
    auto block = [&](ptrdiff_t t) {
        float *shifts = partial + t * 3 * C, *sums = shifts + C, *squares = sums + C;
        for (ptrdiff_t c = 0; c < C; ++c) {
            const float first = x[first_row(t) * C + c];
            shifts[c] = first - first == 0 ? first : 0;  // an infinite one would make NaN of the mean, which is infinite
        }
        set_to_zero(2 * C, sums);
        for_each_tile(t, M, C, [&]<int ROWS>(ptrdiff_t m, ptrdiff_t c, int n) {
            prefetch_next_tile(x, C, m, c);
            const vf shift = load(shifts + c, n);
            vf sum = zero(), square = zero();
            for (int r = 0; r < ROWS; ++r) {
                const vf shifted = load(x + (m + r) * C + c, n) - shift;
                sum = sum + shifted;
                square = fma(shifted, shifted, square);
            }
            store(sums + c, load(sums + c, n) + sum, n);
            store(squares + c, load(squares + c, n) + square, n);
        });
    };
    parallel_for(blocks, block);
    merge_statistics(M, C, partial, mean, variance);
}

// n channels of the normalisation from c on. The mean is subtracted and not made a part of the bias: where it is large, the
// difference is exact, and a product of x would be rounded.
struct Channels {
    vf mean, scale, bias;
    Channels(const Normalisation& norm, const float* scale, ptrdiff_t c, int n)
        : mean(load(norm.mean + c, n)), scale(load(scale + c, n)), bias(load(norm.bias + c, n)) {}
    vf normalise(vf centred) const { return fma(centred, scale, bias); }
};

// weight inv_std (C,), in scratch memory.
const float* scale_of(ptrdiff_t C, const Normalisation& norm) {
    thread_local Scratch memory;
    float* scale = memory.take<float>(C);
    for (ptrdiff_t c = 0; c < C; ++c) scale[c] = norm.weight[c] * norm.inv_std[c];
    return scale;
}

// y = activation((x - mean) inv_std weight + bias)
void batch_norm_apply(ptrdiff_t M, ptrdiff_t C, const float* x, const Normalisation& norm, Activation activation,
                             float* y) {
    const float* scale = scale_of(C, norm);
    with_activation(activation, [&]<Activation KIND>() {
        auto block = [&](ptrdiff_t t) {
            for_each_vector_of_block(t, M, C, [&](ptrdiff_t i, ptrdiff_t c, int n) {
                const Channels at(norm, scale, c, n);
                store(y + i, activate<KIND>(at.normalise(load(x + i, n) - at.mean)), n);
            });
        };
        parallel_for(count_row_blocks(M), block);
    });
}

// With g = dy times the slope of the activation at p, and n = (x - mean) inv_std:
//
//   dbias = sum_m g    dweight = sum_m g n
void batch_norm_backward_sums(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                     Activation activation, float* dweight, float* dbias) {
    const float* scale = scale_of(C, norm);
    const ptrdiff_t blocks = count_row_blocks(M);
    thread_local Scratch memory;
    float* partial = memory.take<float>(blocks * 2 * C);  // (blocks, 2, C): sums of g, and of g (x - mean)
    with_activation(activation, [&]<Activation KIND>() {
        auto add_up = [&](ptrdiff_t t) {
            float *sums = partial + t * 2 * C, *products = sums + C;
            set_to_zero(2 * C, sums);
            for_each_tile(t, M, C, [&]<int ROWS>(ptrdiff_t m, ptrdiff_t c, int n) {
                prefetch_next_tile(x, C, m, c);
                prefetch_next_tile(dy, C, m, c);
                const Channels at(norm, scale, c, n);
                vf sum = load(sums + c, n), product = load(products + c, n);
                for (int r = 0; r < ROWS; ++r) {
                    const ptrdiff_t i = (m + r) * C + c;
                    const vf centred = load(x + i, n) - at.mean;
                    const vf g = load(dy + i, n) * activation_slope<KIND>(at.normalise(centred));
                    sum = sum + g;
                    product = fma(g, centred, product);
                }
                store(sums + c, sum, n);
                store(products + c, product, n);
            });
        };
        parallel_for(blocks, add_up);
    });
    add_blocks(blocks, C, partial, 2 * C, dbias);
    add_blocks(blocks, C, partial + C, 2 * C, dweight);
    for (ptrdiff_t c = 0; c < C; ++c) dweight[c] *= norm.inv_std[c];
}

//   dx = scale (g - mean_m g - n mean_m (g n))
//
// The means are given, since they may be those of the rows of several processes. Where the statistics were constants, at
// inference, there are none: dx = scale g.
void batch_norm_backward_apply(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                      Activation activation, const float* mean_dweight, const float* mean_dbias,
                                      float* dx) {
    const float* scale = scale_of(C, norm);
    const bool training = mean_dweight != nullptr;
    thread_local Scratch memory;
    float* slope = memory.take<float>(C);  // inv_std mean_dweight, by which dx falls with x - mean
    for (ptrdiff_t c = 0; training && c < C; ++c) slope[c] = norm.inv_std[c] * mean_dweight[c];
    with_activation(activation, [&]<Activation KIND>() {
        auto block = [&](ptrdiff_t t) {
            for_each_vector_of_block(t, M, C, [&](ptrdiff_t i, ptrdiff_t c, int n) {
                const Channels at(norm, scale, c, n);
                const vf centred = load(x + i, n) - at.mean;
                vf g = load(dy + i, n) * activation_slope<KIND>(at.normalise(centred));
                if (training) g = g - fma(centred, load(slope + c, n), load(mean_dbias + c, n));
                store(dx + i, g * at.scale, n);
            });
        };
        parallel_for(count_row_blocks(M), block);
    });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const BatchNormKernels BatchNormKernels::LEVIT_ISA = {
    .statistics = LEVIT_ISA::batch_norm_statistics,
    .apply = LEVIT_ISA::batch_norm_apply,
    .backward_sums = LEVIT_ISA::batch_norm_backward_sums,
    .backward_apply = LEVIT_ISA::batch_norm_backward_apply,
};

}  // namespace levit
