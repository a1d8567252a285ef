// 2-D convolution as matrix products, without copying a single patch.
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
//              rows of A                   depth            columns
//   forward    pixels of a row of y        kH, kW C_in      C_out
//   dx         pixels of a row of dx       taps, C_out      C_in       stride 2: four sorts of pixels, see below
//   dweight    kW C_in of a kernel row     pixels of y      C_out
#pragma once

#include "gemm/gemm.h"
#include "ops/linear.h"
#include "ops/reduce.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {

// --- the padded copy --------------------------------------------------------------------------------------------------

inline Images contiguous(const float* data, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C) {
    return {data, H * W * C, W * C, C, 1};
}

// One image of them, with its size.
struct Image {
    Images in;
    ptrdiff_t H, W, C;
};

inline Image image_at(const Images& x, ptrdiff_t b, ptrdiff_t H, ptrdiff_t W, ptrdiff_t C) {
    Image image{x, H, W, C};
    image.in.data += b * x.image;
    return image;
}

inline void fill_zeros(ptrdiff_t count, float* to) {
    for_each_vector(count, [&](ptrdiff_t i, int n) { store(to + i, zero(), n); });
}

// Neighbouring pixels to contiguous memory.
inline void copy_pixels(const Images& in, ptrdiff_t C, const float* from, ptrdiff_t pixels, float* to) {
    if (in.channel == 1 && in.pixel == C) {
        for_each_vector(pixels * C, [&](ptrdiff_t i, int n) { store(to + i, load(from + i, n), n); });
        return;
    }
    for (ptrdiff_t c = 0; c < C; ++c)
        for (ptrdiff_t w = 0; w < pixels; ++w) to[w * C + c] = from[w * in.pixel + c * in.channel];
}

// A rectangle of an image with its corner at (h0, w0), which may lie outside: zeros stand for what the image has not.
inline void copy_padded(const Image& image, ptrdiff_t h0, ptrdiff_t w0, ptrdiff_t rows, ptrdiff_t columns, float* to) {
    const auto& [in, H, W, C] = image;
    const ptrdiff_t left = smaller(larger(-w0, 0), columns);            // columns of zeros on the left,
    const ptrdiff_t end = larger(smaller(W - w0, columns), left);       // and from here on on the right
    for (ptrdiff_t h = h0; h < h0 + rows; ++h, to += columns * C) {
        if (h < 0 || h >= H) {
            fill_zeros(columns * C, to);
            continue;
        }
        fill_zeros(left * C, to);
        copy_pixels(in, C, in.data + h * in.row + (w0 + left) * in.pixel, end - left, to + left * C);
        fill_zeros((columns - end) * C, to + end * C);
    }
}

// --- cutting into bands -----------------------------------------------------------------------------------------------

constexpr ptrdiff_t BAND = 1 << 16;  // floats that a band of the padded image may have: 256 KB

struct Band {
    ptrdiff_t start, end;
};

inline Band band_at(ptrdiff_t rows, ptrdiff_t bands, ptrdiff_t i) { return {rows * i / bands, rows * (i + 1) / bands}; }

// Bands for so many rows, each of which needs `floats` of the padded image.
inline ptrdiff_t count_bands(ptrdiff_t rows, ptrdiff_t floats) { return smaller(rows, ceil_div(rows * floats, BAND)); }

// The same, and more where there are fewer images than threads.
inline ptrdiff_t count_bands_for_threads(ptrdiff_t B, ptrdiff_t rows, ptrdiff_t floats) {
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    return larger(count_bands(rows, floats), smaller(rows, ceil_div(wanted, B)));
}

// --- forward and dx ---------------------------------------------------------------------------------------------------

// Where a map of pixels is written; its pixels may be every second one of a larger map.
struct Target {
    float* data;
    ptrdiff_t row, pixel;
};

// A map of rows x columns pixels with N channels: a product for each row. `a` starts at the corner of a padded band;
// a.stride leads to the next pixel, a.segment to the next kernel row, next_row to what the next row of the map reads.
inline void correlate(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t N, Depth depth, Factor a, ptrdiff_t next_row,
                      const float* packed, Target y) {
    for (ptrdiff_t j = 0; j < N; j += PANEL)  // the outer loop: all rows of the band read the same panel
        for (ptrdiff_t r = 0; r < rows; ++r)
            multiply<Layout::rows, Panels::packed>(columns, N, depth, {a.data + r * next_row, a.stride, a.segment},
                                                   {packed, 0, 0}, y.data + r * y.row, y.pixel, {}, j, j + PANEL);
}

