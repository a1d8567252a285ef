// Clipping gradients. All of it is a sum or elementwise, over arrays that no cache holds: the time is that of moving them
// from memory and back.
#include "ops/clipping.h"

#include "ops/flat.h"
#include "runtime/scratch.h"

namespace levit::LEVIT_ISA {
namespace {

// Four sums side by side: one alone would wait for its last addition at every vector.
float squares(ptrdiff_t count, const float* x) {
    vf total[4] = {zero(), zero(), zero(), zero()};
    ptrdiff_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES)
        for (int k = 0; k < 4; ++k) {
            const vf value = load(x + i + k * LANES);
            total[k] = fma(value, value, total[k]);
        }
    for_each_vector(count - i, [&](ptrdiff_t j, int n) {
        const vf value = load(x + i + j, n);
        total[0] = fma(value, value, total[0]);
    });
    return sum((total[0] + total[1]) + (total[2] + total[3]));
}

// Blocks in float32, their sums in float64 and in the order of the blocks, whichever thread had which.
double sum_of_squares(ptrdiff_t count, const float* x) {
    const ptrdiff_t blocks = ceil_div(count, FLAT_BLOCK);
    thread_local Scratch memory;
    float* partial = memory.take<float>(blocks);  // (blocks,)
    for_each_flat_block(count, [&](Range block) {
        partial[block.start / FLAT_BLOCK] = squares(block.size(), x + block.start);
    });
    double total = 0;
    for (ptrdiff_t t = 0; t < blocks; ++t) total += partial[t];
    return total;
}

void scale(ptrdiff_t count, float* x, float factor) {
    for_each_vector_in_parallel(count, [&](ptrdiff_t i, int n) { store(x + i, load(x + i, n) * factor, n); });
}

// A unit's gradient is in the nearest cache when it turns out that it has to be scaled.
void clip_units(ptrdiff_t blocks, UnitBlock* all, float clip, float eps) {
    auto task = [&](ptrdiff_t t) {
        UnitBlock& block = all[t];
        block.clipped = 0;
        for (ptrdiff_t u = 0; u < block.units; ++u) {
            const float weight_norm = __builtin_sqrtf(squares(block.length, block.data + u * block.length));
            float* grad = block.grad + u * block.length;
            const float norm = __builtin_sqrtf(squares(block.length, grad));
            const float bound = (eps > weight_norm ? eps : weight_norm) * clip;  // NaN if the weights are
            if (!(norm >= bound)) continue;
            const float factor = bound / (norm > 1e-6f ? norm : 1e-6f);
            for_each_vector(block.length, [&](ptrdiff_t i, int n) { store(grad + i, load(grad + i, n) * factor, n); });
            ++block.clipped;
        }
    };
    parallel_for(blocks, task);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const ClippingKernels ClippingKernels::LEVIT_ISA = {
    .sum_of_squares = LEVIT_ISA::sum_of_squares,
    .scale = LEVIT_ISA::scale,
    .clip_units = LEVIT_ISA::clip_units,
};

}  // namespace levit
