// Packing: a copy of B in the order in which the micro-kernel reads it.
//
// The micro-kernel walks down one panel, PANEL columns wide, k by k. In a row-major B two steps of that walk are a whole
// row apart: a new cache line, often a new page, and with rows of 2^n bytes a few cache sets that evict each other.
// Packed, a panel is one contiguous run that the hardware prefetches, and a column count that is no multiple of the
// vector width is padded with zeros once instead of being masked at every step.
//
// It costs one pass over B, and pays when many rows of A go by: the weights of a linear layer meet thousands of tokens.
// A is never packed. Its values are broadcast one at a time, and a tile's rows are few enough to stay in the cache.
// The products of one attention head and the gradient of the weights read B where it lies, see gemm.h.
//
//   B (K x N)  ->  panel 0: K x PANEL, panel 1: K x PANEL, ..., the last one LANES wide if that is enough
#pragma once

#include "gemm/micro_kernel.h"
#include "simd/transpose.h"

namespace levit::LEVIT_ISA {

inline ptrdiff_t padded_columns(ptrdiff_t N) { return (N + LANES - 1) / LANES * LANES; }

// Columns that the panel starting at column j takes up when packed.
inline ptrdiff_t panel_width(ptrdiff_t N, ptrdiff_t j) { return N - j > LANES ? PANEL : LANES; }

inline ptrdiff_t packed_size(ptrdiff_t K, ptrdiff_t N) { return K * padded_columns(N); }

// A packed B (K, N).
struct PackedB {
    const float* data;  // packed_size(K, N) values
    ptrdiff_t K, N;

    // The panel that starts at column j, a multiple of PANEL.
    const float* panel(ptrdiff_t j) const { return data + K * j; }
};

// One panel, from column j on, of a B whose rows lie in memory: B(k, j) = b[k * stride + j].
inline void pack_panel_of_rows(ptrdiff_t K, ptrdiff_t N, ptrdiff_t j, const float* b, ptrdiff_t stride, float* panel) {
    const ptrdiff_t width = panel_width(N, j), columns = N - j < width ? N - j : width;
    for (ptrdiff_t k = 0; k < K; ++k) {
        const float* from = b + k * stride + j;
        float* to = panel + k * width;
        for (ptrdiff_t v = 0; v < width; v += LANES) {
            const ptrdiff_t n = columns - v;
            store(to + v, n >= LANES ? load(from + v) : n > 0 ? load_first(from + v, static_cast<int>(n)) : zero());
        }
    }
}

// The same of a B whose columns lie in memory, B(k, j) = b[j * stride + k]: the weights (C_out, C_in) of y = x W^T. A
// square of LANES columns and LANES k at a time is transposed in registers.
inline void pack_panel_of_columns(ptrdiff_t K, ptrdiff_t N, ptrdiff_t j, const float* b, ptrdiff_t stride,
                                  float* panel) {
    const ptrdiff_t width = panel_width(N, j);
    for (ptrdiff_t v = 0; v < width; v += LANES) {
        const ptrdiff_t left = N - j - v;
        const int columns = static_cast<int>(left < LANES ? left : LANES);  // not positive where there are only zeros
        for_each_vector(K, [&](ptrdiff_t k, int n) {
            transpose_square(columns, n, b + (j + v) * stride + k, stride, panel + k * width + v, width, LANES);
        });
    }
}

}  // namespace levit::LEVIT_ISA
