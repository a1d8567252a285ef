// The residual sum, with a factor for each image: stochastic depth leaves out the branch of some.
#include "ops/residual.h"

#include "ops/flat.h"

namespace levit::LEVIT_ISA {
namespace {

void residual_forward(ptrdiff_t B, ptrdiff_t size, const float* x, const float* branch, const float* factor,
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

void residual_backward(ptrdiff_t B, ptrdiff_t size, const float* dy, const float* factor, float* dbranch) {
    auto image = [&](ptrdiff_t b) {
        const vf scale = broadcast(factor[b]);
        for_each_vector(size, [&](ptrdiff_t k, int n) {
            const ptrdiff_t i = b * size + k;
            store(dbranch + i, scale * load(dy + i, n), n);
        });
    };
    parallel_for(B, image);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const ResidualKernels ResidualKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::residual_forward,
    .backward = LEVIT_ISA::residual_backward,
};

}  // namespace levit
