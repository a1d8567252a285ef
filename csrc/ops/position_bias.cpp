// The table of position biases: every pair of a query and a key reads one entry, and its gradient is added to it.
//
// The biases lie in memory as attention reads them, (heads, N_k, N_q); index is (N_q, N_k).
#include "ops/position_bias.h"

#include "runtime/scratch.h"
#include "runtime/thread_pool.h"

namespace levit::LEVIT_ISA {
namespace {

// bias[h, k, q] = table[h, index[q, k]]
void position_bias_forward(const PositionBiasSizes& s, const float* table, const int64_t* index, float* bias) {
    auto head = [&](ptrdiff_t h) {
        const float* from = table + h * s.offsets;
        float* to = bias + h * s.N_k * s.N_q;
        for (ptrdiff_t k = 0; k < s.N_k; ++k)
            for (ptrdiff_t q = 0; q < s.N_q; ++q) *to++ = from[index[q * s.N_k + k]];
    };
    parallel_for(s.heads, head);
}

// dtable[h, index[q, k]] += dbias[h, k, q], in double: hundreds of pairs meet in one entry.
void position_bias_backward(const PositionBiasSizes& s, const float* dbias, const int64_t* index, float* dtable) {
    auto head = [&](ptrdiff_t h) {
        thread_local Scratch memory;
        double* total = memory.take<double>(s.offsets);
        for (ptrdiff_t o = 0; o < s.offsets; ++o) total[o] = 0;
        const float* from = dbias + h * s.N_k * s.N_q;
        for (ptrdiff_t k = 0; k < s.N_k; ++k)
            for (ptrdiff_t q = 0; q < s.N_q; ++q) total[index[q * s.N_k + k]] += *from++;
        for (ptrdiff_t o = 0; o < s.offsets; ++o) dtable[h * s.offsets + o] = static_cast<float>(total[o]);
    };
    parallel_for(s.heads, head);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const PositionBiasKernels PositionBiasKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::position_bias_forward,
    .backward = LEVIT_ISA::position_bias_backward,
};

}  // namespace levit
