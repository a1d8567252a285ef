// Matrix products made of micro-kernel tiles. Start here: `multiply`, then its three uses in ops/linear.h.
//
// Five loops, from the outside in; each keeps in a nearer cache what the ones inside it use again:
//
//   1. tasks        blocks of rows of C, given to threads                              ops/linear.h
//   2. depth        chunks of K, only where K is the number of tokens (dW)             ops/linear.h
//   3. panels       PANEL columns of B: at K = 384 the panel is 48 KB                  multiply
//   4. tiles        up to MAX_ROWS rows of A against the panel                         multiply_panel
//   5. k            the micro-kernel: a tile of C in registers                         micro_kernel
#pragma once

#include "gemm/micro_kernel.h"
#include "gemm/pack.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {

using MicroKernel = void (*)(Depth, const Factor&, const Factor&, float*, ptrdiff_t, int, const Epilogue&, Corner,
                             const float*);

// The micro-kernel for a number of rows: TABLE[rows - 1].
template <int VECS, Layout LAYOUT, bool PARTIAL, int ROWS = MAX_ROWS>
struct MicroKernels : MicroKernels<VECS, LAYOUT, PARTIAL, ROWS - 1> {
    MicroKernels() { this->table[ROWS - 1] = micro_kernel<ROWS, VECS, LAYOUT, PARTIAL>; }
};
template <int VECS, Layout LAYOUT, bool PARTIAL>
struct MicroKernels<VECS, LAYOUT, PARTIAL, 0> {
    MicroKernel table[MAX_ROWS];
};

// What will be read after this product: two runs of memory, one after the other.
struct Upcoming {
    const float* at;
    const float* end;
    const float* second;

    const float* take(ptrdiff_t floats) {
        if (at >= end && second) at = second, second = nullptr;
        const float* from = at;
        at += floats;
        return from;
    }
};

// All rows against one panel. The last tile would often be a sliver, slow for its few accumulators: 49 rows are cut
// into 13 + 12 + 12 + 12 and not into 14 + 14 + 14 + 7.
template <int VECS, Layout LAYOUT, bool PARTIAL>
inline void multiply_panel(ptrdiff_t M, Depth depth, const Factor& a, const Factor& b, float* c, ptrdiff_t c_stride,
                           ptrdiff_t j, int columns, const Epilogue& epilogue, Upcoming* upcoming) {
    static const MicroKernels<VECS, LAYOUT, PARTIAL> kernels;
    const ptrdiff_t tiles = ceil_div(M, MAX_ROWS);
    const ptrdiff_t rows = M / tiles, longer = M % tiles;  // the first `longer` tiles have one row more
    for (ptrdiff_t t = 0, i = 0; t < tiles; ++t) {
        const ptrdiff_t n = rows + (t < longer);
        const Factor tile{a.data + (LAYOUT == Layout::rows ? i * a.stride : i), a.stride, a.segment};
        const float* next = upcoming ? upcoming->take(depth.length * CACHE_LINE) : a.data + (i + n) * a.stride;
        kernels.table[n - 1](depth, tile, b, c + i * c_stride + j, c_stride, columns, epilogue, {i, j}, next);
        i += n;
    }
}

enum class Panels { packed, in_place };

// C (M, N) = A B in the calling thread, columns j0 .. j1 of it. A packed B has no stride or segment of its own: the
// segments of one panel follow each other. What comes next is the next rows of A where `upcoming` does not say otherwise.
template <Layout LAYOUT, Panels PANELS>
inline void multiply(ptrdiff_t M, ptrdiff_t N, Depth depth, const Factor& a, const Factor& b, float* c, ptrdiff_t c_stride,
                     const Epilogue& epilogue, ptrdiff_t j0 = 0, ptrdiff_t j1 = PTRDIFF_MAX,
                     Upcoming* upcoming = nullptr) {
    constexpr bool PACKED = PANELS == Panels::packed;
    const ptrdiff_t K = depth.segments * depth.length;
    if (j1 > N) j1 = N;
    for (ptrdiff_t j = j0; j < j1; j += PANEL) {
        const ptrdiff_t width = panel_width(N, j);
        const int columns = static_cast<int>(N - j < width ? N - j : width);
        Factor panel{b.data + j, b.stride, b.segment};
        if (PACKED) panel = {b.data + K * j, width, depth.length * width};
        const bool partial = !PACKED && columns % LANES != 0;
        auto* run = width == PANEL ? (partial ? multiply_panel<2, LAYOUT, true> : multiply_panel<2, LAYOUT, false>)
                                   : (partial ? multiply_panel<1, LAYOUT, true> : multiply_panel<1, LAYOUT, false>);
        run(M, depth, a, panel, c, c_stride, j, columns, epilogue, upcoming);
    }
}

}  // namespace levit::LEVIT_ISA
