// The activations that kernels know. simd/activation.h computes them.
//
// For another one, add its name to this list, and its formula and its slope there: products, batch normalisation and
// bindings follow.
#pragma once

#define LEVIT_ACTIVATIONS(X) X(identity) X(hardswish) X(relu) X(silu) X(gelu)

namespace levit {

#define LEVIT_ENUMERATOR(name) name,
enum class Activation : int { LEVIT_ACTIVATIONS(LEVIT_ENUMERATOR) };
#undef LEVIT_ENUMERATOR

}  // namespace levit