inline void conv2d_forward(const Conv2d& conv, const Images& x, const float* weight, float* y) {
    const auto& [B, C_in, C_out, h, w] = conv;
    const ptrdiff_t K = h.kernel * w.kernel * C_in;
    float* packed = scratch(Scratch::packed, packed_size(K, C_out));
    auto pack = [&](ptrdiff_t p) { pack_panel_of_columns(K, C_out, p * PANEL, weight, K, packed + K * p * PANEL); };
    parallel_for(ceil_div(C_out, PANEL), pack);

    const ptrdiff_t columns = (w.out - 1) * w.stride + w.kernel, pitch = columns * C_in;  // of the padded image
    const ptrdiff_t bands = count_bands_for_threads(B, h.out, h.stride * pitch);
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t b = t / bands;
        const Band band = band_at(h.out, bands, t % bands);
        const ptrdiff_t rows = (band.end - band.start - 1) * h.stride + h.kernel;
        float* padded = scratch(Scratch::task, rows * pitch);
        copy_padded(image_at(x, b, h.size, w.size, C_in), band.start * h.stride - h.padding, -w.padding, rows, columns,
                    padded);
        correlate(band.end - band.start, w.out, C_out, {w.kernel * C_in, h.kernel},
                  {padded, w.stride * C_in, pitch}, h.stride * pitch, packed,
                  {y + (b * h.out + band.start) * w.out * C_out, w.out * C_out, C_out});
    };
    parallel_for(B * bands, task);
}

// The gradient of the image. Along one axis, pixel p of x was read at kernel position u for pixel q of y where
//
//   p + padding = q stride + u.
//
// Write p + padding = step stride + phase with 0 <= phase < stride. Then u = phase + m stride and q = step - m, for
// m = 0, 1, ... while u is inside the kernel. So the pixels of one phase are a convolution of stride 1 of dy, with every
// stride-th value of the kernel, last one first: at stride 2 and with a 3x3 kernel there are four of them, of 1, 2, 2 and
// 4 values. No product is wasted, and no sum is ever taken apart and put together again.
struct Phase {
    ptrdiff_t phase;
    ptrdiff_t taps;        // values of the kernel that meet these pixels, maybe none
    ptrdiff_t start, end;  // steps whose pixel is inside the image
};

inline Phase phase_at(const ConvAxis& axis, ptrdiff_t phase) {
    return {phase, axis.kernel > phase ? ceil_div(axis.kernel - phase, axis.stride) : 0,
            ceil_div(axis.padding - phase, axis.stride), ceil_div(axis.size + axis.padding - phase, axis.stride)};
}

// The position in the kernel of tap 0, 1, ..., in the order in which they lie along dy.
inline ptrdiff_t tap_position(const ConvAxis& axis, const Phase& phase, ptrdiff_t tap) {
    return phase.phase + (phase.taps - 1 - tap) * axis.stride;
}

