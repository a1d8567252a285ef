// Activations of a vector, and their slopes.
#pragma once

#include "kernels.h"
#include "simd/math.h"
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
    return fma(x, one_where((x > -3.0f) & (x < 3.0f)), gate) * (1.0f / 6);
}

inline vf relu(vf x) { return max(zero(), x); }
inline vf relu_slope(vf x) { return one_where(x > 0.0f); }

// x s with the logistic function s = 1 / (1 + e^-x), whose own slope is s (1 - s).
inline vf logistic(vf x) { return 1.0f / (1.0f + exp(-x)); }
inline vf silu(vf x) { return x * logistic(x); }
inline vf silu_slope(vf x) {
    const vf s = logistic(x);
    return s * (x * (1.0f - s) + 1.0f);
}

// The normal distribution: its density, and its share on the left of x.
struct Normal {
    vf density, share;
};

// The share beyond |x| is e^(-x^2 / 2) t p(t) with t = 1 / (1 + 0.4 |x| / sqrt 2), where the polynomial p, fitted to
// within 1.2e-7 of the value for all x, varies little.
inline Normal normal(vf x) {
    const vf bell = exp(x * x * -0.5f);
    const vf t = 1.0f / (max(x, -x) * (0.4f * 0.707106781f) + 1.0f);
    vf p = broadcast(0.0499266454f);
    p = fma(p, t, broadcast(-0.181560988f));
    p = fma(p, t, broadcast(0.16691843f));
    p = fma(p, t, broadcast(-0.00379474497f));
    p = fma(p, t, broadcast(0.140598823f));
    p = fma(p, t, broadcast(0.168747353f));
    p = fma(p, t, broadcast(0.207817992f));
    p = fma(p, t, broadcast(0.225670755f));
    p = fma(p, t, broadcast(0.225675849f));
    const vf beyond = bell * 0.5f * t * p;
    return {bell * 0.398942280f, x > 0.0f ? 1.0f - beyond : beyond};
}

inline vf gelu(vf x) { return x * normal(x).share; }
inline vf gelu_slope(vf x) {
    const Normal at = normal(x);
    return fma(x, at.density, at.share);
}

inline vf activate(Activation kind, vf x) {
    switch (kind) {
        case Activation::hardswish: return hardswish(x);
        case Activation::relu: return relu(x);
        case Activation::silu: return silu(x);
        case Activation::gelu: return gelu(x);
        case Activation::identity: break;
    }
    return x;
}

inline vf activation_slope(Activation kind, vf x) {
    switch (kind) {
        case Activation::hardswish: return hardswish_slope(x);
        case Activation::relu: return relu_slope(x);
        case Activation::silu: return silu_slope(x);
        case Activation::gelu: return gelu_slope(x);
        case Activation::identity: break;
    }
    return broadcast(1.0f);
}

// f<kind>(): for loops over much memory, which then have one activation each and no choice inside.
template <class F>
inline void with_activation(Activation kind, F f) {
    switch (kind) {
        case Activation::identity: return f.template operator()<Activation::identity>();
        case Activation::hardswish: return f.template operator()<Activation::hardswish>();
        case Activation::relu: return f.template operator()<Activation::relu>();
        case Activation::silu: return f.template operator()<Activation::silu>();
        case Activation::gelu: return f.template operator()<Activation::gelu>();
    }
}

}  // namespace levit::LEVIT_ISA
