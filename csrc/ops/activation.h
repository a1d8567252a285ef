// Activations of a vector, and their slopes.
#pragma once

#include "kernels.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// x clip(x + 3, 0, 6) / 6
inline vf hardswish(vf x) {
    const vf gate = min(broadcast(6.0f), max(zero(), x + 3.0f));
    return gate * x * (1.0f / 6);
}

// 0 on the left, (2 x + 3) / 6 between -3 and 3, 1 on the right.
inline vf hardswish_slope(vf x) {
    const vf gate = min(broadcast(6.0f), max(zero(), x + 3.0f));
    const vi inside = (x > -3.0f) & (x < 3.0f);  // all bits set where true
    const vf ramp = reinterpret_cast<vf>(reinterpret_cast<vi>(x) & inside);
    return (gate + ramp) * (1.0f / 6);
}

inline vf relu(vf x) { return max(zero(), x); }
inline vf relu_slope(vf x) { return reinterpret_cast<vf>(reinterpret_cast<vi>(broadcast(1.0f)) & (x > 0.0f)); }

inline vf activate(Activation kind, vf x) {
    switch (kind) {
        case Activation::hardswish: return hardswish(x);
        case Activation::relu: return relu(x);
        case Activation::identity: break;
    }
    return x;
}

inline vf activation_slope(Activation kind, vf x) {
    switch (kind) {
        case Activation::hardswish: return hardswish_slope(x);
        case Activation::relu: return relu_slope(x);
        case Activation::identity: break;
    }
    return broadcast(1.0f);
}

}  // namespace levit::LEVIT_ISA