inline void conv2d_backward_x(const Conv2d& conv, const float* dy, const float* weight, float* dx) {
    const auto& [B, C_in, C_out, h, w] = conv;
    // A packed kernel for each pair of phases.
    const ptrdiff_t most_h = ceil_div(h.kernel, h.stride), most_w = ceil_div(w.kernel, w.stride);  // taps
    const ptrdiff_t phases = h.stride * w.stride, size = packed_size(most_h * most_w * C_out, C_in);
    float* packed = scratch(Scratch::packed, phases * size);
    auto pack = [&](ptrdiff_t t) {
        const Phase ph = phase_at(h, t / w.stride), pw = phase_at(w, t % w.stride);
        float* to = packed + t * size;
        for (ptrdiff_t j = 0; j < C_in; j += PANEL)
            for (ptrdiff_t u = 0; u < ph.taps; ++u)
                for (ptrdiff_t v = 0; v < pw.taps; ++v) {
                    const float* tap = weight + (tap_position(h, ph, u) * w.kernel + tap_position(w, pw, v)) * C_in;
                    pack_panel_of_rows(C_out, C_in, j, tap, h.kernel * w.kernel * C_in, to);
                    to += C_out * panel_width(C_in, j);
                }
    };
    parallel_for(phases, pack);

    // All steps of any phase: the last one starts first, the first one ends last. A band is some of them.
    const ptrdiff_t h0 = phase_at(h, h.stride - 1).start, steps = phase_at(h, 0).end - h0;
    const ptrdiff_t w0 = phase_at(w, w.stride - 1).start, columns = phase_at(w, 0).end - w0 + most_w - 1;
    const ptrdiff_t pitch = columns * C_out;
    const ptrdiff_t bands = count_bands_for_threads(B, steps, pitch);
    const Images images = contiguous(dy, h.out, w.out, C_out);
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t b = t / bands;
        const Band band = band_at(steps, bands, t % bands);
        const ptrdiff_t start = h0 + band.start, end = h0 + band.end, rows = end - start + most_h - 1;
        float* padded = scratch(Scratch::task, rows * pitch);
        copy_padded(image_at(images, b, h.out, w.out, C_out), start - (most_h - 1), w0 - (most_w - 1), rows, columns,
                    padded);
        for (ptrdiff_t i = 0; i < phases; ++i) {
            const Phase ph = phase_at(h, i / w.stride), pw = phase_at(w, i % w.stride);
            const ptrdiff_t r0 = larger(ph.start, start), r1 = smaller(ph.end, end);
            const ptrdiff_t row = r0 * h.stride + ph.phase - h.padding;  // of the first pixel
            const ptrdiff_t column = pw.start * w.stride + pw.phase - w.padding;
            const float* corner = padded + (r0 - start + most_h - ph.taps) * pitch + (pw.start - w0 + most_w - pw.taps) * C_out;
            if (pw.start == pw.end) continue;
            correlate(r1 - r0, pw.end - pw.start, C_in, {pw.taps * C_out, ph.taps}, {corner, C_out, pitch}, pitch,
                      packed + i * size,
                      {dx + ((b * h.size + row) * w.size + column) * C_in, h.stride * w.size * C_in, w.stride * C_in});
        }
    };
    parallel_for(B * bands, task);
}

// --- the gradient of the weight ---------------------------------------------------------------------------------------

// dweight (kH, kW, C_in, C_out). The depth is the pixels of y: a segment for each row of a band. Images are dealt out to a
// fixed number of parts, each with a sum of its own, so that the rounding does not depend on the number of threads; if
// there are more threads than parts, they share out the columns too.
constexpr ptrdiff_t PARTS = 8;

inline void conv2d_backward_weight(const Conv2d& conv, const float* dy, const Images& x, float* dweight) {
    const auto& [B, C_in, C_out, h, w] = conv;
    const ptrdiff_t columns = (w.out - 1) * w.stride + w.kernel, pitch = columns * C_in;  // of the padded image
    const ptrdiff_t bands = count_bands(h.out, h.stride * pitch), parts = smaller(PARTS, B * bands);
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    const ptrdiff_t panels = ceil_div(C_out, PANEL), blocks = smaller(panels, ceil_div(wanted, parts));
    const ptrdiff_t row = w.kernel * C_in, size = h.kernel * row * C_out;  // of dweight
    float* sums = scratch(Scratch::second, parts * size);
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t part = t / blocks;
        const Band block = band_at(panels, blocks, t % blocks), work = band_at(B * bands, parts, part);
        for (ptrdiff_t i = work.start; i < work.end; ++i) {
            const ptrdiff_t b = i / bands;
            const Band band = band_at(h.out, bands, i % bands);
            const ptrdiff_t rows = (band.end - band.start - 1) * h.stride + h.kernel;
            float* padded = scratch(Scratch::task, rows * pitch);
            copy_padded(image_at(x, b, h.size, w.size, C_in), band.start * h.stride - h.padding, -w.padding, rows,
                        columns, padded);
            Epilogue epilogue;
            epilogue.accumulate = i > work.start;
            for (ptrdiff_t u = 0; u < h.kernel; ++u)
                multiply<Layout::columns, Panels::in_place>(
                    row, C_out, {w.out, band.end - band.start}, {padded + u * pitch, w.stride * C_in, h.stride * pitch},
                    {dy + (b * h.out + band.start) * w.out * C_out, C_out, w.out * C_out},
                    sums + part * size + u * row * C_out, C_out, epilogue, block.start * PANEL, block.end * PANEL);
        }
    };
    parallel_for(parts * blocks, task);
    sum_rows(parts, size, sums, dweight);
}

}  // namespace levit::LEVIT_ISA
