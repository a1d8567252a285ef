// AVX2 with fused multiply-add: 16 registers of 8 floats.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "sanitizers.h"
#include "simd/one_by_one.h"

namespace levit::LEVIT_ISA {

constexpr int LANES = 8, REGISTERS = 16;

typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));
typedef float vf_unaligned __attribute__((vector_size(32), aligned(4)));

inline vi lanes_below(int n) { return vi{0, 1, 2, 3, 4, 5, 6, 7} < n; }  // all bits set where true

inline vf load_first(const float* p, int n) {
    if (LEVIT_WATCHED) return load_one_by_one<vf>(p, n);
    return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(lanes_below(n)));
}
inline void store_first(float* p, vf x, int n) {
    if (LEVIT_WATCHED) return store_one_by_one(p, x, n);
    _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(lanes_below(n)), x);
}
inline vf keep_first(vf x, int n, float rest) { return lanes_below(n) ? x : rest - vf{}; }

inline vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
inline vf min(vf a, vf b) { return _mm256_min_ps(a, b); }
inline vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
inline vf sqrt(vf x) { return _mm256_sqrt_ps(x); }

inline vf zip_low(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 8, 1, 9, 4, 12, 5, 13); }
inline vf zip_high(vf a, vf b) { return LEVIT_SELECT(a, b, 2, 10, 3, 11, 6, 14, 7, 15); }
inline vf even_groups(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 1, 2, 3, 8, 9, 10, 11); }
inline vf odd_groups(vf a, vf b) { return LEVIT_SELECT(a, b, 4, 5, 6, 7, 12, 13, 14, 15); }

}  // namespace levit::LEVIT_ISA
