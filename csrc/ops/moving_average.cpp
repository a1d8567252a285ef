// The moving average of the parameters: one pass over memory. It rounds in the order of the NumPy code, and so comes to the
// same bits.
#include "ops/moving_average.h"

#include "ops/flat.h"

namespace levit::LEVIT_ISA {
namespace {

void move_average(ptrdiff_t count, float* average, const float* value, float share) {
    for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) {
        const vf old = load(average + i, n);
        store(average + i, old + (load(value + i, n) - old) * share, n);
    });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const MovingAverageKernels MovingAverageKernels::LEVIT_ISA = {
    .move = LEVIT_ISA::move_average,
};

}  // namespace levit
