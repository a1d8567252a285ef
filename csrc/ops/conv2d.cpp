// 2-D convolution as matrix products, without making patches.
//
// What lies under one kernel row at one pixel of the result, kW pixels of C channels, is contiguous in an image whose
// channels are innermost. The next pixel of the result reads the same, sW pixels further on; the next kernel row reads
// it one image row further on. So a row of the result is a product whose A has a stride and whose depth has a segment
// for each kernel row (see gemm/micro_kernel.h):
//
//   y[r] (W_out, C_out) = A (W_out, kH kW C_in) weight^T        A(c, (u, v, i)) = image[r sH + u, c sW + v, i]
//
// The one copy that is made puts zeros around the image: a band of rows at a time, which the second-level cache holds.
// It takes channels from wherever they lie, so images in the order (C, H, W) are served as well.
//
//              rows of A                     depth           columns
//   forward    pixels of a row of y          kH, kW C_in     C_out
//   dx         pixels of a row of dx         taps, C_out     C_in      every second pixel at stride 2, see below
//   dweight    kW C_in of one kernel row     pixels of y     C_out
#include "ops/conv2d.h"

#include "gemm/gemm.h"
#include "ops/flat.h"
#include "ops/packed_weights.h"
#include "ops/row_blocks.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {
namespace {

// --- the padded copy -------------------------------------------------------------------------------------------------

// Neighbouring pixels to contiguous memory.
void copy_pixels(const Images& x, const float* from, ptrdiff_t pixels, float* to) {
    if (x.channel == 1 && x.pixel == x.C) return copy(pixels * x.C, from, to);
    for (ptrdiff_t c = 0; c < x.C; ++c)
        for (ptrdiff_t w = 0; w < pixels; ++w) to[w * x.C + c] = from[w * x.pixel + c * x.channel];
}

// A rectangle of image b with its corner at (h0, w0), with zeros where it lies outside the image.
void copy_padded(const Images& x, ptrdiff_t b, ptrdiff_t h0, ptrdiff_t w0, ptrdiff_t rows, ptrdiff_t columns,
                        float* to) {
    const ptrdiff_t left = smaller(larger(-w0, 0), columns);         // columns of zeros on the left,
    const ptrdiff_t end = larger(smaller(x.W - w0, columns), left);  // and from here on on the right
    for (ptrdiff_t h = h0; h < h0 + rows; ++h, to += columns * x.C) {
        if (h < 0 || h >= x.H || left == end) {
            set_to_zero(columns * x.C, to);
            continue;
        }
        set_to_zero(left * x.C, to);
        copy_pixels(x, x.data + b * x.image + h * x.row + (w0 + left) * x.pixel, end - left, to + left * x.C);
        set_to_zero((columns - end) * x.C, to + end * x.C);
    }
}

// --- cutting into bands ----------------------------------------------------------------------------------------------

constexpr ptrdiff_t BAND_FLOATS = 1 << 16;    // of the padded image in a band: 256 KB
constexpr ptrdiff_t KERNEL_FLOATS = 1 << 17;  // of the packed kernel that each row of a band is multiplied with

// Bands for this many rows, each of which needs `floats` of the padded image.
ptrdiff_t count_bands(ptrdiff_t rows, ptrdiff_t floats) { return smaller(rows, ceil_div(rows * floats, BAND_FLOATS)); }

// The same, and more where there are fewer images than threads.
ptrdiff_t count_bands_for_threads(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t floats) {
    return larger(count_bands(rows, floats), smaller(rows, ceil_div(tasks_wanted(), larger(1, B))));
}

// The rows (or columns) of the padded image that this many rows of y read.
ptrdiff_t reach(const ConvAxis& axis, ptrdiff_t rows) { return (rows - 1) * axis.stride + axis.kernel; }

// Memory of a task for its band of the padded image.
float* memory_for_band(ptrdiff_t size) {
    thread_local Scratch memory;
    return memory.take<float>(size);
}

// What a band of rows of y reads of image b.
const float* padded_band(const Conv2dSizes& sizes, const Images& x, ptrdiff_t b, Range band) {
    const ConvAxis &h = sizes.h, &w = sizes.w;
    const ptrdiff_t rows = reach(h, band.size()), columns = reach(w, w.out);
    float* padded = memory_for_band(rows * columns * x.C);
    copy_padded(x, b, band.start * h.stride - h.padding, -w.padding, rows, columns, padded);
    return padded;
}

// --- forward and dx --------------------------------------------------------------------------------------------------

// Where a map of pixels is written; they may be every second pixel of a larger map.
struct Target {
    float* data;
    ptrdiff_t row, pixel;
};

// A map of rows x columns pixels with b.N channels: a product for each row. `a` starts at the corner of a padded band;
// a.stride leads to the next pixel, a.segment to the next kernel row, next_row to what the next row of the map reads.
void correlate(ptrdiff_t rows, ptrdiff_t columns, Depth depth, const Factor& a, ptrdiff_t next_row, const PackedB& b,
               const float* bias, Activation activation, const Target& y) {
    const ptrdiff_t block = larger(KERNEL_FLOATS / (b.K + 1) / PANEL, 1) * PANEL;  // of the columns; most often all of them
    for (ptrdiff_t j = 0; j < b.N; j += block)
        for (ptrdiff_t r = 0; r < rows; ++r)
            multiply(columns, depth, {a.data + r * next_row, a.stride, a.segment}, b, {y.data + r * y.row, y.pixel}, bias,
                     activation, {j, j + block});
}

void conv2d_forward(const Conv2dSizes& sizes, const Images& x, const float* weight, const float* bias,
                    Activation activation, float* y) {
    const ConvAxis &h = sizes.h, &w = sizes.w;
    const ptrdiff_t C_in = sizes.C_in, C_out = sizes.C_out;
    const PackedB packed = pack_transposed_weight(h.kernel * w.kernel * C_in, C_out, weight);
    const ptrdiff_t pitch = reach(w, w.out) * C_in;  // of a row of the padded image
    const ptrdiff_t bands = count_bands_for_threads(sizes.B, h.out, h.stride * pitch);
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t b = t / bands;
        const Range band = part_of(h.out, bands, t % bands);
        const float* padded = padded_band(sizes, x, b, band);
        correlate(band.size(), w.out, {w.kernel * C_in, h.kernel}, {padded, w.stride * C_in, pitch}, h.stride * pitch,
                  packed, bias, activation, {y + (b * h.out + band.start) * w.out * C_out, w.out * C_out, C_out});
    };
    parallel_for(sizes.B * bands, task);
}

