// One float vector of the machine's width, and the few things a kernel does with it.
//
// Kernels are written once against this file and compiled once for each instruction set; the width, LANES, follows from
// the compiler's flags. Arithmetic (+ - * /) and comparisons are the compiler's own, on a vector type of GCC and Clang.
// What they cannot express is in the file of the instruction set, vec_....h:
//
//   LANES, REGISTERS            how wide a vector is, and how many the processor holds
//   vf, vi, vf_unaligned        a vector of floats, one of as many int32, one of floats at any address
//   load_first(p, n)            the first n lanes of memory, 0 < n <= LANES, and zeros; memory beyond is not touched
//   store_first(p, x, n)        likewise
//   keep_first(x, n, rest)      the first n lanes of x, and `rest` in the others
//   fma(a, b, c)                a b + c, rounded once where the machine can (plain x86-64 cannot)
//   min(a, b), max(a, b)        where either is NaN the result is b: keep the value whose NaN must survive on the right
//   sqrt(x)
//   zip_low, zip_high, even_groups, odd_groups      lanes that change places, see transpose.h
//
// Everything lives in a namespace named after the instruction set, and nothing here may use the standard library's
// templates: a function that two instruction sets share by name would be merged by the linker, and the AVX-512 copy
// could then run on a machine that has no AVX-512. A test looks for such names in the compiled objects.
#pragma once

#include <stddef.h>

#ifndef LEVIT_ISA
#error "compile with -DLEVIT_ISA=<name>: see setup.py"
#endif

// The lanes of (a, b) with these numbers; b's start at LANES.
#if defined(__clang__)
#define LEVIT_SELECT(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LEVIT_SELECT(a, b, ...) __builtin_shuffle(a, b, vi{__VA_ARGS__})
#endif

#if defined(__AVX512F__)
#include "simd/vec_avx512.h"
#elif defined(__AVX2__)
#include "simd/vec_avx2.h"
#elif defined(__SSE2__)
#include "simd/vec_sse.h"
#elif defined(__aarch64__)
#include "simd/vec_neon.h"
#else
#include "simd/vec_portable.h"
#endif
#undef LEVIT_SELECT

namespace levit::LEVIT_ISA {

// --- memory ----------------------------------------------------------------------------------------------------------

// By the rules of both compilers, a vector may alias the floats that it is made of.
inline vf load(const float* p) { return *reinterpret_cast<const vf_unaligned*>(p); }
inline void store(float* p, vf x) { *reinterpret_cast<vf_unaligned*>(p) = x; }

// f(start, n) for the vectors that cover 0 .. count: n is LANES except for a shorter last one.
template <class F>
inline void for_each_vector(ptrdiff_t count, F f) {
    ptrdiff_t i = 0;
    for (; i + LANES <= count; i += LANES) f(i, LANES);
    if (i < count) f(i, static_cast<int>(count - i));
}

// For its callbacks: all lanes, or the first few.
inline vf load(const float* p, int n) { return n == LANES ? load(p) : load_first(p, n); }
inline void store(float* p, vf x, int n) { n == LANES ? store(p, x) : store_first(p, x, n); }

constexpr int CACHE_LINE = 64 / sizeof(float);  // in floats
inline void prefetch_to_l1(const float* p) { __builtin_prefetch(p, 0, 3); }
inline void prefetch_to_l2(const float* p) { __builtin_prefetch(p, 0, 2); }
inline void prefetch_to_write(const float* p) { __builtin_prefetch(p, 1, 3); }

// --- arithmetic ------------------------------------------------------------------------------------------------------

inline vf broadcast(float x) { return x - vf{}; }  // x - 0 is x, and the compiler knows it; -0 + 0 would be 0
inline vf zero() { return vf{}; }

// c - a * b
inline vf fnma(vf a, vf b, vf c) { return fma(-a, b, c); }

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

}  // namespace levit::LEVIT_ISA
