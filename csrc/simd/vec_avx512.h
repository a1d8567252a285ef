// AVX-512: 32 registers of 16 floats, and masks that say which lanes an instruction touches.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "sanitizers.h"
#include "simd/one_by_one.h"

namespace levit::LEVIT_ISA {

constexpr int LANES = 16, REGISTERS = 32;

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef float vf_unaligned __attribute__((vector_size(64), aligned(4)));

constexpr __mmask16 ALL = 0xffff;  // GCC 12 warns of uninitialised memory inside the unmasked forms of some intrinsics
inline __mmask16 lanes_below(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline vf load_first(const float* p, int n) {
    return LEVIT_WATCHED ? load_one_by_one<vf>(p, n) : vf(_mm512_maskz_loadu_ps(lanes_below(n), p));
}
inline void store_first(float* p, vf x, int n) {
    LEVIT_WATCHED ? store_one_by_one(p, x, n) : _mm512_mask_storeu_ps(p, lanes_below(n), x);
}
inline vf keep_first(vf x, int n, float rest) { return _mm512_mask_mov_ps(_mm512_set1_ps(rest), lanes_below(n), x); }

inline vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
inline vf min(vf a, vf b) { return _mm512_maskz_min_ps(ALL, a, b); }
inline vf max(vf a, vf b) { return _mm512_maskz_max_ps(ALL, a, b); }
inline vf sqrt(vf x) { return _mm512_maskz_sqrt_ps(ALL, x); }
inline vf scale_by_power_of_two(vf x, vf n) { return _mm512_maskz_scalef_ps(ALL, x, n); }

inline vf zip_low(vf a, vf b) {
    return LEVIT_SELECT(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
}
inline vf zip_high(vf a, vf b) {
    return LEVIT_SELECT(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
}
inline vf even_groups(vf a, vf b) {
    return LEVIT_SELECT(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
}
inline vf odd_groups(vf a, vf b) {
    return LEVIT_SELECT(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

}  // namespace levit::LEVIT_ISA