// The gradient of the image. Along one axis, pixel p of x met position u of the kernel for pixel q of y where
//
//   p + padding = q stride + u.
//
// Write p + padding = step stride + phase with 0 <= phase < stride. Then u = phase + m stride and q = step - m, for
// m = 0, 1, ... while u is inside the kernel. So the pixels of one phase are a convolution of dy with stride 1 and every
// stride-th value of the kernel, the last one first: at stride 2 a 3x3 kernel falls into four kernels, of 1, 2, 2 and 4
// values. Nothing is multiplied in vain and no sum is taken apart: this takes as long as the product dy weight alone, of
// which the sums over overlapping patches would still have to be made.
//
// Where dy is padded, an infinite weight times zero is NaN here; NumPy leaves those products out.
struct Phase {
    ptrdiff_t phase;
    ptrdiff_t taps;        // values of the kernel that these pixels met, maybe none
    ptrdiff_t start, end;  // the steps whose pixel is inside the image
};

Phase phase_at(const ConvAxis& axis, ptrdiff_t phase) {
    return {phase, axis.kernel > phase ? ceil_div(axis.kernel - phase, axis.stride) : 0,
            ceil_div(axis.padding - phase, axis.stride), ceil_div(axis.size + axis.padding - phase, axis.stride)};
}

// Where taps 0, 1, ..., in the order of the pixels of dy, are in the kernel.
ptrdiff_t position(const ConvAxis& axis, const Phase& p, ptrdiff_t tap) {
    return p.phase + (p.taps - 1 - tap) * axis.stride;
}

