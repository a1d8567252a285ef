// Attention with a bias for every pair of a query and a key.
#pragma once

#include <stddef.h>

#include "instruction_sets.h"

namespace levit {

// A strided (B, heads, N, channels) array with contiguous channels; PerHeadOut is its writable form.
struct PerHead {
    const float* data;
    ptrdiff_t image, head, row;  // strides
};
struct PerHeadOut {
    float* data;
    ptrdiff_t image, head, row;
};

struct AttentionSizes {
    ptrdiff_t B, heads, N_q, N_k, D, E;
};

using HeadProduct = void (*)(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                             float scale, PerHeadOut c);

struct AttentionKernels {
    // context (N_q, E) of every image and head = softmax(scale q k^T + bias) v; bias (heads, N_k, N_q) may be null.
    void (*forward)(const AttentionSizes& sizes, PerHead q, PerHead k, PerHead v, const float* bias, float scale,
                    PerHeadOut context);
    // Its gradients. dbias (heads, N_k, N_q) is that of a bias of zeros where bias is null.
    void (*backward)(const AttentionSizes& sizes, PerHead dcontext, PerHead q, PerHead k, PerHead v, const float* bias,
                     float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv, float* dbias);
    // The steps of the two by themselves. Of every image and head, c (M, N) = scale a b^T, scale a b, scale a^T b:
    HeadProduct heads_by_transposed, heads_by_plain, transposed_heads_by_plain;
    // and dbias (heads, N_q, N_k), the sum of dscores (B, heads, N_q, N_k) over the images.
    void (*backward_bias)(const AttentionSizes& sizes, const float* dscores, float* dbias);

    static const AttentionKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
