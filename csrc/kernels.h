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

// The scalars of an AdamW step, see levit_ref/training/optimizer.py.
struct AdamW {
    float keep;             // 1 - learning rate * decay: of the parameters that are decayed
    float one_minus_beta1;
    float beta2, one_minus_beta2;
    float root_scale;       // 1 / sqrt(1 - beta2^t)
    float eps;
    float step_size;        // learning rate / (1 - beta1^t)
};

// Output units of one parameter: rows of its values and of their gradient, to be clipped each by its norm.
struct UnitBlock {
    const float* data;  // (units, length)
    float* grad;        // (units, length), scaled in place
    ptrdiff_t units, length;
    ptrdiff_t clipped;  // result: how many were scaled
};

// What happens to each picture of a batch. A null pointer: that step is left out.
struct Augment {
    const float* values;                 // (3, 256): what a byte becomes, by channel
    const int64_t *top, *left;           // (B,), 0 .. 2 padding: the window in the padded picture
    ptrdiff_t padding;                   // on all sides, less than height and width if reflected
    bool reflect;                        // mirrored beyond the edges, or else black
    const bool* flipped;                 // (B,), left to right, after the crop
    const int64_t *box_top, *box_left;   // (B,): a square of zeros, partly or wholly outside perhaps
    ptrdiff_t box_side;
};

// A 2-D convolution of B images: what it does along the rows, h, and along the columns, w.
struct ConvAxis {
    ptrdiff_t size, kernel, stride, padding, out;  // out: the size of the result
};
struct Conv2d {
    ptrdiff_t B, C_in, C_out;
    ConvAxis h, w;
};

// Images (B, H, W, C) with any strides.
struct Images {
    const float* data;
    ptrdiff_t H, W, C;
    ptrdiff_t image, row, pixel, channel;  // strides
};

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
    // dweight (N, K) = dy (M, N)^T x (M, K); with `add` it is added to what dweight holds
    void (*linear_backward_weight)(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, const float* dy, const float* x, bool add,
                                   float* dweight);
    // y (B, H_out, W_out, C_out) = activation(sum over the kernel of x (B, H, W, C_in) times weight (C_out, kH, kW, C_in)
    // + bias (C_out,)); bias may be null.
    void (*conv2d_forward)(const Conv2d& conv, const Images& x, const float* weight, const float* bias,
                           Activation activation, float* y);
    // dx (B, H, W, C_in) of dy (B, H_out, W_out, C_out) and weight (C_out, kH, kW, C_in)
    void (*conv2d_backward_x)(const Conv2d& conv, const float* dy, const float* weight, float* dx);
    // dweight (kH, kW, C_in, C_out), channels of the result last, of dy (B, H_out, W_out, C_out) and x (B, H, W, C_in)
    void (*conv2d_backward_weight)(const Conv2d& conv, const float* dy, const Images& x, float* dweight);

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

    // Training, on flat arrays (count,), in place.
    double (*sum_of_squares)(ptrdiff_t count, const float* x);
    void (*scale)(ptrdiff_t count, float* x, float factor);
    // Adaptive clipping: a unit's gradient has at most clip times the norm of its weights, which counts as eps at least.
    void (*clip_units)(ptrdiff_t blocks, UnitBlock* all, float clip, float eps);
    // edges: where weight decay begins, ends, begins again, ...; ascending.
    void (*adamw_step)(ptrdiff_t count, float* params, const float* grads, float* m, float* v, ptrdiff_t edge_count,
                       const int64_t* edges, const AdamW& step);
    // average += share (value - average)
    void (*move_average)(ptrdiff_t count, float* average, const float* value, float share);

    // images (B, H, W, 3) from the bytes of pictures (B, 3, H, W)
    void (*augment)(ptrdiff_t B, ptrdiff_t H, ptrdiff_t W, const uint8_t* pictures, const Augment& how, float* images);

    // mean and variance (C,), divided by M, of the columns of x (M, C)
    void (*batch_norm_statistics)(ptrdiff_t M, ptrdiff_t C, const float* x, float* mean, float* variance);
    // y = activation((x - mean) inv_std weight + bias)
    void (*batch_norm_apply)(ptrdiff_t M, ptrdiff_t C, const float* x, const Normalisation& norm, Activation activation,
                             float* y);
    // dweight and dbias (C,): sums over the rows of g n and of g, with g = dy times the activation's slope and
    // n = (x - mean) inv_std.
    void (*batch_norm_backward_sums)(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                     Activation activation, float* dweight, float* dbias);
    // dx (M, C) = weight inv_std (g - mean_dbias - n mean_dweight), where the means (C,) are the sums divided by the rows that
    // they were taken over; both null: the statistics were constants, dx = weight inv_std g.
    void (*batch_norm_backward_apply)(ptrdiff_t M, ptrdiff_t C, const float* dy, const float* x, const Normalisation& norm,
                                      Activation activation, const float* mean_dweight, const float* mean_dbias,
                                      float* dx);
    // Both in one: dx (M, C), dweight and dbias (C,) of dy (M, C); in training the statistics are functions of x.
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
