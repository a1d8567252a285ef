// Tokens (B, N, C): every second one of each axis of their map, and the mean of all.
#pragma once

#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {

inline void copy_row(ptrdiff_t C, const float* from, float* to) {
    for_each_vector(C, [&](ptrdiff_t c, int n) { store(to + c, load(from + c, n), n); });
}

// f(token of y, token of x) for the tokens that are kept of one image
template <class F>
inline void for_each_kept(const TokenMap& m, F f) {
    ptrdiff_t kept = 0;
    for (ptrdiff_t y = 0; y < m.H; y += m.stride_y)
        for (ptrdiff_t x = 0; x < m.W; x += m.stride_x) f(kept++, y * m.W + x);
}

inline ptrdiff_t tokens_kept(const TokenMap& m) { return ceil_div(m.H, m.stride_y) * ceil_div(m.W, m.stride_x); }

// y (B, tokens_kept, C) of x (B, H W, C)
inline void subsample_forward(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* x, float* y) {
    const ptrdiff_t N = map.H * map.W, kept = tokens_kept(map);
    auto image = [&](ptrdiff_t b) {
        for_each_kept(map, [&](ptrdiff_t i, ptrdiff_t n) { copy_row(C, x + (b * N + n) * C, y + (b * kept + i) * C); });
    };
    parallel_for(B, image);
}

// dx: dy where a token was kept, 0 elsewhere
inline void subsample_backward(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* dy, float* dx) {
    const ptrdiff_t N = map.H * map.W, kept = tokens_kept(map);
    auto image = [&](ptrdiff_t b) {
        for_each_vector(N * C, [&](ptrdiff_t i, int n) { store(dx + b * N * C + i, zero(), n); });
        for_each_kept(map, [&](ptrdiff_t i, ptrdiff_t n) {
            copy_row(C, dy + (b * kept + i) * C, dx + (b * N + n) * C);
        });
    };
    parallel_for(B, image);
}

// y (B, C) = mean over the tokens of x (B, N, C)
inline void average_pool_forward(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* x, float* y) {
    auto image = [&](ptrdiff_t b) {
        for_each_vector(C, [&](ptrdiff_t c, int n) {
            vf total = zero();
            for (ptrdiff_t i = 0; i < N; ++i) total = total + load(x + (b * N + i) * C + c, n);
            store(y + b * C + c, total / static_cast<float>(N), n);
        });
    };
    parallel_for(B, image);
}

// dx (B, N, C): every token gets the same share of dy (B, C)
inline void average_pool_backward(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* dy, float* dx) {
    auto image = [&](ptrdiff_t b) {
        for (ptrdiff_t i = 0; i < N; ++i)
            for_each_vector(C, [&](ptrdiff_t c, int n) {
                store(dx + (b * N + i) * C + c, load(dy + b * C + c, n) / static_cast<float>(N), n);
            });
    };
    parallel_for(B, image);
}

}  // namespace levit::LEVIT_ISA
