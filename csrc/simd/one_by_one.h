// The first n lanes of memory, one at a time: where there is no instruction for it, or AddressSanitizer is to see it.
#pragma once

namespace levit::LEVIT_ISA {

template <class V>
inline V load_one_by_one(const float* p, int n) {
    V x{};
    for (int i = 0; i < n; ++i) x[i] = p[i];
    return x;
}

template <class V>
inline void store_one_by_one(float* p, V x, int n) {
    for (int i = 0; i < n; ++i) p[i] = x[i];
}

}  // namespace levit::LEVIT_ISA
