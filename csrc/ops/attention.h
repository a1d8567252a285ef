// Attention: for every image and head, scores = scale q k^T + bias, probs = softmax of their rows, context = probs v.
//
// One task works on one head of a few images. It never holds more than a block of rows of scores: they are computed,
// normalised and used while the nearest cache has them. Nothing of size N x N is written to memory, so the backward pass
// computes the probabilities again, which costs less than reading them back.
//
// q, k and v are columns of one array in LeViT, the product of one linear layer, and are read where they lie; so are the
// gradients written. Only the small transposed factors are packed, k^T and v^T.
#pragma once

#include "gemm/gemm.h"
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

// f(first query, number of queries) for blocks of nearly equal size, whole tiles of rows of `width` floats.
constexpr ptrdiff_t NEAREST_CACHE = 6144;     // floats: most of a first-level cache of 32 KB
constexpr ptrdiff_t SECOND_CACHE = 24 * 1024; // floats: two blocks of it fill a quarter or so of the second level

template <class F>
inline void for_each_query_block(ptrdiff_t N_q, ptrdiff_t width, ptrdiff_t cache, F f) {
    const ptrdiff_t most = larger(1, cache / width / MAX_ROWS) * MAX_ROWS;
    const ptrdiff_t blocks = ceil_div(N_q, most);
    for (ptrdiff_t t = 0; t < blocks; ++t) {
        const ptrdiff_t i0 = N_q * t / blocks, i1 = N_q * (t + 1) / blocks;
        f(i0, i1 - i0);
    }
}

inline ptrdiff_t largest_query_block(ptrdiff_t N_q, ptrdiff_t width, ptrdiff_t cache) {
    return smaller(N_q, larger(1, cache / width / MAX_ROWS) * MAX_ROWS);
}

// Images of one head that follow each other in one task. Their number depends on the shapes alone, and so does the order
// in which the gradients of the bias are added up.
constexpr ptrdiff_t MOST_GROUPS = 8, IMAGES_IN_GROUP = 4;
constexpr ptrdiff_t PARTIAL_SUMS = 1 << 21;  // floats, 8 MB: what the groups' gradients of the bias may take up

inline ptrdiff_t image_groups(const AttentionSizes& s) {
    const ptrdiff_t bound = larger(1, PARTIAL_SUMS / (s.heads * s.N_q * s.N_k));
    return smaller(smaller(MOST_GROUPS, bound), ceil_div(s.B, IMAGES_IN_GROUP));
}

// f(head, group, first image, end) on all threads. The images of one head are worked on in turn: its bias stays in the cache.
template <class F>
inline void for_each_group(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t groups, F f) {
    auto task = [&](ptrdiff_t t) {
        const ptrdiff_t head = t / groups, g = t % groups;
        f(head, g, B * g / groups, B * (g + 1) / groups);
    };
    parallel_for(heads * groups, task);
}

// --- forward ------------------------------------------------------------------------------------------------------------

// probs (rows, N_k) of some queries, from packed keys.
inline void attention_probs(ptrdiff_t rows, ptrdiff_t N_k, ptrdiff_t D, Rows q, const float* keys, const float* bias,
                            float scale, RowsOut probs) {
    Epilogue epilogue;
    epilogue.scale = scale;
    epilogue.addend = bias;
    epilogue.addend_stride = N_k;
    multiply_packed(rows, N_k, D, q, keys, probs, epilogue);
    softmax_rows(rows, N_k, probs.data, probs.stride, probs.data, probs.stride);
}

inline void attention_forward(const AttentionSizes& s, PerHead q, PerHead k, PerHead v, const float* bias, float scale,
                              PerHeadOut context) {
    const ptrdiff_t width = padded_columns(s.N_k), block = largest_query_block(s.N_q, width, NEAREST_CACHE);
    for_each_group(s.B, s.heads, image_groups(s), [&](ptrdiff_t h, ptrdiff_t, ptrdiff_t b0, ptrdiff_t b1) {
        float* keys = scratch(Scratch::task, packed_size(s.D, s.N_k) + block * width);
        const RowsOut probs{keys + packed_size(s.D, s.N_k), width};
        for (ptrdiff_t b = b0; b < b1; ++b) {
            const Rows qs = head_of(q, b, h), vs = head_of(v, b, h);
            const RowsOut out = head_of(context, b, h);
            pack_transposed(s.N_k, s.D, head_of(k, b, h), keys);
            for_each_query_block(s.N_q, width, NEAREST_CACHE, [&](ptrdiff_t i, ptrdiff_t rows) {
                const float* to_add = bias ? bias + (h * s.N_q + i) * s.N_k : nullptr;
                attention_probs(rows, s.N_k, s.D, qs.from(i), keys, to_add, scale, probs);
                multiply_plain(rows, s.E, s.N_k, probs, vs, out.from(i), {});
            });
        }
    });
}

// --- backward -----------------------------------------------------------------------------------------------------------

// dbias (heads, N_q, N_k) from the sums of the groups of images, (heads, groups, N_q, N_k)
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