void conv2d_backward_x(const Conv2dSizes& sizes, const float* dy, const float* weight, float* dx) {
    const ConvAxis &h = sizes.h, &w = sizes.w;
    const ptrdiff_t C_in = sizes.C_in, C_out = sizes.C_out;

    // A packed kernel for each phase of the rows with each phase of the columns.
    const ptrdiff_t phases = h.stride * w.stride;
    const ptrdiff_t taps_h = ceil_div(h.kernel, h.stride), taps_w = ceil_div(w.kernel, w.stride);  // the most
    const ptrdiff_t size = packed_size(taps_h * taps_w * C_out, C_in);
    float* packed = memory_for_weights(phases * size);
    auto pack = [&](ptrdiff_t t) {
        const Phase ph = phase_at(h, t / w.stride), pw = phase_at(w, t % w.stride);
        float* to = packed + t * size;
        for (ptrdiff_t j = 0; j < C_in; j += PANEL)
            for (ptrdiff_t u = 0; u < ph.taps; ++u)
                for (ptrdiff_t v = 0; v < pw.taps; ++v) {
                    const float* tap = weight + (position(h, ph, u) * w.kernel + position(w, pw, v)) * C_in;
                    pack_panel_of_rows(C_out, C_in, j, tap, h.kernel * w.kernel * C_in, to);
                    to += C_out * panel_width(C_in, j);
                }
    };
    parallel_for(phases, pack);

    // The steps of all phases together: the last phase is the first to start, the first one the last to end.
    const ptrdiff_t h0 = phase_at(h, h.stride - 1).start, steps = phase_at(h, 0).end - h0;
    const ptrdiff_t w0 = phase_at(w, w.stride - 1).start, columns = phase_at(w, 0).end - w0 + taps_w - 1;
    const ptrdiff_t pitch = columns * C_out, bands = count_bands_for_threads(sizes.B, steps, pitch);
    const Images maps{dy, h.out, w.out, C_out, h.out * w.out * C_out, w.out * C_out, C_out, 1};
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t b = t / bands;
        const Range band = part_of(steps, bands, t % bands);
        const ptrdiff_t start = h0 + band.start, end = h0 + band.end, rows = end - start + taps_h - 1;
        float* padded = memory_for_band(rows * pitch);
        copy_padded(maps, b, start - (taps_h - 1), w0 - (taps_w - 1), rows, columns, padded);
        for (ptrdiff_t i = 0; i < phases; ++i) {
            const Phase ph = phase_at(h, i / w.stride), pw = phase_at(w, i % w.stride);
            const ptrdiff_t r0 = larger(ph.start, start), r1 = smaller(ph.end, end);
            if (r0 >= r1 || pw.start == pw.end) continue;
            const ptrdiff_t row = r0 - start + taps_h - ph.taps, column = pw.start - w0 + taps_w - pw.taps;  // of dy
            const ptrdiff_t row_x = r0 * h.stride + ph.phase - h.padding;
            const ptrdiff_t column_x = pw.start * w.stride + pw.phase - w.padding;
            correlate(r1 - r0, pw.end - pw.start, {pw.taps * C_out, ph.taps},
                      {padded + row * pitch + column * C_out, C_out, pitch}, pitch,
                      {packed + i * size, ph.taps * pw.taps * C_out, C_in}, nullptr, Activation::identity,
                      {dx + ((b * h.size + row_x) * w.size + column_x) * C_in, h.stride * w.size * C_in,
                       w.stride * C_in});
        }
    };
    parallel_for(sizes.B * bands, task);
}

// --- the gradient of the weight --------------------------------------------------------------------------------------

// dweight (kH, kW, C_in, C_out). The depth is the pixels of y, with a segment for each row of a band. The images are
// dealt out to a fixed number of parts that have a sum each, so that rounding does not depend on the number of threads;
// where there are more threads than parts, they share out the columns too.
constexpr ptrdiff_t PARTS = 8;

void conv2d_backward_weight(const Conv2dSizes& sizes, const float* dy, const Images& x, float* dweight) {
    const ConvAxis &h = sizes.h, &w = sizes.w;
    const ptrdiff_t C_in = sizes.C_in, C_out = sizes.C_out;
    const ptrdiff_t pitch = reach(w, w.out) * C_in;                        // of a row of the padded image
    const ptrdiff_t row = w.kernel * C_in * C_out, size = h.kernel * row;  // of dweight
    if (sizes.B == 0) return set_to_zero(size, dweight);
    const ptrdiff_t bands = larger(1, count_bands(h.out, h.stride * pitch)), parts = smaller(PARTS, sizes.B * bands);
    const ptrdiff_t panels = ceil_div(C_out, PANEL), blocks = smaller(panels, ceil_div(tasks_wanted(), parts));
    thread_local Scratch memory;
    float* sums = memory.take<float>(parts * size);
    auto task = [&](ptrdiff_t t) {
        const Range block = part_of(panels, blocks, t % blocks), part = part_of(sizes.B * bands, parts, t / blocks);
        float* sum = sums + t / blocks * size;
        for (ptrdiff_t i = part.start; i < part.end; ++i) {
            const ptrdiff_t b = i / bands;
            const Range band = part_of(h.out, bands, i % bands);
            const float* padded = padded_band(sizes, x, b, band);
            const float* dys = dy + (b * h.out + band.start) * w.out * C_out;
            const ScaledSum epilogue{.accumulate = i > part.start};
            for (ptrdiff_t u = 0; u < h.kernel; ++u)
                multiply_in_place<Layout::columns>(w.kernel * C_in, C_out, {w.out, band.size()},
                                                   {padded + u * pitch, w.stride * C_in, h.stride * pitch},
                                                   {dys, C_out, w.out * C_out}, {sum + u * row, C_out}, epilogue,
                                                   {block.start * PANEL, block.end * PANEL});
        }
    };
    parallel_for(parts * blocks, task);
    sum_rows(parts, size, sums, dweight);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const Conv2dKernels Conv2dKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::conv2d_forward,
    .backward_x = LEVIT_ISA::conv2d_backward_x,
    .backward_weight = LEVIT_ISA::conv2d_backward_weight,
};

}  // namespace levit
