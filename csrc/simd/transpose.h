// Transposing matrices: LANES rows of LANES numbers at a time, in registers.
//
// It takes log2 LANES rounds of one step: from two vectors, one that has half of the lanes of each, and another that
// has the rest. Four such selections are enough. Two work inside groups of four lanes, the 128 bits within which x86
// moves lanes cheaply; two move whole groups. Each instruction set has them in its vec_....h:
//
//   zip_low, zip_high           a0 b0 a1 b1 of each group, and a2 b2 a3 b3
//   even_groups, odd_groups     groups 0, 2, ... of a and then of b, and groups 1, 3, ...
#pragma once

#include "simd/vec.h"

namespace levit::LEVIT_ISA {

constexpr int LANE_GROUPS = LANES / 4;  // in a vector, and groups of rows in a square

// x[i] lane j becomes x[j] lane i.
inline __attribute__((always_inline)) void transpose(vf (&x)[LANES]) {
    // Squares of 4 x 4: afterwards lane i of group g in x[4 r + j] is row 4 r + i, column 4 g + j.
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r += 4) {
        const vf a = zip_low(x[r], x[r + 2]), b = zip_high(x[r], x[r + 2]);
        const vf c = zip_low(x[r + 1], x[r + 3]), d = zip_high(x[r + 1], x[r + 3]);
        x[r] = zip_low(a, c), x[r + 1] = zip_high(a, c), x[r + 2] = zip_low(b, d), x[r + 3] = zip_high(b, d);
    }
    // The squares: each round halves what groups are apart.
#pragma GCC unroll 4
    for (int left = LANE_GROUPS; left > 1; left /= 2) {
        vf y[LANES];
#pragma GCC unroll 16
        for (int i = 0; i < LANES / 2; ++i) {
            const int r = i / 4 * 8 + i % 4;
            y[i] = even_groups(x[r], x[r + 4]);
            y[i + LANES / 2] = odd_groups(x[r], x[r + 4]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) x[i] = y[i];
    }
}

// to (columns, rows) = from (rows, columns) transposed, for at most LANES rows and columns. `written` numbers are
// written to each row of `to`, with zeros after those of the rows of `from`.
inline void transpose_square(int rows, int columns, const float* from, ptrdiff_t from_stride, float* to,
                             ptrdiff_t to_stride, int written) {
    vf square[LANES];
    if (rows == LANES && columns == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) square[i] = load(from + i * from_stride);
    } else {
        for (int i = 0; i < LANES; ++i) square[i] = i < rows ? load(from + i * from_stride, columns) : zero();
    }
    transpose(square);
    if (columns == LANES && written == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < LANES; ++i) store(to + i * to_stride, square[i]);
    } else {
        for (int i = 0; i < columns; ++i) store(to + i * to_stride, square[i], written);
    }
}

}  // namespace levit::LEVIT_ISA
