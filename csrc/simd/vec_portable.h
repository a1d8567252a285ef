// Any other machine: what the compiler makes of vectors of 4 floats.
#pragma once

#include "simd/four_lanes.h"

namespace levit::LEVIT_ISA {

constexpr int REGISTERS = 32;  // a guess

inline vf fma(vf a, vf b, vf c) { return a * b + c; }
inline vf min(vf a, vf b) { return a < b ? a : b; }
inline vf max(vf a, vf b) { return a > b ? a : b; }
inline vf sqrt(vf x) {
    for (int i = 0; i < LANES; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
}

}  // namespace levit::LEVIT_ISA
