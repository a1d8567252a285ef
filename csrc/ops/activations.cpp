// Activations of every value by itself: one pass over memory. Their formulas are in simd/activation.h.
#include "ops/activations.h"

#include "ops/flat.h"
#include "simd/activation.h"

namespace levit::LEVIT_ISA {
namespace {

void activation_forward(Activation activation, ptrdiff_t count, const float* x, float* y) {
    with_activation(activation, [&]<Activation KIND>() {
        for_each_vector_in_parallel(
            count, [&](ptrdiff_t i, int n) { store(y + i, activate<KIND>(load(x + i, n)), n); });
    });
}

void activation_backward(Activation activation, ptrdiff_t count, const float* dy, const float* x, float* dx) {
    with_activation(activation, [&]<Activation KIND>() {
        for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) {
            store(dx + i, load(dy + i, n) * activation_slope<KIND>(load(x + i, n)), n);
        });
    });
}

void exponential(ptrdiff_t count, const float* x, float* y) {
    for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) { store(y + i, exp(load(x + i, n)), n); });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const ActivationKernels ActivationKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::activation_forward,
    .backward = LEVIT_ISA::activation_backward,
    .exponential = LEVIT_ISA::exponential,
};

}  // namespace levit
