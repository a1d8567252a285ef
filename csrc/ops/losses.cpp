// The cross-entropy loss of the rows of logits (B, K). A row is read several times, but from memory only once: it stays in
// the nearest cache.
#include "ops/losses.h"

#include "ops/flat.h"
#include "simd/math.h"

namespace levit::LEVIT_ISA {
namespace {

// f(m) for all rows, on all threads.
template <class F>
inline void for_each_row(ptrdiff_t M, ptrdiff_t K, F f) {
    const ptrdiff_t rows = larger(1, FLAT_BLOCK / K);  // of a task
    auto block = [&](ptrdiff_t t) {
        for (ptrdiff_t m = t * rows, end = smaller(m + rows, M); m < end; ++m) f(m);
    };
    parallel_for(ceil_div(M, rows), block);
}

float largest_of(ptrdiff_t K, const float* x) {
    const float lowest = -__builtin_inff();
    vf top = broadcast(lowest);
    for_each_vector(K, [&](ptrdiff_t k, int n) { top = max(top, keep_first(load(x + k, n), n, lowest)); });
    return largest(top);
}

// y (K,) = e^(x - top), and the sum. With a NaN among x, or an infinite top, the sum is NaN.
float shifted_exponentials(ptrdiff_t K, const float* x, float top, float* y) {
    vf total = zero();
    for_each_vector(K, [&](ptrdiff_t k, int n) {
        const vf e = exp(load(x + k, n) - top);
        store(y + k, e, n);
        total = total + keep_first(e, n, 0);
    });
    return sum(total);
}

void cross_entropy_forward(ptrdiff_t B, ptrdiff_t K, const float* logits, const float* targets, float* losses,
                                  float* probs) {
    for_each_row(B, K, [&](ptrdiff_t b) {
        const float *from = logits + b * K, *target = targets + b * K;
        float* to = probs + b * K;
        const float top = largest_of(K, from), total = shifted_exponentials(K, from, top, to);
        const float log_total = __builtin_logf(total), scale = 1 / total;
        vf loss = zero();
        for_each_vector(K, [&](ptrdiff_t k, int n) {
            const vf log_probs = (load(from + k, n) - top) - log_total;
            loss = fnma(load(target + k, n), log_probs, loss);
            store(to + k, load(to + k, n) * scale, n);
        });
        losses[b] = sum(loss);
    });
}

void cross_entropy_backward(ptrdiff_t B, ptrdiff_t K, const float* probs, const float* targets, float scale,
                                   float* dlogits) {
    for_each_row(B, K, [&](ptrdiff_t b) {
        const float *prob = probs + b * K, *target = targets + b * K;
        float* to = dlogits + b * K;
        vf total = zero();
        for_each_vector(K, [&](ptrdiff_t k, int n) { total = total + load(target + k, n); });
        const float share = sum(total);
        for_each_vector(K, [&](ptrdiff_t k, int n) {
            store(to + k, (load(prob + k, n) * share - load(target + k, n)) * scale, n);
        });
    });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const LossKernels LossKernels::LEVIT_ISA = {
    .cross_entropy_forward = LEVIT_ISA::cross_entropy_forward,
    .cross_entropy_backward = LEVIT_ISA::cross_entropy_backward,
};

}  // namespace levit
