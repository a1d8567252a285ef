// The steps of attention one at a time, each for all heads, for whoever wants to see what lies between them. They add
// up in the same order as the fused kernels, and so give the same bits: looking changes nothing.
#pragma once

#include "ops/attention.h"

namespace levit::LEVIT_ISA {

// f(place) for every image and head
template <class F>
inline void for_each_place(ptrdiff_t B, ptrdiff_t heads, F f) {
    auto task = [&](ptrdiff_t t) { f(Place{t / heads, t % heads}); };
    parallel_for(B * heads, task);
}

// c (M, N) = scale a (M, K) b (N, K)^T: scores, and the gradient of probs
inline void heads_by_transposed(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                PerHead b, float scale, PerHeadOut c) {
    Epilogue epilogue;
    epilogue.scale = scale;
    for_each_place(B, heads, [&](Place p) {
        float* packed = scratch(Scratch::task, packed_size(K, N));
        pack_transposed(N, K, rows_at(p, b), packed);
        multiply_packed(M, N, K, rows_at(p, a), packed, rows_at(p, c), epilogue);
    });
}

// c (M, N) = scale a (M, K) b (K, N): context, and the gradient of q
inline void heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                           float scale, PerHeadOut c) {
    Epilogue epilogue;
    epilogue.scale = scale;
    for_each_place(B, heads, [&](Place p) {
        multiply_plain(M, N, K, rows_at(p, a), rows_at(p, b), rows_at(p, c), epilogue);
    });
}

// c (M, N) = scale a (K, M)^T b (K, N): the gradients of v and k; K, the queries, in the blocks of attention_backward
inline void transposed_heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                      PerHead b, float scale, PerHeadOut c) {
    for_each_place(B, heads, [&](Place p) {
        for_each_block(K, queries_at_a_time(K, M), [&](Block block) {
            Epilogue epilogue;
            epilogue.accumulate = block.first > 0;
            if (block.first + block.count == K) epilogue.scale = scale;
            multiply_transposed(M, N, block.count, rows_at(p, a).from(block.first), rows_at(p, b).from(block.first),
                                rows_at(p, c), epilogue);
        });
    });
}

// dbias (heads, N_q, N_k) of dscores (B, heads, N_q, N_k)
inline void attention_backward_bias(const AttentionSizes& s, const float* dscores, float* dbias) {
    const Groups groups = groups_of(s);
    const ptrdiff_t pairs = s.N_q * s.N_k;
    float* partial = scratch(Scratch::packed, s.heads * groups.of_images * pairs);
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

}  // namespace levit::LEVIT_ISA
