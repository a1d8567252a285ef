// What a training step does to the weights once the gradients are there: clipping, AdamW, the moving average.
//
// All of it is elementwise or a sum, over arrays that no cache holds: the time is that of moving them from memory and
// back. So each kernel is one pass, which reads every array once and writes once what it changes. AdamW and the average
// round in the order of levit_ref/training's NumPy code, and so come to the same bits.
#pragma once

#include "kernels.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

constexpr ptrdiff_t FLAT_BLOCK = 16384;  // values in a task: some microseconds, far above the cost of handing it out

// f(start, stop) for the blocks that cover 0 .. count, on all threads.
template <class F>
inline void for_each_block(ptrdiff_t count, F f) {
    auto task = [&](ptrdiff_t t) { f(t * FLAT_BLOCK, smaller((t + 1) * FLAT_BLOCK, count)); };
    parallel_for(ceil_div(count, FLAT_BLOCK), task);
}

// Four sums side by side: one alone would wait for its last addition at every vector.
inline float squares(ptrdiff_t count, const float* x) {
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
inline double sum_of_squares(ptrdiff_t count, const float* x) {
    const ptrdiff_t blocks = ceil_div(count, FLAT_BLOCK);
    float* partial = scratch(Scratch::packed, blocks);  // (blocks,)
    for_each_block(count, [&](ptrdiff_t start, ptrdiff_t stop) {
        partial[start / FLAT_BLOCK] = squares(stop - start, x + start);
    });
    double total = 0;
    for (ptrdiff_t t = 0; t < blocks; ++t) total += partial[t];
    return total;
}

inline void scale(ptrdiff_t count, float* x, float factor) {
    for_each_block(count, [&](ptrdiff_t start, ptrdiff_t stop) {
        for_each_vector(stop - start, [&](ptrdiff_t i, int n) { store(x + start + i, load(x + start + i, n) * factor, n); });
    });
}

// A unit's gradient is in the nearest cache when it turns out that it has to be scaled.
inline void clip_units(ptrdiff_t blocks, UnitBlock* all, float clip, float eps) {
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

// The first of the ascending edges that is above i.
inline ptrdiff_t first_above(ptrdiff_t count, const int64_t* edges, ptrdiff_t i) {
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

inline void adamw_step(ptrdiff_t count, float* params, const float* grads, float* m, float* v, ptrdiff_t edge_count,
                       const int64_t* edges, const AdamW& step) {
    for_each_block(count, [&](ptrdiff_t start, ptrdiff_t stop) {
        // From edge to edge, what is decayed and what is not take turns; an odd number of edges lies behind the former.
        ptrdiff_t e = first_above(edge_count, edges, start);
        for (ptrdiff_t from = start, to; from < stop; from = to, ++e) {
            to = e < edge_count ? smaller(edges[e], stop) : stop;
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

inline void move_average(ptrdiff_t count, float* average, const float* value, float share) {
    for_each_block(count, [&](ptrdiff_t start, ptrdiff_t stop) {
        for_each_vector(stop - start, [&](ptrdiff_t j, int n) {
            const vf old = load(average + start + j, n);
            store(average + start + j, old + (load(value + start + j, n) - old) * share, n);
        });
    });
}

}  // namespace levit::LEVIT_ISA
