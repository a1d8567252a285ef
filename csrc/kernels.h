// What every instruction set offers: one table of functions. The only header that kernels, dispatch and bindings share.
//
// Arrays are float32 and contiguous unless a stride says otherwise; strides count floats. Images are in the order
// (B, H, W, C), tokens (B, N, C). Nobody checks anything from here on down: bindings.cpp has.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace levit {

enum class Activation : int { identity = 0, hardswish = 1, relu = 2 };

// An array (B, heads, N, channels) anywhere in memory but that its channels are contiguous, and one to be written.
struct PerHead {
    const float* data;
    ptrdiff_t image, head, row;
};
struct PerHeadOut {
    float* data;
    ptrdiff_t image, head, row;
};

struct AttentionSizes {
    ptrdiff_t B, heads, N_q, N_k, D, E;
};

struct BiasSizes {
    ptrdiff_t heads, offsets, N_q, N_k;
};

using HeadProduct = void (*)(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                             float scale, PerHeadOut c);

// Tokens in rows and columns, of which every stride-th is kept.
struct TokenMap {
    ptrdiff_t H, W, stride_y, stride_x;
};

struct Kernels {
    const char* isa;
    int lanes;

    // y (M, N) = activation(x (M, K) weight (N, K)^T + bias (N,)); bias may be null.
    void (*linear_forward)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* x, const float* weight, const float* bias,
                           Activation activation, float* y);
    // dx (M, K) = dy (M, N) weight (N, K)
    void (*linear_backward_x)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* weight, float* dx);
    // dweight (N, K) = dy (M, N)^T x (M, K)
    void (*linear_backward_weight)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x,
                                   float* dweight);
    // context (N_q, E) of every image and head = softmax(scale q k^T + bias) v; bias (heads, N_k, N_q) may be null.
    void (*attention_forward)(const AttentionSizes& sizes, PerHead q, PerHead k, PerHead v, const float* bias,
                              float scale, PerHeadOut context);
    // Its gradients. dbias (heads, N_k, N_q) is that of a bias of zeros where bias is null.
    void (*attention_backward)(const AttentionSizes& sizes, PerHead dcontext, PerHead q, PerHead k, PerHead v,
                               const float* bias, float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv,
                               float* dbias);
    // The steps of the two by themselves. Of every image and head, c (M, N) = scale a b^T, scale a b, scale a^T b:
    HeadProduct heads_by_transposed, heads_by_plain, transposed_heads_by_plain;
    // and dbias (heads, N_q, N_k), the sum of dscores (B, heads, N_q, N_k) over the images.
    void (*attention_backward_bias)(const AttentionSizes& sizes, const float* dscores, float* dbias);
    // y (M, n) = softmax of the rows of x; dx = y (dy - sum of the row of dy y)
    void (*softmax_forward)(ptrdiff_t M, ptrdiff_t n, const float* x, float* y);
    void (*softmax_backward)(ptrdiff_t M, ptrdiff_t n, const float* dy, const float* y, float* dx);

    // bias (heads, N_k, N_q) from table (heads, offsets) by index (N_q, N_k), and back: what is added to every entry.
    void (*position_bias_forward)(const BiasSizes& sizes, const float* table, const int64_t* index, float* bias);
    void (*position_bias_backward)(const BiasSizes& sizes, const float* dbias, const int64_t* index, float* dtable);

    // y (B, tokens kept, C) of x (B, H W, C), and back; y (B, C) the mean over the N tokens of x (B, N, C), and back.
    void (*subsample_forward)(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* x, float* y);
    void (*subsample_backward)(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* dy, float* dx);
    void (*average_pool_forward)(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* x, float* y);
    void (*average_pool_backward)(ptrdiff_t B, ptrdiff_t N, ptrdiff_t C, const float* dy, float* dx);

    // sums (C,) of the rows of x (M, C)
    void (*sum_rows)(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums);
};

// One function for each instruction set that was compiled in, defined by kernels.cpp.
const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace levit
