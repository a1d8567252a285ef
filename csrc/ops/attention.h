// Attention: for every image and head, scores = scale q k^T + bias, probs = softmax over the keys, context = probs v.
//
// Scores are held for a few dozen queries of one head at a time: computed, normalised and used while a near cache has them.
// Nothing of size N x N is written to memory, so the backward pass computes the probabilities again. That costs a tenth of
// both passes, about what it takes to write and read them where memory is shared by many threads.
//
// Scores are kept transposed, (N_k, queries): each lane of a vector has a query, and softmax goes down the keys. So the
// bias is taken, and its gradient given, as (heads, N_k, N_q).
//
// q, k and v are columns of one array in LeViT, the product of one linear layer, and are read where they lie; so are the
// gradients written. Only the small transposed factors are packed, q^T and dcontext^T.
#pragma once

#include "gemm/gemm.h"
#include "ops/linear.h"
#include "ops/softmax.h"
#include "runtime/scratch.h"
#include "runtime/thread_pool.h"

namespace levit::LEVIT_ISA {

// --- the products of one head -------------------------------------------------------------------------------------------

// The rows of one head, and those of a result: row i starts at data + i * stride.
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

inline Rows head_of(const PerHead& x, ptrdiff_t image, ptrdiff_t head) {
    return {x.data + image * x.image + head * x.head, x.row};
}
inline RowsOut head_of(const PerHeadOut& x, ptrdiff_t image, ptrdiff_t head) {
    return {x.data + image * x.image + head * x.head, x.row};
}

// b^T (K, N) of a b (N, K), for multiply_packed.
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

// --- blocks -------------------------------------------------------------------------------------------------------------

// Queries whose scores are held at a time: so many panels that two arrays of (N_k, queries) leave the second-level cache
// room for the rest.
constexpr ptrdiff_t BLOCK_FLOATS = 24 * 1024;

inline ptrdiff_t queries_at_a_time(ptrdiff_t N_q, ptrdiff_t N_k) {
    const ptrdiff_t panels = ceil_div(N_q, PANEL), most = larger(1, BLOCK_FLOATS / (N_k * PANEL));
    return ceil_div(panels, ceil_div(panels, most)) * PANEL;
}

// f(first, count) for the queries in steps of `step`
template <class F>
inline void for_each_block(ptrdiff_t N_q, ptrdiff_t step, F f) {
    for (ptrdiff_t i = 0; i < N_q; i += step) f(i, smaller(step, N_q - i));
}

// Work is cut into groups of images and groups of heads. The images' depend on the shapes alone, and so does the order in
// which the gradients of the bias are added up; the heads' may depend on the threads.
constexpr ptrdiff_t MOST_GROUPS = 8, IMAGES_IN_GROUP = 4;
constexpr ptrdiff_t PARTIAL_SUMS = 1 << 21;     // floats, 8 MB: what the groups' gradients of the bias may take up
constexpr ptrdiff_t CACHED_BIASES = 64 * 1024;  // floats: biases of so many heads stay in the second-level cache

struct Groups {
    ptrdiff_t B, heads, of_images, of_heads;
};

inline Groups groups_of(const AttentionSizes& s) {
    const ptrdiff_t pairs = s.N_q * s.N_k, bound = larger(1, PARTIAL_SUMS / (s.heads * pairs));
    const ptrdiff_t images = smaller(smaller(MOST_GROUPS, bound), ceil_div(s.B, IMAGES_IN_GROUP));
    const ptrdiff_t wanted = num_threads() == 1 ? 1 : TASKS_PER_THREAD * num_threads();
    const ptrdiff_t heads = larger(ceil_div(s.heads * pairs, CACHED_BIASES), ceil_div(wanted, images));
    return {s.B, s.heads, images, smaller(heads, s.heads)};
}

struct Turn {
    ptrdiff_t image, head;
    ptrdiff_t group;  // of images
    bool first;       // of its group, for this head
    ptrdiff_t next_image, next_head;
};

// f(turn) on all threads. A task takes image after image, since the heads of one lie side by side in memory, but only so
// many heads that their biases stay in the cache.
template <class F>
inline void for_each_image_and_head(const Groups& groups, F f) {
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t g = t / groups.of_heads, q = t % groups.of_heads;
        const ptrdiff_t b0 = groups.B * g / groups.of_images, b1 = groups.B * (g + 1) / groups.of_images;
        const ptrdiff_t h0 = groups.heads * q / groups.of_heads, h1 = groups.heads * (q + 1) / groups.of_heads;
        for (ptrdiff_t b = b0; b < b1; ++b)
            for (ptrdiff_t h = h0; h < h1; ++h) {
                const bool last = h + 1 == h1;
                f({b, h, g, b == b0, smaller(b + last, b1 - 1), last ? h0 : h + 1});
            }
    };
    parallel_for(groups.of_images * groups.of_heads, task);
}

