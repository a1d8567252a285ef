// The mean of all tokens (B, N, C).
#include "ops/pooling.h"

#include "runtime/thread_pool.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {
namespace {

void average_pool_forward(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* x, float* y) {
    auto image = [&](ptrdiff_t b) {
        for_each_vector(C, [&](ptrdiff_t c, int n) {
            vf total = zero();
            for (ptrdiff_t i = 0; i < N; ++i) total = total + load(x + (b * N + i) * C + c, n);
            store(y + b * C + c, total / static_cast<float>(N), n);
        });
    };
    parallel_for(B, image);
}

void average_pool_backward(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* dy, float* dx) {
    auto image = [&](ptrdiff_t b) {
        for (ptrdiff_t i = 0; i < N; ++i)
            for_each_vector(C, [&](ptrdiff_t c, int n) {
                store(dx + (b * N + i) * C + c, load(dy + b * C + c, n) / static_cast<float>(N), n);
            });
    };
    parallel_for(B, image);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const PoolingKernels PoolingKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::average_pool_forward,
    .backward = LEVIT_ISA::average_pool_backward,
};

}  // namespace levit
