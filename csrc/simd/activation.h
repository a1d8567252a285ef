// Activations of a vector, and their slopes.
#pragma once

#include "activation_kind.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace levit::LEVIT_ISA {

// activate<Activation::relu>(x), and its derivative at x. Each activation has a pair of these.
template <Activation KIND>
vf activate(vf x);
template <Activation KIND>
vf activation_slope(vf x);

template <>
inline vf activate<Activation::identity>(vf x) {
    return x;
}
template <>
inline vf activation_slope<Activation::identity>(vf) {
    return broadcast(1.0f);
}

// x clip(x + 3, 0, 6) / 6
template <>
inline vf activate<Activation::hardswish>(vf x) {
    const vf gate = min(broadcast(6.0f), max(zero(), x + 3.0f));
    return gate * x * (1.0f / 6);
}
// 0 on the left, (2 x + 3) / 6 between -3 and 3, 1 on the right.
template <>
inline vf activation_slope<Activation::hardswish>(vf x) {
    const vf gate = min(broadcast(6.0f), max(zero(), x + 3.0f));
    return fma(x, one_where((x > -3.0f) & (x < 3.0f)), gate) * (1.0f / 6);
}

template <>
inline vf activate<Activation::relu>(vf x) {
    return max(zero(), x);
}
template <>
inline vf activation_slope<Activation::relu>(vf x) {
    return one_where(x > 0.0f);
}

// x s with the logistic function s = 1 / (1 + e^-x), whose own slope is s (1 - s).
inline vf logistic(vf x) { return 1.0f / (1.0f + exp(-x)); }
template <>
inline vf activate<Activation::silu>(vf x) {
    return x * logistic(x);
}
template <>
inline vf activation_slope<Activation::silu>(vf x) {
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

template <>
inline vf activate<Activation::gelu>(vf x) {
    return x * normal(x).share;
}
template <>
inline vf activation_slope<Activation::gelu>(vf x) {
    const Normal at = normal(x);
    return fma(x, at.density, at.share);
}

// f<KIND>(): the choice is made once, and the loops inside have one activation each.
template <class F>
inline void with_activation(Activation kind, F f) {
    switch (kind) {
#define LEVIT_CASE(name) \
    case Activation::name: return f.template operator()<Activation::name>();
        LEVIT_ACTIVATIONS(LEVIT_CASE)
#undef LEVIT_CASE
    }
}

}  // namespace levit::LEVIT_ISA