// Of the rows of one head that the next turn will read, the share that belongs to queries i .. i + count of N_q. They are
// short and far apart, which no hardware prefetcher foresees.
inline void prefetch_share(Rows x, ptrdiff_t N, ptrdiff_t channels, ptrdiff_t i, ptrdiff_t count, ptrdiff_t N_q) {
    for (ptrdiff_t n = N * i / N_q; n < N * (i + count) / N_q; ++n)
        for (ptrdiff_t c = 0; c < channels; c += CACHE_LINE) prefetch_to_l2(x.data + n * x.stride + c);
}

// --- forward ------------------------------------------------------------------------------------------------------------

// What the probabilities of one head are made from.
struct Scorer {
    ptrdiff_t N_q, N_k, D;
    Rows q, k;
    const float* bias;  // (N_k, N_q), or null
    float scale;
};

// probs (N_k, count) for the queries from i on; packed: room for D x count
inline void attention_probs(const Scorer& s, ptrdiff_t i, ptrdiff_t count, float* packed, RowsOut probs) {
    Epilogue epilogue;
    epilogue.scale = s.scale;
    epilogue.addend = s.bias ? s.bias + i : nullptr;
    epilogue.addend_stride = s.N_q;
    pack_transposed(count, s.D, s.q.from(i), packed);
    multiply_packed(s.N_k, count, s.D, s.k, packed, probs, epilogue);
    for (ptrdiff_t j = 0; j < count; j += PANEL)
        if (count - j > LANES)
            softmax_columns<2>(s.N_k, probs.data + j, probs.stride);
        else
            softmax_columns<1>(s.N_k, probs.data + j, probs.stride);
}

inline void attention_forward(const AttentionSizes& s, PerHead q, PerHead k, PerHead v, const float* bias, float scale,
                              PerHeadOut context) {
    const ptrdiff_t packed_floats = s.D * PANEL;
    for_each_image_and_head(groups_of(s), [&](const Turn& turn) {
        const auto [b, h, group, first, next_b, next_h] = turn;
        float* packed = scratch(Scratch::task, packed_floats + s.N_k * PANEL);
        const RowsOut probs{packed + packed_floats, PANEL};
        const float* to_add = bias ? bias + h * s.N_q * s.N_k : nullptr;
        const Scorer scorer{s.N_q, s.N_k, s.D, head_of(q, b, h), head_of(k, b, h), to_add, scale};
        const Rows values = head_of(v, b, h);
        const RowsOut result = head_of(context, b, h);
        for_each_block(s.N_q, PANEL, [&](ptrdiff_t i, ptrdiff_t count) {
            prefetch_share(head_of(q, next_b, next_h), s.N_q, s.D, i, count, s.N_q);
            prefetch_share(head_of(k, next_b, next_h), s.N_k, s.D, i, count, s.N_q);
            attention_probs(scorer, i, count, packed, probs);
            prefetch_share(head_of(v, next_b, next_h), s.N_k, s.E, i, count, s.N_q);
            multiply_transposed(count, s.E, s.N_k, probs, values, result.from(i), {});
        });
    });
}

