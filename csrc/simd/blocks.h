// Arithmetic of cutting work into blocks.
#pragma once

#include <stddef.h>

#include "simd/vec.h"

namespace levit::LEVIT_ISA {

inline ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

}  // namespace levit::LEVIT_ISA
