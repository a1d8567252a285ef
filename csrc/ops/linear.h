// The linear layer: the three matrix products of training.
//
//   forward    y  (M, N) = x  (M, K) W^T     depth K: input channels
//   backward   dx (M, K) = dy (M, N) W       depth N: output channels
//              dW (N, K) = dy^T       x      depth M: tokens, thousands of them
//
// The first two have a small B, the weights, which is packed; threads share out the rows of tokens. In the third, both
// factors are as long as there are tokens, and are read where they lie, a chunk of tokens at a time.
#pragma once

#include "gemm/gemm.h"
#include "simd/blocks.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"

namespace levit::LEVIT_ISA {

constexpr ptrdiff_t ROW_BLOCK = 8 * MAX_ROWS;  // rows of A in a task: with K = 512, 224 KB, which L2 holds
constexpr ptrdiff_t TASKS_PER_THREAD = 4;      // so that a thread that was held up leaves its work to others

// C (M, N) = A B with a packed B, on all threads: cut by rows, and by columns too where the rows are few.
inline void multiply_rows(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* a, const float* packed, float* c,
                          const Epilogue& epilogue) {
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    const ptrdiff_t row_blocks = ceil_div(M, ROW_BLOCK), panels = ceil_div(N, PANEL);
    const ptrdiff_t column_blocks = smaller(panels, ceil_div(wanted, row_blocks));
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t r = t / column_blocks, q = t % column_blocks;
        const ptrdiff_t i0 = M * r / row_blocks, i1 = M * (r + 1) / row_blocks;
        const ptrdiff_t j0 = panels * q / column_blocks * PANEL, j1 = panels * (q + 1) / column_blocks * PANEL;
        multiply<Layout::rows, Panels::packed>(i1 - i0, N, {K}, {a + i0 * K, K, 0}, {packed, 0, 0}, c + i0 * N, N,
                                               epilogue, j0, j1);
    };
    parallel_for(row_blocks * column_blocks, task);
}

inline void linear_forward(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* x, const float* weight,
                           const float* bias, Activation activation, float* y) {
    float* packed = scratch(Scratch::packed, packed_size(K, N));
    auto pack = [&](ptrdiff_t p) { pack_panel_of_columns(K, N, p * PANEL, weight, K, packed + K * p * PANEL); };
    parallel_for(ceil_div(N, PANEL), pack);
    Epilogue epilogue;
    epilogue.bias = bias;
    epilogue.activation = activation;
    multiply_rows(M, N, K, x, packed, y, epilogue);
}

inline void linear_backward_x(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* weight, float* dx) {
    float* packed = scratch(Scratch::packed, packed_size(N, K));
    auto pack = [&](ptrdiff_t p) { pack_panel_of_rows(N, K, p * PANEL, weight, K, packed + N * p * PANEL); };
    parallel_for(ceil_div(K, PANEL), pack);
    multiply_rows(M, K, N, dy, packed, dx, {});
}

// dW is made in pieces that the second-level cache holds: 256 tokens of x and of at most 256 channels of dy, some hundred KB,
// while the next 256 tokens are on their way.
constexpr ptrdiff_t TOKEN_CHUNK = 256, CHANNEL_BLOCK = 256;

// With `add` the sums begin with what dweight holds, so that gradients add up without a pass of their own.
inline void linear_backward_weight(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x, bool add,
                                   float* dweight) {
    // Every task owns a block of dW and walks through all tokens: nothing to add up between threads.
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    const ptrdiff_t blocks = smaller(ceil_div(N, MAX_ROWS), larger(wanted, ceil_div(N, CHANNEL_BLOCK)));
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t i0 = N * t / blocks, i1 = N * (t + 1) / blocks;
        for (ptrdiff_t m = 0; m < M; m += TOKEN_CHUNK) {
            Epilogue epilogue;
            epilogue.accumulate = add || m > 0;
            const float* next = x + (m + TOKEN_CHUNK) * K;
            Upcoming upcoming{next, next + TOKEN_CHUNK * K, dy + (m + TOKEN_CHUNK) * N};
            multiply<Layout::columns, Panels::in_place>(i1 - i0, K, {smaller(TOKEN_CHUNK, M - m)},
                                                        {dy + m * N + i0, N, 0}, {x + m * K, K, 0}, dweight + i0 * K, K,
                                                        epilogue, 0, K, &upcoming);
        }
    };
    parallel_for(blocks, task);
}

}  // namespace levit::LEVIT_ISA
