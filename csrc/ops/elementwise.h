// What is done to every value by itself: activations, and the residual sum.
#pragma once

#include "ops/activation.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// f(i, n) for the vectors that cover 0 .. count, on all threads.
template <class F>
inline void for_each_vector_in_parallel(ptrdiff_t count, F f) {
    constexpr ptrdiff_t BLOCK = 16384;  // values in a task: 64 KB
    auto block = [&](ptrdiff_t t) {
        const ptrdiff_t start = t * BLOCK;
        for_each_vector(smaller(BLOCK, count - start), [&](ptrdiff_t i, int n) { f(start + i, n); });
    };
    parallel_for(ceil_div(count, BLOCK), block);
}

inline void activation_forward(Activation activation, ptrdiff_t count, const float* x, float* y) {
    with_activation(activation, [&]<Activation KIND>() {
        for_each_vector_in_parallel(
            count, [&](ptrdiff_t i, int n) { store(y + i, activate(KIND, load(x + i, n)), n); });
    });
}

inline void activation_backward(Activation activation, ptrdiff_t count, const float* dy, const float* x, float* dx) {
    with_activation(activation, [&]<Activation KIND>() {
        for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) {
            store(dx + i, load(dy + i, n) * activation_slope(KIND, load(x + i, n)), n);
        });
    });
}

inline void exponential(ptrdiff_t count, const float* x, float* y) {
    for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) { store(y + i, exp(load(x + i, n)), n); });
}

// y[b] = x[b] + factor[b] branch[b] for images of `size` values; factor may be null: 1.
inline void residual_forward(ptrdiff_t B, ptrdiff_t size, const float* x, const float* branch, const float* factor,
                             float* y) {
    if (factor == nullptr) {
        for_each_vector_in_parallel(
            B * size, [&](ptrdiff_t i, int n) { store(y + i, load(x + i, n) + load(branch + i, n), n); });
        return;
    }
    auto image = [&](ptrdiff_t b) {
        const vf scale = broadcast(factor[b]);
        for_each_vector(size, [&](ptrdiff_t k, int n) {
            const ptrdiff_t i = b * size + k;
            store(y + i, fma(scale, load(branch + i, n), load(x + i, n)), n);
        });
    };
    parallel_for(B, image);
}

// dbranch[b] = factor[b] dy[b]
inline void residual_backward(ptrdiff_t B, ptrdiff_t size, const float* dy, const float* factor, float* dbranch) {
    auto image = [&](ptrdiff_t b) {
        const vf scale = broadcast(factor[b]);
        for_each_vector(size, [&](ptrdiff_t k, int n) {
            const ptrdiff_t i = b * size + k;
            store(dbranch + i, scale * load(dy + i, n), n);
        });
    };
    parallel_for(B, image);
}

}  // namespace levit::LEVIT_ISA
