// How a matrix product gets fast: C (M, N) = A (M, K) B (K, N), all row-major, eight times, each with one idea more than the
// one before. benchmarks/gemm_steps.py compiles this file, checks every step against NumPy, and times it.
//
// It is compiled twice: with the compiler's automatic vectorisation switched off, so that every step shows its own idea
// and nothing else, and with the flags of the package, to see how far the compiler gets by itself.
#include "gemm/gemm.h"

using namespace levit::LEVIT_ISA;

namespace {

using Size = ptrdiff_t;

// 1. The definition. For each value of C, B is read down a column: every step of k is a whole row of B further on, in
// another cache line, of which one float is used. And each addition waits for the one before.
void naive(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    for (Size i = 0; i < M; ++i)
        for (Size j = 0; j < N; ++j) {
            float sum = 0;
            for (Size k = 0; k < K; ++k) sum += A[i * K + k] * B[k * N + j];
            C[i * N + j] = sum;
        }
}

// 2. The two inner loops change places: now B and C are read along their rows, whole cache lines at a time, and the
// additions of one round have nothing to do with each other. In exchange, C is loaded and stored at every step.
void rows_first(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    for (Size i = 0; i < M; ++i) {
        for (Size j = 0; j < N; ++j) C[i * N + j] = 0;
        for (Size k = 0; k < K; ++k) {
            const float a = A[i * K + k];
            for (Size j = 0; j < N; ++j) C[i * N + j] += a * B[k * N + j];
        }
    }
}

// 3. Cache blocking: a block of B that the first-level cache holds (64 x 64 floats, 16 KB) meets all rows of A before the
// next block is looked at. Before, each row of A walked through all of B.
void blocked(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    constexpr Size BLOCK = 64;
    for (Size i = 0; i < M * N; ++i) C[i] = 0;
    for (Size k0 = 0; k0 < K; k0 += BLOCK)
        for (Size j0 = 0; j0 < N; j0 += BLOCK) {
            const Size k1 = smaller(k0 + BLOCK, K), j1 = smaller(j0 + BLOCK, N);
            for (Size i = 0; i < M; ++i)
                for (Size k = k0; k < k1; ++k) {
                    const float a = A[i * K + k];
                    for (Size j = j0; j < j1; ++j) C[i * N + j] += a * B[k * N + j];
                }
        }
}

// 4. Registers: a tile of C, ROWS x COLUMNS, is summed up in local variables over the whole depth and stored once. Each
// value of A is used for COLUMNS products and each of B for ROWS, instead of one load or two for each product.
template <Size ROWS, Size COLUMNS>
inline void scalar_tile(Size K, const float* a, Size a_stride, const float* b, Size b_stride, float* c, Size c_stride) {
    float sum[ROWS][COLUMNS] = {};
    for (Size k = 0; k < K; ++k)
#pragma GCC unroll 16
        for (Size i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
            for (Size j = 0; j < COLUMNS; ++j) sum[i][j] += a[i * a_stride + k] * b[k * b_stride + j];
    for (Size i = 0; i < ROWS; ++i)
        for (Size j = 0; j < COLUMNS; ++j) c[i * c_stride + j] = sum[i][j];
}

// Calls tile(i, j) for all tiles of C, one strip of columns after the other: a strip of B is used for all rows.
template <Size ROWS, Size COLUMNS, class Tile>
inline void for_each_tile(Size M, Size N, Tile tile) {
    for (Size j = 0; j < N; j += COLUMNS)
        for (Size i = 0; i < M; i += ROWS) tile(i, j);
}

void registers(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    for_each_tile<4, 4>(M, N, [&](Size i, Size j) { scalar_tile<4, 4>(K, A + i * K, K, B + j, N, C + i * N + j, N); });
}

// 5. Packing: a strip of B is copied to where its rows follow each other without a gap. A walk down the strip then reads
// one contiguous run of memory; before, each of its rows lay in another cache line, and often on another page.
template <Size COLUMNS>
inline void pack(Size K, Size N, const float* B, float* packed) {
    for (Size j = 0; j < N; j += COLUMNS)
        for (Size k = 0; k < K; ++k)
            for (Size c = 0; c < COLUMNS; ++c) *packed++ = B[k * N + j + c];
}

float* work(Size floats) {
    static float* memory = nullptr;
    static Size size = 0;
    if (floats > size) {
        delete[] memory;
        memory = new float[size = floats];
    }
    return memory;
}

void packed(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    float* P = work(K * N);
    pack<4>(K, N, B, P);
    for_each_tile<4, 4>(M, N, [&](Size i, Size j) { scalar_tile<4, 4>(K, A + i * K, K, P + K * j, 4, C + i * N + j, N); });
}

// 6. Vectors: the same tile, but each of its entries is a vector of LANES floats, and multiplication and addition are one
// instruction, rounded once.
template <Size ROWS, Size VECS>
inline void vector_tile(Size K, const float* a, Size a_stride, const float* b, float* c, Size c_stride) {
    vf sum[ROWS][VECS] = {};
    for (Size k = 0; k < K; ++k, b += VECS * LANES)
#pragma GCC unroll 16
        for (Size i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
            for (Size v = 0; v < VECS; ++v)
                sum[i][v] = fma(broadcast(a[i * a_stride + k]), load(b + v * LANES), sum[i][v]);
    for (Size i = 0; i < ROWS; ++i)
        for (Size v = 0; v < VECS; ++v) store(c + i * c_stride + v * LANES, sum[i][v]);
}

template <Size ROWS, Size VECS>
inline void vector_product(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    constexpr Size COLUMNS = VECS * LANES;
    float* P = work(K * N);
    pack<COLUMNS>(K, N, B, P);
    for_each_tile<ROWS, COLUMNS>(
        M, N, [&](Size i, Size j) { vector_tile<ROWS, VECS>(K, A + i * K, K, P + K * j, C + i * N + j, N); });
}

void vectors(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    vector_product<2, 1>(M, N, K, A, B, C);
}

// 7. A tile that fills the registers. Two sums in flight, as above, leave the multipliers waiting: a result takes
// four cycles, and as many times more sums have to be under way. The tile's size is also the number of
// products for each load.
void large_tile(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    vector_product<8, 2>(M, N, K, A, B, C);
}

// 8. The package's own: the tile as large as the registers allow, rows and columns of any number, what comes next fetched
// ahead of time, in row blocks that the second-level cache holds. See csrc/gemm.
void micro_kernels(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    float* P = work(packed_size(K, N));
    for (Size j = 0; j < N; j += PANEL) pack_panel_of_rows(K, N, j, B, N, P + K * j);
    constexpr Size ROW_BLOCK = 8 * MAX_ROWS;
    for (Size i = 0; i < M; i += ROW_BLOCK)
        multiply<Layout::rows, Panels::packed>(smaller(ROW_BLOCK, M - i), N, {K}, {A + i * K, K, 0}, {P, 0, 0}, C + i * N,
                                               N, {});
}

using Product = void (*)(Size, Size, Size, const float*, const float*, float*);
constexpr Product STEPS[] = {naive, rows_first, blocked, registers, packed, vectors, large_tile, micro_kernels};

}  // namespace

extern "C" __attribute__((visibility("default"))) void run_step(int step, Size M, Size N, Size K, const float* A,
                                                                const float* B, float* C) {
    STEPS[step](M, N, K, A, B, C);
}
