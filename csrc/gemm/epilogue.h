// The end of a matrix product: what happens to a tile of sums, still in registers, on its way to memory.
//
// An epilogue is a type with one function, finish(sums, tile). It is a template argument of the micro-kernel, so that each
// product is compiled with the steps it has and no others. For another epilogue, write its type here and let gemm.cpp
// compile it.
//
// The accumulators are a local array of the micro-kernel, in registers as long as every index into it is a constant. So all
// functions here are inlined and all loops over a tile unrolled, also where an activation makes that long. In the loop over k
// no sum is ever on the stack. Hardswish and ReLU get by with the few registers that a full tile leaves; of SiLU's and GELU's
// many intermediate values, some go to the stack, once for each tile.
#pragma once

#include "simd/activation.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// A tile of C: its corner is C(row, column), at `data`.
struct Tile {
    float* data;
    ptrdiff_t stride;  // from row to row
    ptrdiff_t row, column;
    int columns;
};

// Where row i + 1 lies. The compiler is kept from computing all rows' addresses ahead, for which it has no registers.
template <class T>
[[gnu::always_inline]] inline T* next_row(T* row, ptrdiff_t stride) {
    row += stride;
    asm("" : "+r"(row));
    return row;
}

// --- steps -----------------------------------------------------------------------------------------------------------

// The last vector of a row may have fewer lanes.
template <int VECS>
[[gnu::always_inline]] inline vf load_of_row(const float* row, int v, int columns) {
    return load(row + v * LANES, v == VECS - 1 ? columns - (VECS - 1) * LANES : LANES);
}

template <int ROWS, int VECS>
[[gnu::always_inline]] inline void add_matrix(vf (&sum)[ROWS][VECS], const float* from, ptrdiff_t stride, int columns) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i, from = next_row(from, stride))
        for (int v = 0; v < VECS; ++v) sum[i][v] = sum[i][v] + load_of_row<VECS>(from, v, columns);
}

template <int ROWS, int VECS>
[[gnu::always_inline]] inline void add_to_rows(vf (&sum)[ROWS][VECS], const float* from, int columns) {
    vf row[VECS];
    for (int v = 0; v < VECS; ++v) row[v] = load_of_row<VECS>(from, v, columns);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECS; ++v) sum[i][v] = sum[i][v] + row[v];
}

template <int ROWS, int VECS>
[[gnu::always_inline]] inline void multiply_by(vf (&sum)[ROWS][VECS], float factor) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECS; ++v) sum[i][v] = sum[i][v] * factor;
}

template <Activation KIND, int ROWS, int VECS>
[[gnu::always_inline]] inline void activate_tile(vf (&sum)[ROWS][VECS]) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECS; ++v) sum[i][v] = activate<KIND>(sum[i][v]);
}

// One branch for the whole tile, and none between the stores.
template <int ROWS, int VECS>
[[gnu::always_inline]] inline void store_tile(const vf (&sum)[ROWS][VECS], const Tile& tile) {
    float* to = tile.data;
    const int last = tile.columns - (VECS - 1) * LANES;
    if (last == LANES) {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i, to = next_row(to, tile.stride))
            for (int v = 0; v < VECS; ++v) store(to + v * LANES, sum[i][v]);
    } else {
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i, to = next_row(to, tile.stride))
            for (int v = 0; v < VECS; ++v) store(to + v * LANES, sum[i][v], v == VECS - 1 ? last : LANES);
    }
}

// --- epilogues -------------------------------------------------------------------------------------------------------

// C = scale (C + A B) + addend. C is added only if `accumulate` is set, the addend, a matrix of C's shape, if there is one.
struct ScaledSum {
    bool accumulate = false;
    float scale = 1;
    const float* addend = nullptr;
    ptrdiff_t addend_stride = 0;  // from row to row of it

    template <int ROWS, int VECS>
    [[gnu::always_inline]] void finish(vf (&sum)[ROWS][VECS], const Tile& tile) const {
        if (accumulate) add_matrix(sum, tile.data, tile.stride, tile.columns);
        if (scale != 1) multiply_by(sum, scale);
        if (addend) add_matrix(sum, addend + tile.row * addend_stride + tile.column, addend_stride, tile.columns);
        store_tile(sum, tile);
    }
};

// C = activation(A B + bias): a layer of a network. The bias (N,) may be null.
template <Activation KIND>
struct BiasActivation {
    const float* bias;

    template <int ROWS, int VECS>
    [[gnu::always_inline]] void finish(vf (&sum)[ROWS][VECS], const Tile& tile) const {
        if (bias) add_to_rows(sum, bias + tile.column, tile.columns);
        activate_tile<KIND>(sum);
        store_tile(sum, tile);
    }
};

}  // namespace levit::LEVIT_ISA
