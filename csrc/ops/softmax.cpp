// Softmax of rows: a group of them at a time is transposed, and transposed back.
#include "ops/softmax.h"

#include "ops/softmax_columns.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/transpose.h"

namespace levit::LEVIT_ISA {
namespace {

// f(first row, rows) on all threads for groups of up to LANES of M rows
template <class F>
inline void for_each_row_group(ptrdiff_t M, F f) {
    auto task = [&](ptrdiff_t t) { f(t * LANES, static_cast<int>(smaller(LANES, M - t * LANES))); };
    parallel_for(ceil_div(M, LANES), task);
}

// columns (n, LANES) of rows (rows, n), and back
void rows_to_columns(int rows, ptrdiff_t n, const float* from, float* to) {
    for_each_vector(n, [&](ptrdiff_t j, int lanes) {
        transpose_square(rows, lanes, from + j, n, to + j * LANES, LANES, LANES);
    });
}
void columns_to_rows(int rows, ptrdiff_t n, const float* from, float* to) {
    for_each_vector(n, [&](ptrdiff_t j, int lanes) {
        transpose_square(lanes, rows, from + j * LANES, LANES, to + j, n, lanes);
    });
}

void softmax_forward(ptrdiff_t M, ptrdiff_t n, const float* x, float* y) {
    for_each_row_group(M, [&](ptrdiff_t i, int rows) {
        thread_local Scratch memory;
        float* columns = memory.take<float>(n * LANES);
        rows_to_columns(rows, n, x + i * n, columns);
        softmax_columns<1>(n, columns, LANES);
        columns_to_rows(rows, n, columns, y + i * n);
    });
}

void softmax_backward(ptrdiff_t M, ptrdiff_t n, const float* dy, const float* y, float* dx) {
    for_each_row_group(M, [&](ptrdiff_t i, int rows) {
        thread_local Scratch memory;
        float* gradients = memory.take<float>(2 * n * LANES);
        float* probs = gradients + n * LANES;
        rows_to_columns(rows, n, dy + i * n, gradients);
        rows_to_columns(rows, n, y + i * n, probs);
        softmax_columns_backward<1>(n, gradients, probs, LANES, [&](ptrdiff_t j, int, vf d) {
            store(gradients + j * LANES, d);
        });
        columns_to_rows(rows, n, gradients, dx + i * n);
    });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const SoftmaxKernels SoftmaxKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::softmax_forward,
    .backward = LEVIT_ISA::softmax_backward,
};

}  // namespace levit
