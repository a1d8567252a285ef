// The heads of attention: where one lies in memory, its matrix products, and how the work is shared out.
#pragma once

#include "gemm/gemm.h"
#include "ops/linear.h"
#include "runtime/thread_pool.h"

namespace levit::LEVIT_ISA {

// --- one head's matrices ---------------------------------------------------------------------------------------------

// Row i starts at data + i * stride.
struct Rows {
    const float* data;
    ptrdiff_t stride;
    Rows from(ptrdiff_t i) const { return {data + i * stride, stride}; }
    operator Factor() const { return {data, stride, 0}; }
};
struct RowsOut {
    float* data;
    ptrdiff_t stride;
    RowsOut from(ptrdiff_t i) const { return {data + i * stride, stride}; }
    operator Rows() const { return {data, stride}; }
};

struct Place {
    ptrdiff_t image, head;
};

inline Rows rows_at(Place p, const PerHead& x) { return {x.data + p.image * x.image + p.head * x.head, x.row}; }
inline RowsOut rows_at(Place p, const PerHeadOut& x) { return {x.data + p.image * x.image + p.head * x.head, x.row}; }

// b^T (K, N) of a b (N, K), for multiply_packed
inline void pack_transposed(ptrdiff_t N, ptrdiff_t K, Rows b, float* packed) {
    for (ptrdiff_t j = 0; j < N; j += PANEL) pack_panel_of_columns(K, N, j, b.data, b.stride, packed + K * j);
}

// c (M, N) = a (M, K) times a packed (K, N)
inline void multiply_packed(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, Rows a, const float* packed, RowsOut c,
                            const Epilogue& epilogue) {
    multiply<Layout::rows, Panels::packed>(M, N, {K}, a, {packed, 0, 0}, c.data, c.stride, epilogue);
}

// c (M, N) = a (M, K) b (K, N)
inline void multiply_plain(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, Rows a, Rows b, RowsOut c, const Epilogue& epilogue) {
    multiply<Layout::rows, Panels::in_place>(M, N, {K}, a, b, c.data, c.stride, epilogue);
}

// c (M, N) = a^T b with a (K, M), b (K, N)
inline void multiply_transposed(ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, Rows a, Rows b, RowsOut c,
                                const Epilogue& epilogue) {
    multiply<Layout::columns, Panels::in_place>(M, N, {K}, a, b, c.data, c.stride, epilogue);
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
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    const ptrdiff_t heads = larger(ceil_div(s.heads * pairs, CACHED_BIASES), ceil_div(wanted, images));
    return {s.B, s.heads, images, smaller(heads, s.heads)};
}

struct Turn {
    Place now, next;
    ptrdiff_t group;  // of images
    bool first;       // the first of its group, for this head
};

// f(turn) for every image and head, on all threads. A task takes image after image, since the heads of one lie side by
// side in memory, but only so many heads that their biases stay in the cache.
template <class F>
inline void for_each_turn(const Groups& groups, F f) {
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t g = t / groups.of_heads, q = t % groups.of_heads;
        const ptrdiff_t b0 = groups.B * g / groups.of_images, b1 = groups.B * (g + 1) / groups.of_images;
        const ptrdiff_t h0 = groups.heads * q / groups.of_heads, h1 = groups.heads * (q + 1) / groups.of_heads;
        for (ptrdiff_t b = b0; b < b1; ++b)
            for (ptrdiff_t h = h0; h < h1; ++h) {
                const Place next = h + 1 < h1 ? Place{b, h + 1} : Place{smaller(b + 1, b1 - 1), h0};
                f(Turn{{b, h}, next, g, b == b0});
            }
    };
    parallel_for(groups.of_images * groups.of_heads, task);
}

// Some of the queries.
struct Block {
    ptrdiff_t first, count;
};

// f(block) for N queries, `step` at a time
template <class F>
inline void for_each_block(ptrdiff_t N, ptrdiff_t step, F f) {
    for (ptrdiff_t i = 0; i < N; i += step) f(Block{i, smaller(step, N - i)});
}

// Of the N rows that the next turn will read, those that stand to N as the block to all N_q queries. They are short and
// far apart, which no hardware prefetcher foresees.
inline void prefetch_share(Rows x, ptrdiff_t N, ptrdiff_t channels, Block block, ptrdiff_t N_q) {
    const ptrdiff_t first = N * block.first / N_q, end = N * (block.first + block.count) / N_q;
    for (ptrdiff_t n = first; n < end; ++n)
        for (ptrdiff_t c = 0; c < channels; c += CACHE_LINE) prefetch_to_l2(x.data + n * x.stride + c);
}

}  // namespace levit::LEVIT_ISA
