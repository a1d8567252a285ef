// All kernels for one instruction set. setup.py compiles this file once for each, with the compiler's flags for it and
// LEVIT_ISA set to its name.
#include "kernels.h"

#include "ops/attention_steps.h"
#include "ops/batch_norm.h"
#include "ops/conv.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/losses.h"
#include "ops/pictures.h"
#include "ops/position_bias.h"
#include "ops/reduce.h"
#include "ops/softmax.h"
#include "ops/tokens.h"
#include "ops/training.h"

namespace levit {

#define LEVIT_CONCAT(a, b) a##b
#define LEVIT_NAME(prefix, isa) LEVIT_CONCAT(prefix, isa)
#define LEVIT_STRING(text) #text
#define LEVIT_ISA_STRING(isa) LEVIT_STRING(isa)

const Kernels& LEVIT_NAME(kernels_, LEVIT_ISA)() {
    using namespace LEVIT_ISA;
    static const Kernels table = {
        .isa = LEVIT_ISA_STRING(LEVIT_ISA),
        .lanes = LANES,
        .linear_forward = linear_forward,
        .linear_backward_x = linear_backward_x,
        .linear_backward_weight = linear_backward_weight,
        .conv2d_forward = conv2d_forward,
        .conv2d_backward_x = conv2d_backward_x,
        .conv2d_backward_weight = conv2d_backward_weight,
        .attention_forward = attention_forward,
        .attention_backward = attention_backward,
        .heads_by_transposed = heads_by_transposed,
        .heads_by_plain = heads_by_plain,
        .transposed_heads_by_plain = transposed_heads_by_plain,
        .attention_backward_bias = attention_backward_bias,
        .softmax_forward = softmax_forward,
        .softmax_backward = softmax_backward,
        .position_bias_forward = position_bias_forward,
        .position_bias_backward = position_bias_backward,
        .subsample_forward = subsample_forward,
        .subsample_backward = subsample_backward,
        .average_pool_forward = average_pool_forward,
        .average_pool_backward = average_pool_backward,
        .sum_rows = sum_rows,
        .sum_of_squares = sum_of_squares,
        .scale = scale,
        .clip_units = clip_units,
        .adamw_step = adamw_step,
        .move_average = move_average,
        .augment = augment,
        .batch_norm_statistics = batch_norm_statistics,
        .batch_norm_apply = batch_norm_apply,
        .batch_norm_backward_sums = batch_norm_backward_sums,
        .batch_norm_backward_apply = batch_norm_backward_apply,
        .batch_norm_backward = batch_norm_backward,
        .activation_forward = activation_forward,
        .activation_backward = activation_backward,
        .exponential = exponential,
        .residual_forward = residual_forward,
        .residual_backward = residual_backward,
        .cross_entropy_forward = cross_entropy_forward,
        .cross_entropy_backward = cross_entropy_backward,
    };
    return table;
}

}  // namespace levit
