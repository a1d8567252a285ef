// The AdamW step in one pass, which reads every array once and writes once those that it changes. It rounds in the order of
// the NumPy code, and so comes to the same bits.
#include "ops/adamw.h"

#include "ops/flat.h"

namespace levit::LEVIT_ISA {
namespace {

// The first of the ascending edges that is above i.
ptrdiff_t first_above(ptrdiff_t count, const int64_t* edges, ptrdiff_t i) {
    ptrdiff_t low = 0, high = count;
    while (low < high) {
        const ptrdiff_t middle = (low + high) / 2;
        if (edges[middle] > i)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void adamw_step(ptrdiff_t count, float* params, const float* grads, float* m, float* v, ptrdiff_t edge_count,
                       const int64_t* edges, const AdamWStep& step) {
    for_each_flat_block(count, [&](Range block) {
        // Edges alternate between decayed and undecayed runs: an odd number of edges precede a value that is decayed.
        ptrdiff_t e = first_above(edge_count, edges, block.start);
        for (ptrdiff_t from = block.start, to; from < block.end; from = to, ++e) {
            to = e < edge_count ? smaller(edges[e], block.end) : block.end;
            const float keep = e % 2 == 1 ? step.keep : 1;
            for_each_vector(to - from, [&](ptrdiff_t j, int n) {
                const ptrdiff_t i = from + j;
                const vf g = load(grads + i, n), m_old = load(m + i, n);
                const vf m_new = m_old + (g - m_old) * step.one_minus_beta1;
                const vf v_new = load(v + i, n) * step.beta2 + g * g * step.one_minus_beta2;
                const vf change = m_new / (sqrt(v_new) * step.root_scale + step.eps) * step.step_size;
                store(m + i, m_new, n);
                store(v + i, v_new, n);
                store(params + i, load(params + i, n) * keep - change, n);
            });
        }
    });
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const AdamWKernels AdamWKernels::LEVIT_ISA = {
    .step = LEVIT_ISA::adamw_step,
};

}  // namespace levit
