// The loops around the micro-kernel. Start at the end, with `multiply`.
#include "gemm/gemm.h"

#include "simd/blocks.h"

namespace levit::LEVIT_ISA {
namespace {

// The micro-kernel for a number of rows, 1 .. ROWS, which is most often the largest.
template <int VECS, Layout LAYOUT, bool PARTIAL, class Epilogue, int ROWS = MAX_ROWS>
inline void multiply_tile(ptrdiff_t rows, Depth depth, const Factor& a, const Factor& b, const Tile& c,
                          const Epilogue& epilogue, const float* upcoming) {
    if (rows == ROWS) return micro_kernel<ROWS, VECS, LAYOUT, PARTIAL>(depth, a, b, c, epilogue, upcoming);
    if constexpr (ROWS > 1)
        multiply_tile<VECS, LAYOUT, PARTIAL, Epilogue, ROWS - 1>(rows, depth, a, b, c, epilogue, upcoming);
}

// All rows against one panel, at column j. The last tile would often be a sliver, slow for its few accumulators: 49 rows are
// cut into 13 + 12 + 12 + 12 and not into 14 + 14 + 14 + 7.
template <int VECS, Layout LAYOUT, bool PARTIAL, class Epilogue>
void multiply_panel(ptrdiff_t M, Depth depth, const Factor& a, const Factor& b, const Result& c, ptrdiff_t j, int columns,
                    const Epilogue& epilogue, Upcoming* upcoming) {
    if (M == 0) return;
    const ptrdiff_t tiles = ceil_div(M, MAX_ROWS);
    const ptrdiff_t rows = M / tiles, longer = M % tiles;  // the first `longer` tiles have one row more
    for (ptrdiff_t t = 0, i = 0; t < tiles; ++t) {
        const ptrdiff_t n = rows + (t < longer);
        const Factor rows_of_a{a.data + (LAYOUT == Layout::rows ? i * a.stride : i), a.stride, a.segment};
        const Tile tile{c.data + i * c.stride + j, c.stride, i, j, columns};
        const float* next = upcoming ? upcoming->take(depth.length * CACHE_LINE) : a.data + (i + n) * a.stride;
        multiply_tile<VECS, LAYOUT, PARTIAL>(n, depth, rows_of_a, b, tile, epilogue, next);
        i += n;
    }
}

// f(j, width, columns) for the panels from column j on: their width, and how many of their columns there are.
template <class F>
inline void for_each_panel(ptrdiff_t N, Columns wanted, F f) {
    for (ptrdiff_t j = wanted.start; j < smaller(wanted.end, N); j += PANEL) {
        const ptrdiff_t width = panel_width(N, j);
        f(j, width, static_cast<int>(smaller(width, N - j)));
    }
}

// The segments of a packed panel follow each other; it has no strides of its own.
template <class Epilogue>
void multiply_packed(ptrdiff_t M, Depth depth, const Factor& a, const PackedB& b, const Result& c,
                     const Epilogue& epilogue, Columns wanted) {
    for_each_panel(b.N, wanted, [&](ptrdiff_t j, ptrdiff_t width, int columns) {
        const Factor panel{b.panel(j), width, depth.length * width};
        auto* run = width == PANEL ? multiply_panel<2, Layout::rows, false, Epilogue>
                                   : multiply_panel<1, Layout::rows, false, Epilogue>;
        run(M, depth, a, panel, c, j, columns, epilogue, nullptr);
    });
}

}  // namespace

void multiply(ptrdiff_t M, Depth depth, const Factor& a, const PackedB& b, const Result& c, const float* bias,
              Activation activation, Columns wanted) {
    with_activation(activation, [&]<Activation KIND>() {
        multiply_packed(M, depth, a, b, c, BiasActivation<KIND>{bias}, wanted);
    });
}

void multiply(ptrdiff_t M, Depth depth, const Factor& a, const PackedB& b, const Result& c, const ScaledSum& epilogue) {
    multiply_packed(M, depth, a, b, c, epilogue, {});
}

template <Layout LAYOUT>
void multiply_in_place(ptrdiff_t M, ptrdiff_t N, Depth depth, const Factor& a, const Factor& b, const Result& c,
                       const ScaledSum& epilogue, Columns wanted, Upcoming* upcoming) {
    for_each_panel(N, wanted, [&](ptrdiff_t j, ptrdiff_t width, int columns) {
        const Factor panel{b.data + j, b.stride, b.segment};
        const bool partial = columns % LANES != 0;
        auto* run = width == PANEL ? (partial ? multiply_panel<2, LAYOUT, true, ScaledSum>
                                              : multiply_panel<2, LAYOUT, false, ScaledSum>)
                                   : (partial ? multiply_panel<1, LAYOUT, true, ScaledSum>
                                              : multiply_panel<1, LAYOUT, false, ScaledSum>);
        run(M, depth, a, panel, c, j, columns, epilogue, upcoming);
    });
}

template void multiply_in_place<Layout::rows>(ptrdiff_t, ptrdiff_t, Depth, const Factor&, const Factor&, const Result&,
                                              const ScaledSum&, Columns, Upcoming*);
template void multiply_in_place<Layout::columns>(ptrdiff_t, ptrdiff_t, Depth, const Factor&, const Factor&, const Result&,
                                                 const ScaledSum&, Columns, Upcoming*);

}  // namespace levit::LEVIT_ISA
