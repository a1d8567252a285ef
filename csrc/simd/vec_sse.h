// Plain x86-64, with SSE2: 16 registers of 4 floats. A multiply-add is two instructions, and rounded twice.
#pragma once

#include <emmintrin.h>

#include "simd/four_lanes.h"

namespace levit::LEVIT_ISA {

constexpr int REGISTERS = 16;

inline vf fma(vf a, vf b, vf c) { return a * b + c; }
inline vf min(vf a, vf b) { return _mm_min_ps(a, b); }
inline vf max(vf a, vf b) { return _mm_max_ps(a, b); }
inline vf sqrt(vf x) { return _mm_sqrt_ps(x); }

}  // namespace levit::LEVIT_ISA
