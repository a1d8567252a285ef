// Batch normalisation of the rows of x (M, C), and the activation behind it:
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
#pragma once

#include "ops/activation.h"
#include "ops/reduce.h"

namespace levit::LEVIT_ISA {

// Blocks of rows have left their sums and their squares around their own means in partial (blocks, 2, C). The squares
// around the mean of all are those, and those of the blocks' means around it.
inline void merge_statistics(ptrdiff_t M, ptrdiff_t C, const float* partial, float* mean, float* variance) {
    const ptrdiff_t blocks = row_blocks(M);
    for (ptrdiff_t c = 0; c < C; c += RUN) {
        const ptrdiff_t n = smaller(RUN, C - c);
        double means[RUN] = {}, squares[RUN] = {};
        for (ptrdiff_t t = 0; t < blocks; ++t)
            for (ptrdiff_t i = 0; i < n; ++i) means[i] += partial[t * 2 * C + c + i];
        for (ptrdiff_t i = 0; i < n; ++i) means[i] /= static_cast<double>(M);
        for (ptrdiff_t t = 0; t < blocks; ++t) {
            const double rows = static_cast<double>(end_row(t, M) - first_row(t)), share = 1 / rows;
            const float *sum = partial + t * 2 * C + c, *square = sum + C;
            for (ptrdiff_t i = 0; i < n; ++i) {
                const double apart = sum[i] * share - means[i];
                squares[i] += square[i] + rows * apart * apart;
            }
        }
        for (ptrdiff_t i = 0; i < n; ++i) {
            mean[c + i] = static_cast<float>(means[i]);
            variance[c + i] = static_cast<float>(squares[i] / static_cast<double>(M));
        }
    }
}

// Mean and variance (divided by M) of each channel, reading x once. The mean of squares minus the square of the mean would
// lose all digits where the mean is far from zero. So every tile of a few rows, in registers, gets its own mean and its
// own sum of squares around that. Two such sets of rows, a and b, are merged by the formula of Chan et al. 1983:
//
//   squares = squares_a + squares_b + (mean_a - mean_b)^2 count_a count_b / (count_a + count_b)
inline void batch_norm_statistics(ptrdiff_t M, ptrdiff_t C, const float* x, float* mean, float* variance) {
    const ptrdiff_t blocks = row_blocks(M);
    float* partial = scratch(Scratch::packed, blocks * 2 * C);  // (blocks, 2, C): sums, and squares around their means
    auto block = [&](ptrdiff_t t) {
        float *sums = partial + t * 2 * C, *squares = sums + C;
        for_each_tile(t, M, C, [&]<int ROWS>(ptrdiff_t m, ptrdiff_t c, int n) {
            prefetch_next_tile(x, C, m, c);
            vf row[ROWS], sum = zero(), square = zero();
            for (int r = 0; r < ROWS; ++r) sum = sum + (row[r] = load(x + (m + r) * C + c, n));
            const vf tile_mean = sum * (1.0f / ROWS);
            for (int r = 0; r < ROWS; ++r) {
                const vf centred = row[r] - tile_mean;
                square = fma(centred, centred, square);
            }
            const float before = static_cast<float>(m - first_row(t));  // rows of the block above this tile
            if (before > 0) {
                const vf sum_before = load(sums + c, n), apart = sum_before * (1 / before) - tile_mean;
                square = square + fma(apart * apart, broadcast(before * ROWS / (before + ROWS)), load(squares + c, n));
                sum = sum + sum_before;
            }
            store(sums + c, sum, n);
            store(squares + c, square, n);
        });
    };
    parallel_for(blocks, block);
    merge_statistics(M, C, partial, mean, variance);
}

// n channels of the normalisation from c on. The mean is subtracted and not made a part of the bias: where it is large, the
// difference is exact, and a product of x would be rounded.
struct Channels {
    vf mean, scale, bias;
    Channels(const Normalisation& norm, const float* scales, ptrdiff_t c, int n)
        : mean(load(norm.mean + c, n)), scale(load(scales + c, n)), bias(load(norm.bias + c, n)) {}
    vf normalise(vf centred) const { return fma(centred, scale, bias); }
};

// weight inv_std (C,), in scratch memory.
inline const float* scales(ptrdiff_t C, const Normalisation& norm) {
    float* scale = scratch(Scratch::second, C);
    for (ptrdiff_t c = 0; c < C; ++c) scale[c] = norm.weight[c] * norm.inv_std[c];
    return scale;
}

// y = activation((x - mean) inv_std weight + bias)
inline void batch_norm_apply(ptrdiff_t M, ptrdiff_t C, const float* x, const Normalisation& norm, Activation activation,
                             float* y) {
    const float* scale = scales(C, norm);
    with_activation(activation, [&]<Activation KIND>() {
        auto block = [&](ptrdiff_t t) {
            for_each_vector_of_block(t, M, C, [&](ptrdiff_t i, ptrdiff_t c, int n) {
                const Channels at(norm, scale, c, n);
                store(y + i, activate(KIND, at.normalise(load(x + i, n) - at.mean)), n);
            });
        };
        parallel_for(row_blocks(M), block);
    });
}

// With g = dy times the slope of the activation at p, and n = (x - mean) inv_std:
//
//   dbias = sum_m g    dweight = sum_m g n    dx = scale (g - dbias / M - n dweight / M)
//
// Where the statistics were constants, at inference, dx = scale g.
inline void batch_norm_backward(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                Activation activation, bool training, float* dx, float* dweight, float* dbias) {
    const float* scale = scales(C, norm);
    const ptrdiff_t blocks = row_blocks(M);
    float* partial = scratch(Scratch::packed, blocks * 2 * C);  // (blocks, 2, C): sums of g, and of g (x - mean)
    float* shift = scratch(Scratch::third, 2 * C);              // (2, C): dbias / M, and inv_std dweight / M
    float* slope = shift + C;
    with_activation(activation, [&]<Activation KIND>() {
        auto add_up = [&](ptrdiff_t t) {
            float *sums = partial + t * 2 * C, *products = sums + C;
            set_to_zero(sums, 2 * C);
            for_each_tile(t, M, C, [&]<int ROWS>(ptrdiff_t m, ptrdiff_t c, int n) {
                prefetch_next_tile(x, C, m, c);
                prefetch_next_tile(dy, C, m, c);
                const Channels at(norm, scale, c, n);
                vf sum = load(sums + c, n), product = load(products + c, n);
                for (int r = 0; r < ROWS; ++r) {
                    const ptrdiff_t i = (m + r) * C + c;
                    const vf centred = load(x + i, n) - at.mean;
                    const vf g = load(dy + i, n) * activation_slope(KIND, at.normalise(centred));
                    sum = sum + g;
                    product = fma(g, centred, product);
                }
                store(sums + c, sum, n);
                store(products + c, product, n);
            });
        };
        parallel_for(blocks, add_up);
        add_blocks(blocks, C, partial, 2 * C, dbias);
        add_blocks(blocks, C, partial + C, 2 * C, dweight);
        for (ptrdiff_t c = 0; c < C; ++c) {
            dweight[c] *= norm.inv_std[c];
            shift[c] = dbias[c] / static_cast<float>(M);
            slope[c] = norm.inv_std[c] * dweight[c] / static_cast<float>(M);
        }
        auto differentiate = [&](ptrdiff_t t) {
            for_each_vector_of_block(t, M, C, [&](ptrdiff_t i, ptrdiff_t c, int n) {
                const Channels at(norm, scale, c, n);
                const vf centred = load(x + i, n) - at.mean;
                vf g = load(dy + i, n) * activation_slope(KIND, at.normalise(centred));
                if (training) g = g - fma(centred, load(slope + c, n), load(shift + c, n));
                store(dx + i, g * at.scale, n);
            });
        };
        parallel_for(blocks, differentiate);
    });
}

}  // namespace levit::LEVIT_ISA
