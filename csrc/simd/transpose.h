// Matrices turned over: LANES rows of LANES numbers at a time, in registers.
//
// It takes log2 LANES rounds of one step: from two vectors, one that has half of the lanes of each, and another that
// has the rest. Four such selections are enough. Two work inside groups of four lanes, the 128 bits within which x86
// moves lanes cheaply; two move whole groups.
#pragma once

#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// The lanes of (a, b) with these numbers; b's start at LANES.
#if defined(__clang__)
#define LEVIT_SELECT(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LEVIT_SELECT(a, b, ...) __builtin_shuffle(a, b, vi{__VA_ARGS__})
#endif

#if defined(__AVX512F__)
// Within each group of four: a0 b0 a1 b1, and a2 b2 a3 b3.
inline vf zip_low(vf a, vf b) {
    return LEVIT_SELECT(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
inline vf zip_high(vf a, vf b) {
    return LEVIT_SELECT(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
// Groups 0, 2 of a and of b, and groups 1, 3.
inline vf even_groups(vf a, vf b) {
    return LEVIT_SELECT(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}
inline vf odd_groups(vf a, vf b) {
    return LEVIT_SELECT(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
#elif defined(__AVX2__)
inline vf zip_low(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 8, 1, 9, 4, 12, 5, 13); }
inline vf zip_high(vf a, vf b) { return LEVIT_SELECT(a, b, 2, 10, 3, 11, 6, 14, 7, 15); }
inline vf even_groups(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 1, 2, 3, 8, 9, 10, 11); }
inline vf odd_groups(vf a, vf b) { return LEVIT_SELECT(a, b, 4, 5, 6, 7, 12, 13, 14, 15); }
#else
inline vf zip_low(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 4, 1, 5); }
inline vf zip_high(vf a, vf b) { return LEVIT_SELECT(a, b, 2, 6, 3, 7); }
inline vf even_groups(vf a, vf) { return a; }  // there is one group only: never called for
inline vf odd_groups(vf, vf b) { return b; }
#endif
#undef LEVIT_SELECT

constexpr int GROUPS = LANES / 4;  // of lanes in a vector, and of rows in a square

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
    for (int left = GROUPS; left > 1; left /= 2) {
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

// to (columns, rows) = from (rows, columns) turned over, for at most LANES rows and columns. `written` numbers are
// written to each row of `to`, zeros behind the rows that there are.
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
