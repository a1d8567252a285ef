// Training pictures: a window of each, mirrored or not, its bytes turned into the numbers that the network reads.
//
// One pass from bytes in planes, (B, 3, H, W), to floats with the channels innermost, (B, H, W, 3), as the first
// convolution reads them. A byte has 256 values, so normalising is looking them up. All in the calling thread: batches
// are made beside the step, by a thread of the loader, which would only take the team away from it.
#include "ops/pictures.h"

#include "runtime/scratch.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {
namespace {

// Where row or column i of a padded picture lies in the picture itself: mirrored beyond its edges, or -1, black.
ptrdiff_t unpadded(ptrdiff_t i, ptrdiff_t size, const Augment& how) {
    i -= how.padding;
    if (i >= 0 && i < size) return i;
    if (!how.reflect) return -1;
    return i < 0 ? -i : 2 * (size - 1) - i;
}

// A square of zeros, as much of it as lies inside the image.
void clear_box(ptrdiff_t H, ptrdiff_t W, ptrdiff_t top, ptrdiff_t left, ptrdiff_t side, float* image) {
    for (ptrdiff_t y = larger(top, 0); y < smaller(top + side, H); ++y)
        for (ptrdiff_t x = larger(left, 0); x < smaller(left + side, W); ++x)
            for (int c = 0; c < 3; ++c) image[(y * W + x) * 3 + c] = 0;
}

void augment(ptrdiff_t B, ptrdiff_t H, ptrdiff_t W, const uint8_t* pictures, const Augment& how, float* images) {
    const float *red = how.values, *green = red + 256, *blue = green + 256;
    thread_local Scratch memory;
    ptrdiff_t* columns = memory.take<ptrdiff_t>(W);  // of the picture, for each column of the image
    for (ptrdiff_t b = 0; b < B; ++b) {
        const uint8_t* picture = pictures + b * 3 * H * W;
        float* image = images + b * H * W * 3;
        const ptrdiff_t top = how.top ? how.top[b] : how.padding, left = how.left ? how.left[b] : how.padding;
        const bool flipped = how.flipped && how.flipped[b];
        for (ptrdiff_t x = 0; x < W; ++x) columns[x] = unpadded(left + (flipped ? W - 1 - x : x), W, how);
        for (ptrdiff_t y = 0; y < H; ++y) {
            const ptrdiff_t row = unpadded(top + y, H, how);
            const uint8_t* pixel = picture + larger(row, 0) * W;
            float* to = image + y * W * 3;
            for (ptrdiff_t x = 0; x < W; ++x, to += 3) {
                const ptrdiff_t column = columns[x];
                const bool black = row < 0 || column < 0;
                to[0] = red[black ? 0 : pixel[column]];
                to[1] = green[black ? 0 : pixel[H * W + column]];
                to[2] = blue[black ? 0 : pixel[2 * H * W + column]];
            }
        }
        if (how.box_top) clear_box(H, W, how.box_top[b], how.box_left[b], how.box_side, image);
    }
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const PictureKernels PictureKernels::LEVIT_ISA = {
    .augment = LEVIT_ISA::augment,
};

}  // namespace levit
