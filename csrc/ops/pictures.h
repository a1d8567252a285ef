// Training pictures, from bytes to the numbers that the network reads.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "instruction_sets.h"

namespace levit {

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

struct PictureKernels {
    // images (B, H, W, 3) from the bytes of pictures (B, 3, H, W)
    void (*augment)(ptrdiff_t B, ptrdiff_t H, ptrdiff_t W, const uint8_t* pictures, const Augment& how, float* images);

    static const PictureKernels LEVIT_INSTRUCTION_SETS;
};

}  // namespace levit
