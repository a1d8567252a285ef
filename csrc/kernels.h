// What every instruction set offers: one table of functions. The only header that kernels, dispatch and bindings share.
//
// Arrays are float32 and contiguous unless a stride says otherwise; strides count floats. Images are in the order
// (B, H, W, C), tokens (B, N, C). Nobody checks anything from here on down: bindings.cpp has.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace levit {

enum class Activation : int { identity, hardswish, relu, silu, gelu };

// Of C channels: (x - mean) inv_std weight + bias.
struct Normalisation {
    const float *mean, *inv_std, *weight, *bias;
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
    // sums (C,) of the rows of x (M, C)
    void (*sum_rows)(ptrdiff_t M, ptrdiff_t C, const float* x, float* sums);

    // mean and variance (C,), divided by M, of the columns of x (M, C)
    void (*batch_norm_statistics)(ptrdiff_t M, ptrdiff_t C, const float* x, float* mean, float* variance);
    // y = activation((x - mean) inv_std weight + bias)
    void (*batch_norm_apply)(ptrdiff_t M, ptrdiff_t C, const float* x, const Normalisation& norm, Activation activation,
                             float* y);
    // dx (M, C), dweight and dbias (C,) of dy (M, C); in training the statistics are functions of x.
    void (*batch_norm_backward)(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                Activation activation, bool training, float* dx, float* dweight, float* dbias);

    // y = activation(x), and dx = dy times its slope at x, for `count` values
    void (*activation_forward)(Activation activation, ptrdiff_t count, const float* x, float* y);
    void (*activation_backward)(Activation activation, ptrdiff_t count, const float* dy, const float* x, float* dx);
    // y = e^x
    void (*exponential)(ptrdiff_t count, const float* x, float* y);
    // y[b] = x[b] + factor[b] branch[b] for B images of `size` values; factor may be null: 1
    void (*residual_forward)(ptrdiff_t B, ptrdiff_t size, const float* x, const float* branch, const float* factor,
                             float* y);
    // dbranch[b] = factor[b] dy[b]
    void (*residual_backward)(ptrdiff_t B, ptrdiff_t size, const float* dy, const float* factor, float* dbranch);

    // y = softmax of the rows of x (M, K), and dx = y (dy - sum_k dy y)
    void (*softmax_forward)(ptrdiff_t M, ptrdiff_t K, const float* x, float* y);
    void (*softmax_backward)(ptrdiff_t M, ptrdiff_t K, const float* dy, const float* y, float* dx);
    // losses (B,) = - sum_k targets log(probs), probs (B, K) = softmax(logits)
    void (*cross_entropy_forward)(ptrdiff_t B, ptrdiff_t K, const float* logits, const float* targets, float* losses,
                                  float* probs);
    // dlogits = scale (probs sum_k targets - targets)
    void (*cross_entropy_backward)(ptrdiff_t B, ptrdiff_t K, const float* probs, const float* targets, float scale,
                                   float* dlogits);
};

// One function for each instruction set that was compiled in, defined by kernels.cpp.
const Kernels& kernels_baseline();
const Kernels& kernels_avx2();
const Kernels& kernels_avx512();

}  // namespace levit
