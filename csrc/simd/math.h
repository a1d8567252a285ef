// Elementary functions on vectors.
#pragma once

#include "simd/vec.h"

namespace levit::LEVIT_ISA {

inline vi to_int(vf x) { return __builtin_convertvector(x, vi); }  // towards zero

inline vf bits_to_float(vi x) { return reinterpret_cast<vf>(x); }

// x 2^n for integral n in -252 .. 254. AVX-512 has an instruction for it.
#if !defined(__AVX512F__)
inline vf scale_by_power_of_two(vf x, vf n) {
    // Two factors, since neither 2^-150 nor 2^128 is a normal float.
    const vi exponent = to_int(n), half = exponent >> 1, rest = exponent - half;
    return x * bits_to_float((half + 127) << 23) * bits_to_float((rest + 127) << 23);
}
#endif

// e^x within 2 ulp, NaN to NaN, overflow to infinity, underflow through the subnormals to 0.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, so e^x = 2^n e^r. ln 2 comes in two parts, the first with so few bits that
// n times it is exact; e^r is its Taylor polynomial of degree 7, whose remainder is below 1e-8 of the value.
inline vf exp(vf x) {
    // Beyond these the result is 0 or infinity whatever x is; the order of arguments lets NaN through.
    x = min(broadcast(89.0f), max(broadcast(-104.0f), x));
    const float round_to_int = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to an integer
    const vf n = (x * 1.44269504f + round_to_int) - round_to_int;
    vf r = fnma(n, broadcast(0.693359375f), x);
    r = fnma(n, broadcast(-2.12194440e-4f), r);
    vf p = broadcast(1.0f / 5040);
    p = fma(p, r, broadcast(1.0f / 720));
    p = fma(p, r, broadcast(1.0f / 120));
    p = fma(p, r, broadcast(1.0f / 24));
    p = fma(p, r, broadcast(1.0f / 6));
    p = fma(p, r, broadcast(0.5f));
    p = fma(p, r * r, r) + 1.0f;
    return scale_by_power_of_two(p, n);
}

}  // namespace levit::LEVIT_ISA
