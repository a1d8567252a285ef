// Arithmetic of cutting work into blocks.
#pragma once

#include <stddef.h>

#include "simd/vec.h"

namespace levit::LEVIT_ISA {

inline ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
inline ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

struct Range {
    ptrdiff_t start, end;
    ptrdiff_t size() const { return end - start; }
};

// The i-th of `parts` equal parts of 0 .. n.
inline Range part_of(ptrdiff_t n, ptrdiff_t parts, ptrdiff_t i) { return {n * i / parts, n * (i + 1) / parts}; }

}  // namespace levit::LEVIT_ISA
