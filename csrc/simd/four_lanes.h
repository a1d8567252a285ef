// What all vectors of 4 floats share: plain x86-64, NEON, and machines that only the compiler knows.
#pragma once

#include <stdint.h>

#include "simd/one_by_one.h"

namespace levit::LEVIT_ISA {

constexpr int LANES = 4;

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef float vf_unaligned __attribute__((vector_size(16), aligned(4)));

inline vi lanes_below(int n) { return vi{0, 1, 2, 3} < n; }  // all bits set where true

inline vf load_first(const float* p, int n) { return load_one_by_one<vf>(p, n); }
inline void store_first(float* p, vf x, int n) { store_one_by_one(p, x, n); }
inline vf keep_first(vf x, int n, float rest) { return lanes_below(n) ? x : rest - vf{}; }

inline vf zip_low(vf a, vf b) { return LEVIT_SELECT(a, b, 0, 4, 1, 5); }
inline vf zip_high(vf a, vf b) { return LEVIT_SELECT(a, b, 2, 6, 3, 7); }
inline vf even_groups(vf a, vf) { return a; }  // there is one group only: never called for
inline vf odd_groups(vf, vf b) { return b; }

}  // namespace levit::LEVIT_ISA
