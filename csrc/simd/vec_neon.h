// NEON on 64-bit ARM: 32 registers of 4 floats. Its minimum and maximum return NaN for a NaN on either side, so comparisons
// take their place.
#pragma once

#include <arm_neon.h>

#include "simd/four_lanes.h"

namespace levit::LEVIT_ISA {

constexpr int REGISTERS = 32;

inline vf fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
inline vf min(vf a, vf b) { return a < b ? a : b; }
inline vf max(vf a, vf b) { return a > b ? a : b; }
inline vf sqrt(vf x) { return vsqrtq_f32(x); }

}  // namespace levit::LEVIT_ISA
