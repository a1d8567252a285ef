// How a matrix product gets fast: C (M, N) = A (M, K) B (K, N), all row-major, nine times, each with one idea more than the
// one before. benchmarks/gemm_steps.py compiles this file, checks every step against NumPy, and times it.
//
// It is compiled twice: with the compiler's automatic vectorisation switched off, so that every step shows its own idea
// and nothing else, and with the flags of the package, to see how far the compiler gets by itself.
#include "gemm/gemm.h"
#include "simd/blocks.h"

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

// 3. Cache blocking, as textbooks have it next: a block of B that the first-level cache holds (64 x 64 floats, 16 KB)
// meets all rows of A before the next block is looked at. The loops got shorter and C is passed over more often; what was
// to be gained, B from a nearer cache, is not missed as long as the arithmetic is this slow. It comes back as step 8.
void blocked_too_early(Size M, Size N, Size K, const float* A, const float* B, float* C) {
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

// 4. Registers: a tile of C, 4 x 4, is summed up in local variables over the whole depth and stored once. A round of k
// loads 8 values for 16 products, where step 2 had two loads and a store for each.
void registers(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    constexpr Size ROWS = 4, COLUMNS = 4;
    for (Size j = 0; j < N; j += COLUMNS)
        for (Size i = 0; i < M; i += ROWS) {
            float sum[ROWS][COLUMNS] = {};
            for (Size k = 0; k < K; ++k)
#pragma GCC unroll 16
                for (Size r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
                    for (Size c = 0; c < COLUMNS; ++c) sum[r][c] += A[(i + r) * K + k] * B[k * N + j + c];
            for (Size r = 0; r < ROWS; ++r)
                for (Size c = 0; c < COLUMNS; ++c) C[(i + r) * N + j + c] = sum[r][c];
        }
}

// One tile of C whose entries are vectors: VECS vectors of B for each k, b_stride floats apart from k to k + 1.
template <Size ROWS, Size VECS>
inline void vector_tile(Size N, Size K, const float* a, const float* b, Size b_stride, float* c) {
    vf sum[ROWS][VECS] = {};
    for (Size k = 0; k < K; ++k, b += b_stride)
#pragma GCC unroll 16
        for (Size r = 0; r < ROWS; ++r)
#pragma GCC unroll 16
            for (Size v = 0; v < VECS; ++v) sum[r][v] = fma(broadcast(a[r * K + k]), load(b + v * LANES), sum[r][v]);
    for (Size r = 0; r < ROWS; ++r)
        for (Size v = 0; v < VECS; ++v) store(c + r * N + v * LANES, sum[r][v]);
}

// 5. Vectors: the same with 4 x 1 vectors. One instruction multiplies and adds LANES floats.
void vectors(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    for (Size j = 0; j < N; j += LANES)
        for (Size i = 0; i < M; i += 4) vector_tile<4, 1>(N, K, A + i * K, B + j, N, C + i * N + j);
}

// 6. A larger tile. A multiply-add takes four cycles, and two can be begun in each: with only four sums in flight the next
// round often waits for the one before. And 8 x 2 vectors need 10 loads for 16 products, 4 x 1 needed 5 for 4.
void larger_tile(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    for (Size j = 0; j < N; j += 2 * LANES)
        for (Size i = 0; i < M; i += 8) vector_tile<8, 2>(N, K, A + i * K, B + j, N, C + i * N + j);
}

// B in panels of 2 vectors' width, each of them one contiguous run of memory. csrc/gemm/pack.h says more.
const float* packed_panels(Size N, Size K, const float* B) {
    static float* memory = nullptr;
    static Size size = 0;
    if (packed_size(K, N) > size) {
        delete[] memory;
        memory = new float[size = packed_size(K, N)];
    }
    for (Size j = 0; j < N; j += PANEL) pack_panel_of_rows(K, N, j, B, N, memory + K * j);
    return memory;
}

// 7. Packing. So far each row of the strip of B that a tile walks down lay in a cache line, and often on a page, of its own.
void packed(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    const float* P = packed_panels(N, K, B);
    for (Size j = 0; j < N; j += PANEL)
        for (Size i = 0; i < M; i += 8) vector_tile<8, 2>(N, K, A + i * K, P + K * j, PANEL, C + i * N + j);
}

constexpr Size ROW_BLOCK = 8 * 14;  // rows of A: 112 KB at K = 256

// 8. Cache blocking, where it pays: as many rows of A as the second-level cache holds meet all panels of B before the next
// ones are looked at. Before, every panel made the whole of A come from further away again.
void row_blocks(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    const float* P = packed_panels(N, K, B);
    for (Size i0 = 0; i0 < M; i0 += ROW_BLOCK)
        for (Size j = 0; j < N; j += PANEL)
            for (Size i = i0; i < smaller(i0 + ROW_BLOCK, M); i += 8)
                vector_tile<8, 2>(N, K, A + i * K, P + K * j, PANEL, C + i * N + j);
}

// 9. The package's own loops and micro-kernels: the tile as large as the registers allow (14 x 2 with AVX-512), any number
// of rows and columns, the next rows and the tile of C fetched ahead of time. See csrc/gemm.
void micro_kernels(Size M, Size N, Size K, const float* A, const float* B, float* C) {
    const float* P = packed_panels(N, K, B);
    for (Size i = 0; i < M; i += ROW_BLOCK)
        multiply(smaller(ROW_BLOCK, M - i), {K}, {A + i * K, K}, PackedB{P, K, N}, {C + i * N, N}, ScaledSum{});
}

using Product = void (*)(Size, Size, Size, const float*, const float*, float*);
constexpr Product STEPS[] = {naive,       rows_first, blocked_too_early, registers,    vectors,
                             larger_tile, packed,     row_blocks,        micro_kernels};

}  // namespace

extern "C" __attribute__((visibility("default"))) void run_step(int step, Size M, Size N, Size K, const float* A,
                                                                const float* B, float* C) {
    STEPS[step](M, N, K, A, B, C);
}
