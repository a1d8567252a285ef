// The inner loop of every matrix product: one tile of C stays in registers while the whole depth streams past it.
//
//   C(i, j) = epilogue(sum_k A(i, k) B(k, j)),   0 <= i < ROWS,   0 <= j < columns <= VECS * LANES
//
// For each k: VECS vectors of B are loaded, and each of the ROWS values of A is spread over a vector and multiplied with
// them. So a tile does ROWS * VECS fused multiply-adds for VECS loads and ROWS broadcasts (which x86 does as a part of
// the multiply-add), and needs ROWS * VECS accumulators:
//
//   AVX-512   14 x 2 vectors of 16:  28 accumulators + 2 of B + 1 broadcast = 31 of 32 registers
//   AVX2       6 x 2 vectors of 8:   12 + 2 + 1 = 15 of 16
//   baseline   6 x 2 vectors of 4:   the same
//   NEON      12 x 2 vectors of 4:   24 + 2 + 1 = 27 of 32
//
// At least eight accumulators are needed to hide the latency of the multiply-adds (4 cycles, two a cycle); beyond that
// a larger tile saves loads.
//
// While a tile is computed, the memory of what comes next is on its way: one cache line of it is asked for at every k, and
// the lines that the tile will be stored to are asked for at the start. A prefetch beyond an array does no harm.
//
// Tiles must overlap: the processor should begin the next one while the stores of this one still wait for their sums. A
// struct that is passed by value and copied on the way in pieces of other sizes than it was written in stops that: its
// load has to wait until all stores before it are done. So structs go by reference here.
//
// The depth may be cut into segments. That makes a convolution the same product: one row of the kernel under one pixel
// is contiguous in memory, the next kernel row is one image row further on.
#pragma once

#include "gemm/epilogue.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

constexpr int MAX_ROWS = REGISTERS == 16 ? 6 : LANES == 16 ? 14 : 12;
constexpr int MAX_VECS = 2;
constexpr int PANEL = MAX_VECS * LANES;  // columns of B that are worked on together

// How A lies in memory: A(i, k) = a[i stride + k], or A(i, k) = a[k stride + i] (a product with a transposed matrix).
enum class Layout { rows, columns };

struct Factor {
    const float* data;
    ptrdiff_t stride;       // of A: see Layout; of B: from k to k + 1
    ptrdiff_t segment = 0;  // from one segment of the depth to the next
};

struct Depth {
    ptrdiff_t length;        // of a segment
    ptrdiff_t segments = 1;  // the whole depth K is segments * length
    ptrdiff_t total() const { return segments * length; }
};

// PARTIAL: B has memory for just `columns` columns, and not for VECS whole vectors.
template <int ROWS, int VECS, Layout LAYOUT, bool PARTIAL, class Epilogue>
[[gnu::noinline]] void micro_kernel(Depth depth, const Factor& a_factor, const Factor& b_factor, const Tile& c,
                                    const Epilogue& epilogue, const float* upcoming) {
    float* row_of_c = c.data;
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i, row_of_c = next_row(row_of_c, c.stride))
        for (int v = 0; v < VECS; ++v) prefetch_to_write(row_of_c + v * LANES);

    const Factor a = a_factor, b = b_factor;  // in registers: the compiler cannot know that C is somewhere else
    const int last = c.columns - (VECS - 1) * LANES;  // lanes of the last vector, 1 .. LANES
    // Rows of A are addressed from every fifth one: 14 addresses are more than there are registers for them.
    constexpr int GROUP = 5, ROW_GROUPS = (ROWS + GROUP - 1) / GROUP;
    vf sum[ROWS][VECS];  // in registers, once every loop over it is unrolled
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < VECS; ++v) sum[i][v] = zero();

    for (ptrdiff_t s = 0; s < depth.segments; ++s) {
        const float* ap[ROW_GROUPS];
        for (int g = 0; g < ROW_GROUPS; ++g) ap[g] = a.data + s * a.segment + g * GROUP * a.stride;
        const float* bp = b.data + s * b.segment;
        for (ptrdiff_t k = 0; k < depth.length; ++k) {
            vf row[VECS];
            for (int v = 0; v < VECS; ++v)
                row[v] = PARTIAL && v == VECS - 1 ? load_first(bp + v * LANES, last) : load(bp + v * LANES);
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; ++i) {
                const vf value = broadcast(LAYOUT == Layout::rows ? ap[i / GROUP][i % GROUP * a.stride] : ap[0][i]);
                for (int v = 0; v < VECS; ++v) sum[i][v] = fma(value, row[v], sum[i][v]);
            }
            LAYOUT == Layout::rows ? prefetch_to_l1(upcoming) : prefetch_to_l2(upcoming);
            upcoming += CACHE_LINE;
            for (int g = 0; g < ROW_GROUPS; ++g) ap[g] += LAYOUT == Layout::rows ? 1 : a.stride;
            bp += b.stride;
        }
    }
    epilogue.finish(sum, c);
}

}  // namespace levit::LEVIT_ISA
