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
#pragma once

#include "ops/heads.h"
#include "ops/softmax.h"
#include "runtime/scratch.h"

namespace levit::LEVIT_ISA {

// --- forward ---------------------------------------------------------------------------------------------------------

// What the scores of one head are made from.
struct Scores {
    ptrdiff_t N_q, N_k, D;
    Rows q, k;
    const float* bias;  // (N_k, N_q), or null
    float scale;
};

inline Scores scores_at(Place p, const AttentionSizes& s, const PerHead& q, const PerHead& k, const float* bias,
                        float scale) {
    if (bias) bias += p.head * s.N_k * s.N_q;
    return {s.N_q, s.N_k, s.D, rows_at(p, q), rows_at(p, k), bias, scale};
}

// probs (N_k, count) of a block of queries; packed: room for their channels
inline void attention_probs(const Scores& s, Block block, float* packed, RowsOut probs) {
    Epilogue epilogue;
    epilogue.scale = s.scale;
    epilogue.addend = s.bias ? s.bias + block.first : nullptr;
    epilogue.addend_stride = s.N_q;
    pack_transposed(block.count, s.D, s.q.from(block.first), packed);
    multiply_packed(s.N_k, block.count, s.D, s.k, packed, probs, epilogue);
    for (ptrdiff_t i = 0; i < block.count; i += PANEL) {
        auto* softmax = block.count - i > LANES ? softmax_columns<2> : softmax_columns<1>;
        softmax(s.N_k, probs.data + i, probs.stride);
    }
}

inline void attention_forward(const AttentionSizes& s, PerHead q, PerHead k, PerHead v, const float* bias, float scale,
                              PerHeadOut context) {
    for_each_turn(groups_of(s), [&](const Turn& turn) {
        float* packed = scratch(Scratch::task, (s.D + s.N_k) * PANEL);
        const RowsOut probs{packed + s.D * PANEL, PANEL};
        const Scores scores = scores_at(turn.now, s, q, k, bias, scale);
        for_each_block(s.N_q, PANEL, [&](Block block) {
            prefetch_share(rows_at(turn.next, q), s.N_q, s.D, block, s.N_q);
            prefetch_share(rows_at(turn.next, k), s.N_k, s.D, block, s.N_q);
            attention_probs(scores, block, packed, probs);
            prefetch_share(rows_at(turn.next, v), s.N_k, s.E, block, s.N_q);
            const RowsOut out = rows_at(turn.now, context).from(block.first);
            multiply_transposed(block.count, s.E, s.N_k, probs, rows_at(turn.now, v), out, {});  // context = probs v
        });
    });
}

// --- backward --------------------------------------------------------------------------------------------------------

// Queries that are worked on at a time: so many panels that two arrays of (N_k, queries) leave the second-level cache
// room for the rest.
constexpr ptrdiff_t BLOCK_FLOATS = 24 * 1024;

inline ptrdiff_t queries_at_a_time(ptrdiff_t N_q, ptrdiff_t N_k) {
    const ptrdiff_t panels = ceil_div(N_q, PANEL), most = larger(1, BLOCK_FLOATS / (N_k * PANEL));
    return ceil_div(panels, ceil_div(panels, most)) * PANEL;
}

// dprobs to dscores in place, for VECS * LANES queries of which `count` exist. dscores is added to dbias, or its start.
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

// dbias (heads, pairs) from the sums of the groups of images, (heads, groups, pairs)
inline void add_groups(ptrdiff_t heads, ptrdiff_t groups, ptrdiff_t pairs, const float* partial, float* dbias) {
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

inline void attention_backward(const AttentionSizes& s, PerHead dcontext, PerHead q, PerHead k, PerHead v,
                               const float* bias, float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv,
                               float* dbias) {
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_k * s.N_q, step = queries_at_a_time(s.N_q, s.N_k);
    const ptrdiff_t packed_floats = larger(s.D, s.E) * step;
    float* partial = scratch(Scratch::packed, s.heads * groups.of_images * pairs);  // (heads, groups, N_k, N_q)

    for_each_turn(groups, [&](const Turn& turn) {
        float* packed = scratch(Scratch::task, packed_floats + 2 * s.N_k * step);
        const RowsOut probs{packed + packed_floats, step}, dscores{probs.data + s.N_k * step, step};
        float* dbias_here = partial + (turn.now.head * groups.of_images + turn.group) * pairs;
        const Scores scores = scores_at(turn.now, s, q, k, bias, scale);
        const RowsOut dqueries = rows_at(turn.now, dq), dkeys = rows_at(turn.now, dk), dvalues = rows_at(turn.now, dv);

        for_each_block(s.N_q, step, [&](Block block) {
            const ptrdiff_t first = block.first, count = block.count;
            const Rows queries = scores.q.from(first), dout = rows_at(turn.now, dcontext).from(first);
            Epilogue add, scaled, add_scaled;
            add.accumulate = add_scaled.accumulate = first > 0;
            scaled.scale = scale;
            if (first + count == s.N_q) add_scaled.scale = scale;  // the sum of all blocks, once

            prefetch_share(rows_at(turn.next, q), s.N_q, s.D, block, s.N_q);
            prefetch_share(rows_at(turn.next, k), s.N_k, s.D, block, s.N_q);
            attention_probs(scores, block, packed, probs);

            // dprobs^T = v dcontext^T, dv += probs^T dcontext
            prefetch_share(rows_at(turn.next, dcontext), s.N_q, s.E, block, s.N_q);
            pack_transposed(count, s.E, dout, packed);
            multiply_packed(s.N_k, count, s.E, rows_at(turn.now, v), packed, dscores, {});
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

}  // namespace levit::LEVIT_ISA
