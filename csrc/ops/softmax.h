// Softmax, and its gradient, of columns and of rows.
//
// The kernels work on columns: each lane has a softmax to itself, so that its maximum and sums are plain vector
// operations down the column, whether there are 16 keys or 1000. Rows are turned over on the way in and out.
#pragma once

#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/math.h"
#include "simd/transpose.h"

namespace levit::LEVIT_ISA {

constexpr float INFINITE = __builtin_inff();

// Each of VECS * LANES columns of x (n, stride) to exp(x - max x) / sum exp(x - max x).
template <int VECS>
inline void softmax_columns(ptrdiff_t n, float* x, ptrdiff_t stride) {
    vf highest[VECS], total[VECS];
    for (int v = 0; v < VECS; ++v) highest[v] = broadcast(-INFINITE), total[v] = zero();
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int v = 0; v < VECS; ++v) highest[v] = max(highest[v], load(x + j * stride + v * LANES));
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int v = 0; v < VECS; ++v) {
            const vf e = exp(load(x + j * stride + v * LANES) - highest[v]);
            store(x + j * stride + v * LANES, e);
            total[v] = total[v] + e;
        }
    for (int v = 0; v < VECS; ++v) total[v] = 1.0f / total[v];
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int v = 0; v < VECS; ++v) {
            float* y = x + j * stride + v * LANES;
            store(y, load(y) * total[v]);
        }
}

// dx = y (dy - sum of the column of dy y), handed over as f(row, vector of the row, dx).
template <int VECS, class F>
inline void softmax_columns_backward(ptrdiff_t n, const float* dy, const float* y, ptrdiff_t stride, F f) {
    vf shared[VECS];
    for (int v = 0; v < VECS; ++v) shared[v] = zero();
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int v = 0; v < VECS; ++v) {
            const ptrdiff_t at = j * stride + v * LANES;
            shared[v] = fma(load(dy + at), load(y + at), shared[v]);
        }
    for (ptrdiff_t j = 0; j < n; ++j)
        for (int v = 0; v < VECS; ++v) {
            const ptrdiff_t at = j * stride + v * LANES;
            f(j, v, load(y + at) * (load(dy + at) - shared[v]));
        }
}

// f(first row, rows) on all threads for groups of up to LANES of M rows
template <class F>
inline void for_each_row_group(ptrdiff_t M, F f) {
    auto task = [&](ptrdiff_t t) { f(t * LANES, static_cast<int>(smaller(LANES, M - t * LANES))); };
    parallel_for(ceil_div(M, LANES), task);
}

// columns (n, LANES) of rows (rows, n), and back
inline void rows_to_columns(int rows, ptrdiff_t n, const float* from, float* to) {
    for_each_vector(n, [&](ptrdiff_t j, int lanes) {
        transpose_square(rows, lanes, from + j, n, to + j * LANES, LANES, LANES);
    });
}
inline void columns_to_rows(int rows, ptrdiff_t n, const float* from, float* to) {
    for_each_vector(n, [&](ptrdiff_t j, int lanes) {
        transpose_square(lanes, rows, from + j * LANES, LANES, to + j, n, lanes);
    });
}

inline void softmax_forward(ptrdiff_t M, ptrdiff_t n, const float* x, float* y) {
    for_each_row_group(M, [&](ptrdiff_t i, int rows) {
        float* columns = scratch(Scratch::task, n * LANES);
        rows_to_columns(rows, n, x + i * n, columns);
        softmax_columns<1>(n, columns, LANES);
        columns_to_rows(rows, n, columns, y + i * n);
    });
}

inline void softmax_backward(ptrdiff_t M, ptrdiff_t n, const float* dy, const float* y, float* dx) {
    for_each_row_group(M, [&](ptrdiff_t i, int rows) {
        float* gradients = scratch(Scratch::task, 2 * n * LANES);
        float* probs = gradients + n * LANES;
        rows_to_columns(rows, n, dy + i * n, gradients);
        rows_to_columns(rows, n, y + i * n, probs);
        softmax_columns_backward<1>(n, gradients, probs, LANES, [&](ptrdiff_t j, int, vf d) {
            store(gradients + j * LANES, d);
        });
        columns_to_rows(rows, n, gradients, dx + i * n);
    });
}

}  // namespace levit::LEVIT_ISA
