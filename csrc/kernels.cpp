// All kernels for one instruction set. setup.py compiles this file once for each, with the compiler's flags for it and
// LEVIT_ISA set to its name.
#include "kernels.h"

#include "ops/conv.h"
#include "ops/linear.h"
#include "ops/pictures.h"
#include "ops/reduce.h"
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
        .sum_rows = sum_rows,
        .sum_of_squares = sum_of_squares,
        .scale = scale,
        .clip_units = clip_units,
        .adamw_step = adamw_step,
        .move_average = move_average,
        .augment = augment,
    };
    return table;
}

}  // namespace levit