// --- backward -----------------------------------------------------------------------------------------------------------

// dbias (heads, pairs) from the sums of the groups of images, (heads, groups, pairs)
inline void add_groups(ptrdiff_t heads, ptrdiff_t groups, ptrdiff_t pairs, const float* partial, float* dbias) {
    auto head = [&](ptrdiff_t h) {
        for_each_vector(pairs, [&](ptrdiff_t j, int lanes) {
            vf total = load(partial + h * groups * pairs + j, lanes);
            for (ptrdiff_t g = 1; g < groups; ++g) total = total + load(partial + (h * groups + g) * pairs + j, lanes);
            store(dbias + h * pairs + j, total, lanes);
        });
    };
    parallel_for(heads, head);
}

// dprobs to dscores in place, for VECS * LANES queries of which `count` exist. dscores is added to dbias, or is its first.
template <int VECS>
inline void dscores_of_panel(ptrdiff_t N_k, ptrdiff_t N_q, ptrdiff_t count, float* dprobs, const float* probs,
                             ptrdiff_t stride, bool first, float* dbias) {
    softmax_columns_backward<VECS>(N_k, dprobs, probs, stride, [&](ptrdiff_t k, int v, vf dscore) {
        store(dprobs + k * stride + v * LANES, dscore);
        const int lanes = static_cast<int>(smaller(LANES, count - v * LANES));
        float* sum = dbias + k * N_q + v * LANES;
        store(sum, first ? dscore : load(sum, lanes) + dscore, lanes);
    });
}

inline void attention_backward(const AttentionSizes& s, PerHead dcontext, PerHead q, PerHead k, PerHead v,
                               const float* bias, float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv,
                               float* dbias) {
    const ptrdiff_t step = queries_at_a_time(s.N_q, s.N_k);
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_q * s.N_k, packed_floats = larger(s.D, s.E) * step;
    float* partial = scratch(Scratch::packed, s.heads * groups.of_images * pairs);  // (heads, groups, N_k, N_q)

    for_each_image_and_head(groups, [&](const Turn& turn) {
        const auto [b, h, group, first, next_b, next_h] = turn;
        float* packed = scratch(Scratch::task, packed_floats + 2 * s.N_k * step);
        const RowsOut probs{packed + packed_floats, step}, dscores{probs.data + s.N_k * step, step};
        const float* to_add = bias ? bias + h * pairs : nullptr;
        float* bias_sum = partial + (h * groups.of_images + group) * pairs;
        const Scorer scorer{s.N_q, s.N_k, s.D, head_of(q, b, h), head_of(k, b, h), to_add, scale};
        const Rows keys = scorer.k, values = head_of(v, b, h);
        const RowsOut dqueries = head_of(dq, b, h), dkeys = head_of(dk, b, h), dvalues = head_of(dv, b, h);

        for_each_block(s.N_q, step, [&](ptrdiff_t i, ptrdiff_t count) {
            const Rows queries = scorer.q.from(i), dout = head_of(dcontext, b, h).from(i);
            Epilogue add, scaled, add_scaled;
            add.accumulate = add_scaled.accumulate = i > 0;
            scaled.scale = scale;
            if (i + count == s.N_q) add_scaled.scale = scale;  // the sum of all blocks, once

            prefetch_share(head_of(q, next_b, next_h), s.N_q, s.D, i, count, s.N_q);
            prefetch_share(head_of(k, next_b, next_h), s.N_k, s.D, i, count, s.N_q);
            attention_probs(scorer, i, count, packed, probs);
            prefetch_share(head_of(dcontext, next_b, next_h), s.N_q, s.E, i, count, s.N_q);
            pack_transposed(count, s.E, dout, packed);
            multiply_packed(s.N_k, count, s.E, values, packed, dscores, {});  // dprobs^T = v dcontext^T
            prefetch_share(head_of(v, next_b, next_h), s.N_k, s.E, i, count, s.N_q);
            multiply_plain(s.N_k, s.E, count, probs, dout, dvalues, add);     // dv += probs^T dcontext
            for_each_block(count, PANEL, [&](ptrdiff_t j, ptrdiff_t n) {
                auto* run = n > LANES ? dscores_of_panel<2> : dscores_of_panel<1>;
                run(s.N_k, s.N_q, n, dscores.data + j, probs.data + j, step, first, bias_sum + i + j);
            });
            multiply_transposed(count, s.D, s.N_k, dscores, keys, dqueries.from(i), scaled);  // dq = scale dscores k
            multiply_plain(s.N_k, s.D, count, dscores, queries, dkeys, add_scaled);  // dk += scale dscores^T q
        });
    });
    add_groups(s.heads, groups.of_images, pairs, partial, dbias);
}

