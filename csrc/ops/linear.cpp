// The linear layer: the three matrix products of training.
//
//   forward    y  (M, N) = x  (M, K) W^T     depth K: input channels
//   backward   dx (M, K) = dy (M, N) W       depth N: output channels
//              dW (N, K) = dy^T       x      depth M: tokens, thousands of them
//
// The first two have a small B, the weights, which is packed; threads share out the rows of tokens. In the third, both
// factors are as long as there are tokens, and are read where they lie, a chunk of tokens at a time.
#include "ops/linear.h"

#include "gemm/gemm.h"
#include "ops/packed_weights.h"
#include "ops/row_blocks.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {
namespace {

constexpr ptrdiff_t TASK_ROWS = 8 * MAX_ROWS;  // rows of A in a task: with K = 512, 224 KB, which L2 holds

// C (M, b.N) = activation(A (M, b.K) B + bias) on all threads: cut by rows, and by columns too where the rows are few.
void multiply_rows(ptrdiff_t M, const float* a, const PackedB& b, const float* bias, Activation activation, float* c) {
    const ptrdiff_t row_tasks = larger(1, ceil_div(M, TASK_ROWS)), panels = ceil_div(b.N, PANEL);
    const ptrdiff_t column_tasks = smaller(panels, ceil_div(tasks_wanted(), row_tasks));
    auto task = [&](ptrdiff_t t) {
        const Range rows = part_of(M, row_tasks, t / column_tasks), columns = part_of(panels, column_tasks, t % column_tasks);
        multiply(rows.size(), {b.K}, {a + rows.start * b.K, b.K}, b, {c + rows.start * b.N, b.N}, bias, activation,
                 {columns.start * PANEL, columns.end * PANEL});
    };
    parallel_for(row_tasks * column_tasks, task);
}

void linear_forward(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* x, const float* weight, const float* bias,
                    Activation activation, float* y) {
    multiply_rows(M, x, pack_transposed_weight(K, N, weight), bias, activation, y);
}

void linear_backward_x(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* weight, float* dx) {
    multiply_rows(M, dy, pack_weight(N, K, weight), nullptr, Activation::identity, dx);
}

// dW is made in pieces that the second-level cache holds: 256 tokens of x and of at most 256 channels of dy, some hundred KB,
// while the next 256 tokens are on their way.
constexpr ptrdiff_t TOKEN_CHUNK = 256, CHANNEL_BLOCK = 256;

// With `add` the sums begin with what dweight holds, so that gradients add up without a pass of their own.
void linear_backward_weight(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x, bool add,
                            float* dweight) {
    if (M == 0 && !add) return set_to_zero(N * K, dweight);
    // Every task owns a block of dW and walks through all tokens: nothing to add up between threads.
    const ptrdiff_t blocks = smaller(ceil_div(N, MAX_ROWS), larger(tasks_wanted(), ceil_div(N, CHANNEL_BLOCK)));
    auto task = [&](ptrdiff_t t) {
        const Range channels = part_of(N, blocks, t);
        for (ptrdiff_t m = 0; m < M; m += TOKEN_CHUNK) {
            const ScaledSum epilogue{.accumulate = add || m > 0};
            const float* next = x + (m + TOKEN_CHUNK) * K;
            Upcoming upcoming{next, next + TOKEN_CHUNK * K, dy + (m + TOKEN_CHUNK) * N};
            multiply_in_place<Layout::columns>(channels.size(), K, {smaller(TOKEN_CHUNK, M - m)},
                                               {dy + m * N + channels.start, N}, {x + m * K, K},
                                               {dweight + channels.start * K, K}, epilogue, {}, &upcoming);
        }
    };
    parallel_for(blocks, task);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const LinearKernels LinearKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::linear_forward,
    .backward_x = LEVIT_ISA::linear_backward_x,
    .backward_weight = LEVIT_ISA::linear_backward_weight,
    .sum_rows = LEVIT_ISA::sum_rows,
};

}  // namespace levit