inline void attention_backward(const AttentionSizes& s, PerHead dcontext, PerHead q, PerHead k, PerHead v,
                               const float* bias, float scale, PerHeadOut dq, PerHeadOut dk, PerHeadOut dv, float* dbias) {
    const ptrdiff_t width = padded_columns(s.N_k), block = largest_query_block(s.N_q, width, SECOND_CACHE);
    const ptrdiff_t groups = image_groups(s), pairs = s.N_q * s.N_k;
    float* partial = scratch(Scratch::packed, s.heads * groups * pairs);  // (heads, groups, N_q, N_k)

    for_each_group(s.B, s.heads, groups, [&](ptrdiff_t h, ptrdiff_t g, ptrdiff_t b0, ptrdiff_t b1) {
        const ptrdiff_t sizes[] = {packed_size(s.D, s.N_k), packed_size(s.E, s.N_k), block * width};
        float* keys = scratch(Scratch::task, sizes[0] + sizes[1] + 2 * sizes[2]);
        float* values = keys + sizes[0];
        const RowsOut probs{values + sizes[1], width}, dscores{probs.data + sizes[2], width};
        float* bias_sum = partial + (h * groups + g) * pairs;

        for (ptrdiff_t b = b0; b < b1; ++b) {
            const Rows qs = head_of(q, b, h), ks = head_of(k, b, h), dcs = head_of(dcontext, b, h);
            const RowsOut dqs = head_of(dq, b, h), dks = head_of(dk, b, h), dvs = head_of(dv, b, h);
            pack_transposed(s.N_k, s.D, ks, keys);
            pack_transposed(s.N_k, s.E, head_of(v, b, h), values);
            for_each_query_block(s.N_q, width, SECOND_CACHE, [&](ptrdiff_t i, ptrdiff_t rows) {
                const Rows q_block = qs.from(i), dc_block = dcs.from(i);
                const float* to_add = bias ? bias + (h * s.N_q + i) * s.N_k : nullptr;
                attention_probs(rows, s.N_k, s.D, q_block, keys, to_add, scale, probs);

                Epilogue add, scaled, add_scaled;
                add.accumulate = add_scaled.accumulate = i > 0;
                scaled.scale = scale;
                if (i + rows == s.N_q) add_scaled.scale = scale;  // the sum of all blocks, once

                multiply_packed(rows, s.N_k, s.E, dc_block, values, dscores, {});           // dprobs = dcontext v^T
                multiply_transposed(s.N_k, s.E, rows, probs, dc_block, dvs, add);           // dv += probs^T dcontext
                softmax_rows_backward(rows, s.N_k, dscores.data, probs.data, width,
                                      [&](ptrdiff_t r, ptrdiff_t j, int lanes, vf dx) {
                    store(dscores.data + r * width + j, dx, lanes);
                    float* sum = bias_sum + (i + r) * s.N_k + j;
                    store(sum, b == b0 ? dx : load(sum, lanes) + dx, lanes);
                });
                multiply_plain(rows, s.D, s.N_k, dscores, ks, dqs.from(i), scaled);  // dq = scale dscores k
                multiply_transposed(s.N_k, s.D, rows, dscores, q_block, dks, add_scaled);         // dk += scale dscores^T q
            });
        }
    });

    add_groups(s.heads, groups, pairs, partial, dbias);
}

// --- step by step -------------------------------------------------------------------------------------------------------

// The same steps one at a time on all heads, for whoever wants to see what lies between them. They give the same bits.

// c (M, N) = scale a (M, K) b (N, K)^T: scores, and the gradient of probs
inline void heads_by_transposed(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a, PerHead b,
                                float scale, PerHeadOut c) {
    Epilogue epilogue;
    epilogue.scale = scale;
    for_each_group(B, heads, B, [&](ptrdiff_t h, ptrdiff_t, ptrdiff_t image, ptrdiff_t) {
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
    for_each_group(B, heads, B, [&](ptrdiff_t h, ptrdiff_t, ptrdiff_t image, ptrdiff_t) {
        multiply_plain(M, N, K, head_of(a, image, h), head_of(b, image, h), head_of(c, image, h), epilogue);
    });
}

// c (M, N) = scale a (K, M)^T b (K, N): the gradients of v and k; K, the queries, in the blocks of attention_backward
inline void transposed_heads_by_plain(ptrdiff_t B, ptrdiff_t heads, ptrdiff_t M, ptrdiff_t N, ptrdiff_t K, PerHead a,
                                      PerHead b, float scale, PerHeadOut c) {
    for_each_group(B, heads, B, [&](ptrdiff_t h, ptrdiff_t, ptrdiff_t image, ptrdiff_t) {
        for_each_query_block(K, padded_columns(M), SECOND_CACHE, [&](ptrdiff_t k, ptrdiff_t rows) {
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
    const ptrdiff_t groups = image_groups(s), pairs = s.N_q * s.N_k;
    float* partial = scratch(Scratch::packed, s.heads * groups * pairs);
    for_each_group(s.B, s.heads, groups, [&](ptrdiff_t h, ptrdiff_t g, ptrdiff_t b0, ptrdiff_t b1) {
        for_each_vector(pairs, [&](ptrdiff_t j, int lanes) {
            const auto at = [&](ptrdiff_t b) { return load(dscores + (b * s.heads + h) * pairs + j, lanes); };
            vf total = at(b0);
            for (ptrdiff_t b = b0 + 1; b < b1; ++b) total = total + at(b);
            store(partial + (h * groups + g) * pairs + j, total, lanes);
        });
    });
    add_groups(s.heads, groups, pairs, partial, dbias);
}

}  // namespace levit::LEVIT_ISA