// --- step by step -------------------------------------------------------------------------------------------------------

// The same steps one at a time on all heads, for whoever wants to see what lies between them. They give the same bits.

// c (M, N) = scale a (M, K) b (N, K)^T: scores, and the gradient of probs
inline void heads_by_transposed(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                                float scale, PerHeadOut c) {
    Epilogue epilogue;
    epilogue.scale = scale;
    for_each_image_and_head({B, heads, B, 1}, [&](const Turn& turn) {
        const auto [image, h, group, first, next_b, next_h] = turn;
        float* packed = scratch(Scratch::task, packed_size(K, N));
        pack_transposed(N, K, head_of(b, image, h), packed);
        multiply_packed(M, N, K, head_of(a, image, h), packed, head_of(c, image, h), epilogue);
    });
}

// c (M, N) = scale a (M, K) b (K, N): context, and the gradient of q
inline void heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                           float scale, PerHeadOut c) {
    Epilogue epilogue;
    epilogue.scale = scale;
    for_each_image_and_head({B, heads, B, 1}, [&](const Turn& turn) {
        const auto [image, h, group, first, next_b, next_h] = turn;
        multiply_plain(M, N, K, head_of(a, image, h), head_of(b, image, h), head_of(c, image, h), epilogue);
    });
}

// c (M, N) = scale a (K, M)^T b (K, N): the gradients of v and k; K, the queries, in the blocks of attention_backward
inline void transposed_heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                      PerHead b, float scale, PerHeadOut c) {
    for_each_image_and_head({B, heads, B, 1}, [&](const Turn& turn) {
        const auto [image, h, group, first, next_b, next_h] = turn;
        for_each_block(K, queries_at_a_time(K, M), [&](ptrdiff_t k, ptrdiff_t rows) {
            Epilogue epilogue;
            epilogue.accumulate = k > 0;
            if (k + rows == K) epilogue.scale = scale;
            multiply_transposed(M, N, rows, head_of(a, image, h).from(k), head_of(b, image, h).from(k),
                                head_of(c, image, h), epilogue);
        });
    });
}

// dbias (heads, N_q, N_k) of dscores (B, heads, N_q, N_k)
inline void attention_backward_bias(const AttentionSizes& s, const float* dscores, float* dbias) {
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_q * s.N_k;
    float* partial = scratch(Scratch::packed, s.heads * groups.of_images * pairs);
    for_each_image_and_head(groups, [&](const Turn& turn) {
        const auto [b, h, group, first, next_b, next_h] = turn;
        const float* from = dscores + (b * s.heads + h) * pairs;
        float* sum = partial + (h * groups.of_images + group) * pairs;
        for_each_vector(pairs, [&](ptrdiff_t j, int lanes) {
            store(sum + j, first ? load(from + j, lanes) : load(sum + j, lanes) + load(from + j, lanes), lanes);
        });
    });
    add_groups(s.heads, groups.of_images, pairs, partial, dbias);
}

}  // namespace levit::LEVIT_ISA
