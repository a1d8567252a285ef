// Softmax, and its gradient, down the columns of a matrix.
//
// Each lane has a softmax to itself, so that its maximum and sums are plain vector operations down the column, whether there
// are 16 keys or 1000.
#pragma once

#include "simd/math.h"
#include "simd/vec.h"

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

}  // namespace levit::LEVIT_ISA
