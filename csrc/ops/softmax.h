// Softmax of rows, and its gradient.
//
// LANES rows are worked on together, because what each row needs of all its numbers, the maximum and two sums, would
// otherwise end in moving lanes about for every row: rows of 16 keys are a single vector. Instead each row keeps a vector of
// partial results, and LANES of these are reduced at once (simd/transpose.h).
#pragma once

#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/math.h"
#include "simd/transpose.h"

namespace levit::LEVIT_ISA {

constexpr float INFINITE = __builtin_inff();

// For groups of up to LANES rows of `rows`: f(first row, number of rows).
template <class F>
inline void for_each_row_group(ptrdiff_t rows, F f) {
    for (ptrdiff_t i = 0; i < rows; i += LANES) f(i, static_cast<int>(smaller(LANES, rows - i)));
}

// The reduction by `combine` of what `partial(i)`, a vector for each of the rows 0 .. rows, holds, row by row.
template <class Partial, class Combine>
inline void reduce_each_row(int rows, Partial partial, Combine combine, float* results) {
    vf x[LANES];
    for (int i = 0; i < rows; ++i) x[i] = partial(i);
    for (int i = rows; i < LANES; ++i) x[i] = zero();
    store(results, reduce_rows(x, combine));
}

// y[i, :] = exp(x[i, :] - max x[i, :]) / sum exp(...); y may be x.
inline void softmax_rows(ptrdiff_t rows, ptrdiff_t n, const float* x, ptrdiff_t x_stride, float* y, ptrdiff_t y_stride) {
    const auto add = [](vf a, vf b) { return a + b; };
    const auto larger_of = [](vf a, vf b) { return max(a, b); };
    for_each_row_group(rows, [&](ptrdiff_t first, int group) {
        alignas(64) float largest[LANES], total[LANES];
        const float* from = x + first * x_stride;
        float* to = y + first * y_stride;
        reduce_each_row(group, [&](int i) {
            vf m = broadcast(-INFINITE);
            for_each_vector(n, [&](ptrdiff_t j, int lanes) {
                m = max(m, keep_first(load(from + i * x_stride + j, lanes), lanes, -INFINITE));
            });
            return m;
        }, larger_of, largest);
        reduce_each_row(group, [&](int i) {
            vf t = zero();
            for_each_vector(n, [&](ptrdiff_t j, int lanes) {
                const vf e = exp(load(from + i * x_stride + j, lanes) - broadcast(largest[i]));
                store(to + i * y_stride + j, e, lanes);
                t = t + keep_first(e, lanes, 0);
            });
            return t;
        }, add, total);
        store(total, 1.0f / load(total));
        for (int i = 0; i < group; ++i)
            for_each_vector(n, [&](ptrdiff_t j, int lanes) {
                float* p = to + i * y_stride + j;
                store(p, load(p, lanes) * total[i], lanes);
            });
    });
}

// dx[i, :] = y[i, :] (dy[i, :] - sum_j dy[i, j] y[i, j]), handed over as f(i, j, lanes, vector of dx[i, j ...]).
template <class F>
inline void softmax_rows_backward(ptrdiff_t rows, ptrdiff_t n, const float* dy, const float* y, ptrdiff_t stride, F f) {
    const auto add = [](vf a, vf b) { return a + b; };
    for_each_row_group(rows, [&](ptrdiff_t first, int group) {
        alignas(64) float shared[LANES];
        reduce_each_row(group, [&](int i) {
            vf t = zero();
            for_each_vector(n, [&](ptrdiff_t j, int lanes) {
                const ptrdiff_t at = (first + i) * stride + j;
                t = fma(load(dy + at, lanes), load(y + at, lanes), t);
            });
            return t;
        }, add, shared);
        for (int i = 0; i < group; ++i)
            for_each_vector(n, [&](ptrdiff_t j, int lanes) {
                const ptrdiff_t at = (first + i) * stride + j;
                f(first + i, j, lanes, load(y + at, lanes) * (load(dy + at, lanes) - shared[i]));
            });
    });
}

constexpr ptrdiff_t NUMBERS_IN_TASK = 16 * 1024;

// f(first row, number of rows) on all threads, for M rows of n numbers
template <class F>
inline void for_each_row_block(ptrdiff_t M, ptrdiff_t n, F f) {
    const ptrdiff_t rows = larger(1, NUMBERS_IN_TASK / n / LANES) * LANES;
    auto task = [&](ptrdiff_t t) { f(t * rows, smaller(rows, M - t * rows)); };
    parallel_for(ceil_div(M, rows), task);
}

inline void softmax_forward(ptrdiff_t M, ptrdiff_t n, const float* x, float* y) {
    for_each_row_block(M, n, [&](ptrdiff_t i, ptrdiff_t rows) { softmax_rows(rows, n, x + i * n, n, y + i * n, n); });
}

inline void softmax_backward(ptrdiff_t M, ptrdiff_t n, const float* dy, const float* y, float* dx) {
    for_each_row_block(M, n, [&](ptrdiff_t i, ptrdiff_t rows) {
        softmax_rows_backward(rows, n, dy + i * n, y + i * n, n, [&](ptrdiff_t r, ptrdiff_t j, int lanes, vf d) {
            store(dx + (i + r) * n + j, d, lanes);
        });
    });
}

}  // namespace levit::LEVIT_ISA
