// One float vector of the machine's width, and the few things a kernel does with it.
//
// Kernels are written once against this file and compiled once for each instruction set; the width, LANES, follows from
// the compiler's flags. Arithmetic (+ - * /) and comparisons are the compiler's own, on a vector type of GCC and Clang;
// what they cannot express (unaligned and partial access, fused multiply-add, minimum and maximum) is below.
//
// Everything lives in a namespace named after the instruction set, and nothing here may use the standard library's
// templates: a function that two instruction sets share by name would be merged by the linker, and the AVX-512 copy
// could then run on a machine that has no AVX-512.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sanitizers.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef LEVIT_ISA
#error "compile with -DLEVIT_ISA=<name>: see setup.py"
#endif

namespace levit::LEVIT_ISA {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float vf __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t vi __attribute__((vector_size(LANES * sizeof(int32_t))));
// At any address. (By the rules of both compilers, a vector may alias what floats it is made of.)
typedef float vf_unaligned __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

inline vf load(const float* p) { return *reinterpret_cast<const vf_unaligned*>(p); }
inline void store(float* p, vf x) { *reinterpret_cast<vf_unaligned*>(p) = x; }
inline vf broadcast(float x) { return x - vf{}; }  // x - 0 is x, and the compiler knows it; -0 + 0 would be 0
inline vf zero() { return vf{}; }

#if defined(__AVX512F__)
inline __mmask16 lanes_below(int n) { return static_cast<__mmask16>((1u << n) - 1); }
#elif defined(__AVX2__)
inline vi lanes_below(int n) { return vi{0, 1, 2, 3, 4, 5, 6, 7} < n; }  // all bits set where true
#else
inline vi lanes_below(int n) { return vi{0, 1, 2, 3} < n; }
#endif

// The first n lanes of memory, 0 < n <= LANES, and zeros; memory beyond is not touched.
inline vf load_first(const float* p, int n) {
#if defined(__AVX512F__) && !LEVIT_WATCHED
    return _mm512_maskz_loadu_ps(lanes_below(n), p);
#elif defined(__AVX2__) && !LEVIT_WATCHED
    return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(lanes_below(n)));
#else
    vf x = zero();
    for (int i = 0; i < n; ++i) x[i] = p[i];
    return x;
#endif
}

inline void store_first(float* p, vf x, int n) {
#if defined(__AVX512F__) && !LEVIT_WATCHED
    _mm512_mask_storeu_ps(p, lanes_below(n), x);
#elif defined(__AVX2__) && !LEVIT_WATCHED
    _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(lanes_below(n)), x);
#else
    for (int i = 0; i < n; ++i) p[i] = x[i];
#endif
}

// The first n lanes of x, and `rest` in the others.
inline vf keep_first(vf x, int n, float rest) {
#if defined(__AVX512F__)
    return _mm512_mask_mov_ps(_mm512_set1_ps(rest), lanes_below(n), x);
#else
    return lanes_below(n) ? x : broadcast(rest);
#endif
}

// a * b + c, rounded once where the machine can (the baseline x86-64 cannot).
inline vf fma(vf a, vf b, vf c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
    return vfmaq_f32(c, a, b);
#else
    return a * b + c;
#endif
}

// c - a * b
inline vf fnma(vf a, vf b, vf c) { return fma(-a, b, c); }

#if defined(__AVX512F__)
constexpr __mmask16 ALL = 0xffff;  // GCC 12 warns of uninitialised memory inside the unmasked forms of some intrinsics
#endif

// Minimum and maximum. Where either is NaN the result is b: keep the value whose NaN must survive on the right.
inline vf min(vf a, vf b) {
#if defined(__AVX512F__)
    return _mm512_maskz_min_ps(ALL, a, b);
#elif defined(__AVX2__)
    return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
    return _mm_min_ps(a, b);
#else
    return a < b ? a : b;
#endif
}

inline vf max(vf a, vf b) {
#if defined(__AVX512F__)
    return _mm512_maskz_max_ps(ALL, a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
    return _mm_max_ps(a, b);
#else
    return a > b ? a : b;
#endif
}

inline vf sqrt(vf x) {
#if defined(__AVX512F__)
    return _mm512_maskz_sqrt_ps(ALL, x);
#elif defined(__AVX2__)
    return _mm256_sqrt_ps(x);
#elif defined(__SSE2__)
    return _mm_sqrt_ps(x);
#elif defined(__aarch64__)
    return vsqrtq_f32(x);
#else
    for (int i = 0; i < LANES; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
}

// 1 where a comparison holds, else 0. (The lanes of its result have all bits set, or none.)
inline vf one_where(vi holds) { return reinterpret_cast<vf>(reinterpret_cast<vi>(broadcast(1.0f)) & holds); }

// Lanes added in pairs, halves first: the same order on every call.
inline float sum(vf x) {
    float lane[LANES];
    store(lane, x);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
    return lane[0];
}

inline float largest(vf x) {
    float lane[LANES];
    store(lane, x);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lane[i] = lane[i] > lane[i + width] ? lane[i] : lane[i + width];
    return lane[0];
}

constexpr int CACHE_LINE = 64 / sizeof(float);  // in floats
inline void prefetch_to_l1(const float* p) { __builtin_prefetch(p, 0, 3); }
inline void prefetch_to_l2(const float* p) { __builtin_prefetch(p, 0, 2); }
inline void prefetch_to_write(const float* p) { __builtin_prefetch(p, 1, 3); }

// f(start, n) for the vectors that cover 0 .. count: n is LANES but for a shorter last one.
template <class F>
inline void for_each_vector(ptrdiff_t count, F f) {
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) f(i, LANES);
    if (i < count) f(i, static_cast<int>(count - i));
}

// What for_each_vector hands over: all lanes or the first few.
inline vf load(const float* p, int n) { return n == LANES ? load(p) : load_first(p, n); }
inline void store(float* p, vf x, int n) { n == LANES ? store(p, x) : store_first(p, x, n); }

}  // namespace levit::LEVIT_ISA
