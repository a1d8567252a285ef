// Attention: for every image and head, scores = scale q k^T + bias, probs = softmax over the keys, context = probs v.
//
// Scores are held for a few dozen queries of one head at a time: computed, normalised and used while a near cache has
// them. Nothing of size N x N is written to memory, so the backward pass computes the probabilities again. Keeping them
// would save 6 to 18 % of the time of both passes on one thread, and cost 8 MB a layer for 128 pictures of 64 tokens.
//
// Scores are kept transposed, (N_k, queries): each lane of a vector has a query, and softmax goes down the keys. So the
// bias is taken, and its gradient given, as (heads, N_k, N_q).
//
// q, k and v are columns of one array in LeViT, the product of one linear layer, and are read where they lie; so are
// the gradients written. Only the small transposed factors are packed, q^T and dcontext^T.
#include "ops/attention.h"

#include "ops/attention_heads.h"
#include "ops/softmax_columns.h"
#include "runtime/scratch.h"

namespace levit::LEVIT_ISA {
namespace {

// --- forward ---------------------------------------------------------------------------------------------------------

// What the scores of one head are made from.
struct Scores {
    ptrdiff_t N_q, N_k, D;
    Rows q, k;
    const float* bias;  // (N_k, N_q), or null
    float scale;
};

Scores scores_at(Place p, const AttentionSizes& s, const PerHead& q, const PerHead& k, const float* bias,
                        float scale) {
    if (bias) bias += p.head * s.N_k * s.N_q;
    return {s.N_q, s.N_k, s.D, rows_at(p, q), rows_at(p, k), bias, scale};
}

// probs (N_k, queries) of a block of queries; memory: room for their channels, packed
void attention_probs(const Scores& s, Range queries, float* memory, RowsOut probs) {
    const float* bias = s.bias ? s.bias + queries.start : nullptr;
    const PackedB q = pack_transposed(s.D, queries.size(), s.q.from(queries.start), memory);
    multiply_packed(s.N_k, s.k, q, probs, {.scale = s.scale, .addend = bias, .addend_stride = s.N_q});
    for (ptrdiff_t i = 0; i < queries.size(); i += PANEL) {
        auto* softmax = queries.size() - i > LANES ? softmax_columns<2> : softmax_columns<1>;
        softmax(s.N_k, probs.data + i, probs.stride);
    }
}

void attention_forward(const AttentionSizes& s, PerHead q, PerHead k, PerHead v, const float* bias, float scale,
                              PerHeadOut context) {
    for_each_turn(groups_of(s), [&](const Turn& turn) {
        thread_local Scratch memory;
        float* packed = memory.take<float>((s.D + s.N_k) * PANEL);
        const RowsOut probs{packed + s.D * PANEL, PANEL};
        const Scores scores = scores_at(turn.now, s, q, k, bias, scale);
        for_each_query_block(s.N_q, PANEL, [&](Range queries) {
            prefetch_share(rows_at(turn.next, q), s.N_q, s.D, queries, s.N_q);
            prefetch_share(rows_at(turn.next, k), s.N_k, s.D, queries, s.N_q);
            attention_probs(scores, queries, packed, probs);
            prefetch_share(rows_at(turn.next, v), s.N_k, s.E, queries, s.N_q);
            const RowsOut out = rows_at(turn.now, context).from(queries.start);
            multiply_transposed(queries.size(), s.E, s.N_k, probs, rows_at(turn.now, v), out, {});  // context = probs v
        });
    });
}

// --- backward --------------------------------------------------------------------------------------------------------

// Queries that are worked on at a time: as many panels as leave room in the second-level cache beside two arrays of
// (N_k, queries).
constexpr ptrdiff_t BLOCK_FLOATS = 24 * 1024;

ptrdiff_t queries_at_a_time(ptrdiff_t N_q, ptrdiff_t N_k) {
    const ptrdiff_t panels = ceil_div(N_q, PANEL), most = larger(1, BLOCK_FLOATS / (N_k * PANEL));
    return ceil_div(panels, ceil_div(panels, most)) * PANEL;
}

// dprobs to dscores in place, for VECS * LANES queries of which `count` exist. dscores is added to dbias, or its start.
template <int VECS>
void dscores_of_panel(ptrdiff_t N_k, ptrdiff_t N_q, ptrdiff_t count, float* dprobs, const float* probs,
                             ptrdiff_t stride, bool first, float* dbias) {
    softmax_columns_backward<VECS>(N_k, dprobs, probs, stride, [&](ptrdiff_t k, int v, vf dscore) {
        store(dprobs + k * stride + v * LANES, dscore);
        const int lanes = static_cast<int>(smaller(LANES, count - v * LANES));
        float* sum = dbias + k * N_q + v * LANES;
        store(sum, first ? dscore : load(sum, lanes) + dscore, lanes);
    });
}

// Memory for the sums of the groups of images, (heads, groups, pairs).
float* memory_for_bias_sums(const Groups& groups, ptrdiff_t pairs) {
    thread_local Scratch memory;
    return memory.take<float>(groups.heads * groups.of_images * pairs);
}

// dbias (heads, pairs) from them
void add_groups(ptrdiff_t heads, ptrdiff_t groups, ptrdiff_t pairs, const float* partial, float* dbias) {
    auto head = [&](ptrdiff_t h) {
        const float* sums = partial + h * groups * pairs;
        for_each_vector(pairs, [&](ptrdiff_t j, int lanes) {
            vf total = load(sums + j, lanes);
            for (ptrdiff_t g = 1; g < groups; ++g) total = total + load(sums + g * pairs + j, lanes);
            store(dbias + h * pairs + j, total, lanes);
        });
    };
    parallel_for(heads, head);
}

void attention_backward(const AttentionSizes& s, PerHead dcontext, PerHead q, PerHead k, PerHead v,
                               const float* bias, float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv,
                               float* dbias) {
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_k * s.N_q, step = queries_at_a_time(s.N_q, s.N_k);
    const ptrdiff_t packed_floats = larger(s.D, s.E) * step;
    float* partial = memory_for_bias_sums(groups, pairs);  // (heads, groups, N_k, N_q)

    for_each_turn(groups, [&](const Turn& turn) {
        thread_local Scratch memory;
        float* packed = memory.take<float>(packed_floats + 2 * s.N_k * step);
        const RowsOut probs{packed + packed_floats, step}, dscores{probs.data + s.N_k * step, step};
        float* dbias_here = partial + (turn.now.head * groups.of_images + turn.group) * pairs;
        const Scores scores = scores_at(turn.now, s, q, k, bias, scale);
        const RowsOut dqueries = rows_at(turn.now, dq), dkeys = rows_at(turn.now, dk), dvalues = rows_at(turn.now, dv);

        for_each_query_block(s.N_q, step, [&](Range block) {
            const ptrdiff_t first = block.start, count = block.size();
            const Rows queries = scores.q.from(first), dout = rows_at(turn.now, dcontext).from(first);
            const bool last = block.end == s.N_q;
            const ScaledSum add{.accumulate = first > 0}, scaled{.scale = scale};
            const ScaledSum add_scaled{.accumulate = first > 0, .scale = last ? scale : 1};  // the sum of all blocks, once

            prefetch_share(rows_at(turn.next, q), s.N_q, s.D, block, s.N_q);
            prefetch_share(rows_at(turn.next, k), s.N_k, s.D, block, s.N_q);
            attention_probs(scores, block, packed, probs);

            // dprobs^T = v dcontext^T, dv += probs^T dcontext
            prefetch_share(rows_at(turn.next, dcontext), s.N_q, s.E, block, s.N_q);
            multiply_packed(s.N_k, rows_at(turn.now, v), pack_transposed(s.E, count, dout, packed), dscores, {});
            prefetch_share(rows_at(turn.next, v), s.N_k, s.E, block, s.N_q);
            multiply_plain(s.N_k, s.E, count, probs, dout, dvalues, add);

            for (ptrdiff_t i = 0; i < count; i += PANEL) {
                auto* softmax_backward = count - i > LANES ? dscores_of_panel<2> : dscores_of_panel<1>;
                softmax_backward(s.N_k, s.N_q, count - i, dscores.data + i, probs.data + i, step, turn.first,
                                 dbias_here + first + i);
            }

            // dq = scale dscores k, dk += scale dscores^T q
            multiply_transposed(count, s.D, s.N_k, dscores, scores.k, dqueries.from(first), scaled);
            multiply_plain(s.N_k, s.D, count, dscores, queries, dkeys, add_scaled);
        });
    });
    add_groups(s.heads, groups.of_images, pairs, partial, dbias);
}

// --- step by step --------------------------------------------------------------------------------------------------
//
// The steps of attention one at a time, each for all heads, so that their results can be looked at. They add up in the same
// order as the fused kernels, and so give the same bits: looking changes nothing.

// f(place) for every image and head
template <class F>
inline void for_each_place(ptrdiff_t B, ptrdiff_t heads, F f) {
    auto task = [&](ptrdiff_t t) { f(Place{t / heads, t % heads}); };
    parallel_for(B * heads, task);
}

// c (M, N) = scale a (M, K) b (N, K)^T: scores, and the gradient of probs
void heads_by_transposed(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                PerHead b, float scale, PerHeadOut c) {
    for_each_place(B, heads, [&](Place p) {
        thread_local Scratch memory;
        const PackedB packed = pack_transposed(K, N, rows_at(p, b), memory.take<float>(packed_size(K, N)));
        multiply_packed(M, rows_at(p, a), packed, rows_at(p, c), {.scale = scale});
    });
}

// c (M, N) = scale a (M, K) b (K, N): context, and the gradient of q
void heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                           float scale, PerHeadOut c) {
    for_each_place(B, heads, [&](Place p) {
        multiply_plain(M, N, K, rows_at(p, a), rows_at(p, b), rows_at(p, c), {.scale = scale});
    });
}

// c (M, N) = scale a (K, M)^T b (K, N): the gradients of v and k; K, the queries, in the blocks of attention_backward
void transposed_heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                      PerHead b, float scale, PerHeadOut c) {
    for_each_place(B, heads, [&](Place p) {
        for_each_query_block(K, queries_at_a_time(K, M), [&](Range block) {
            const ScaledSum epilogue{.accumulate = block.start > 0, .scale = block.end == K ? scale : 1};
            multiply_transposed(M, N, block.size(), rows_at(p, a).from(block.start), rows_at(p, b).from(block.start),
                                rows_at(p, c), epilogue);
        });
    });
}

// dbias (heads, N_q, N_k) of dscores (B, heads, N_q, N_k)
void attention_backward_bias(const AttentionSizes& s, const float* dscores, float* dbias) {
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_q * s.N_k;
    float* partial = memory_for_bias_sums(groups, pairs);
    for_each_turn(groups, [&](const Turn& turn) {
        const float* from = dscores + (turn.now.image * s.heads + turn.now.head) * pairs;
        float* sum = partial + (turn.now.head * groups.of_images + turn.group) * pairs;
        for_each_vector(pairs, [&](ptrdiff_t j, int lanes) {
            const vf dscore = load(from + j, lanes);
            store(sum + j, turn.first ? dscore : load(sum + j, lanes) + dscore, lanes);
        });
    });
    add_groups(s.heads, groups.of_images, pairs, partial, dbias);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const AttentionKernels AttentionKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::attention_forward,
    .backward = LEVIT_ISA::attention_backward,
    .heads_by_transposed = LEVIT_ISA::heads_by_transposed,
    .heads_by_plain = LEVIT_ISA::heads_by_plain,
    .transposed_heads_by_plain = LEVIT_ISA::transposed_heads_by_plain,
    .backward_bias = LEVIT_ISA::attention_backward_bias,
};

}  // namespace levit
