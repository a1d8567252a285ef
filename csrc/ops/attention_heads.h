// The heads of attention: where one lies in memory, its matrix products, and how the work is shared out.
#pragma once

#include "gemm/gemm.h"
#include "ops/attention.h"
#include "runtime/thread_pool.h"
#include "simd/blocks.h"

namespace levit::LEVIT_ISA {

// --- one head's matrices ---------------------------------------------------------------------------------------------

// Row i starts at data + i * stride.
struct Rows {
    const float* data;
    ptrdiff_t stride;
    Rows from(ptrdiff_t i) const { return {data + i * stride, stride}; }
    operator Factor() const { return {data, stride}; }
};
struct RowsOut {
    float* data;
    ptrdiff_t stride;
    RowsOut from(ptrdiff_t i) const { return {data + i * stride, stride}; }
    operator Rows() const { return {data, stride}; }
    operator Factor() const { return {data, stride}; }
    operator Result() const { return {data, stride}; }
};

struct Place {
    ptrdiff_t image, head;
};

inline Rows rows_at(Place p, const PerHead& x) { return {x.data + p.image * x.image + p.head * x.head, x.row}; }
inline RowsOut rows_at(Place p, const PerHeadOut& x) { return {x.data + p.image * x.image + p.head * x.head, x.row}; }

// B (K, N) = b^T of a b (N, K), packed into memory of packed_size(K, N)
inline PackedB pack_transposed(ptrdiff_t K, ptrdiff_t N, Rows b, float* memory) {
    for (ptrdiff_t j = 0; j < N; j += PANEL) pack_panel_of_columns(K, N, j, b.data, b.stride, memory + K * j);
    return {memory, K, N};
}

// c (M, b.N) = a (M, b.K) times a packed B
inline void multiply_packed(ptrdiff_t M, Rows a, const PackedB& b, RowsOut c, const ScaledSum& epilogue) {
    multiply(M, {b.K}, a, b, c, epilogue);
}

// c (M, N) = a (M, K) b (K, N)
inline void multiply_plain(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, Rows a, Rows b, RowsOut c, const ScaledSum& epilogue) {
    multiply_in_place<Layout::rows>(M, N, {K}, a, b, c, epilogue);
}

// c (M, N) = a^T b with a (K, M), b (K, N)
inline void multiply_transposed(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, Rows a, Rows b, RowsOut c,
                                const ScaledSum& epilogue) {
    multiply_in_place<Layout::columns>(M, N, {K}, a, b, c, epilogue);
}

// --- sharing out the work --------------------------------------------------------------------------------------------

// Groups of images times groups of heads. The images' depend on the shapes alone, and so does the order in which the
// gradients of the bias are added up; the heads' may depend on the threads.
struct Groups {
    ptrdiff_t B, heads, of_images, of_heads;
};

constexpr ptrdiff_t MOST_GROUPS = 8, IMAGES_IN_GROUP = 4;
constexpr ptrdiff_t PARTIAL_SUMS = 1 << 21;     // floats, 8 MB: what the groups' gradients of the bias may take up
constexpr ptrdiff_t CACHED_BIASES = 64 * 1024;  // floats: the biases of a task stay in the second-level cache

inline Groups groups_of(const AttentionSizes& s) {
    const ptrdiff_t pairs = s.N_q * s.N_k, bound = larger(1, PARTIAL_SUMS / (s.heads * pairs));
    const ptrdiff_t images = smaller(smaller(MOST_GROUPS, bound), ceil_div(s.B, IMAGES_IN_GROUP));
    const ptrdiff_t heads = larger(ceil_div(s.heads * pairs, CACHED_BIASES), ceil_div(tasks_wanted(), images));
    return {s.B, s.heads, images, smaller(heads, s.heads)};
}

struct Turn {
    Place now, next;
    ptrdiff_t group;  // of images
    bool first;       // the first of its group, for this head
};

// f(turn) for every image and head, on all threads. A task takes image after image, since the heads of one lie side by
// side in memory, but only as many heads as have biases that stay in the cache.
template <class F>
inline void for_each_turn(const Groups& groups, F f) {
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t g = t / groups.of_heads, q = t % groups.of_heads;
        const Range images = part_of(groups.B, groups.of_images, g), heads = part_of(groups.heads, groups.of_heads, q);
        for (ptrdiff_t b = images.start; b < images.end; ++b)
            for (ptrdiff_t h = heads.start; h < heads.end; ++h) {
                const bool last = h + 1 == heads.end;
                const Place next = last ? Place{smaller(b + 1, images.end - 1), heads.start} : Place{b, h + 1};
                f(Turn{{b, h}, next, g, b == images.start});
            }
    };
    parallel_for(groups.of_images * groups.of_heads, task);
}

// f(queries) for N queries, `step` at a time
template <class F>
inline void for_each_query_block(ptrdiff_t N, ptrdiff_t step, F f) {
    for (ptrdiff_t i = 0; i < N; i += step) f(Range{i, smaller(i + step, N)});
}

// Prefetches, of the next head's N rows, the share that these queries are of all N_q. The rows are short and far apart, which
// no hardware prefetcher foresees.
inline void prefetch_share(Rows x, ptrdiff_t N, ptrdiff_t channels, Range queries, ptrdiff_t N_q) {
    for (ptrdiff_t n = N * queries.start / N_q; n < N * queries.end / N_q; ++n)
        for (ptrdiff_t c = 0; c < channels; c += CACHE_LINE) prefetch_to_l2(x.data + n * x.stride + c);
}

}  // namespace levit::LEVIT_ISA
