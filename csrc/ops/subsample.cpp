// Every stride-th token of each axis of the map of tokens (B, H W, C).
#include "ops/subsample.h"

#include "ops/flat.h"

namespace levit::LEVIT_ISA {
namespace {

// f(token of y, token of x) for the tokens that are kept of one image
template <class F>
inline void for_each_kept(const TokenMap& m, F f) {
    ptrdiff_t kept = 0;
    for (ptrdiff_t y = 0; y < m.H; y += m.stride_y)
        for (ptrdiff_t x = 0; x < m.W; x += m.stride_x) f(kept++, y * m.W + x);
}

ptrdiff_t tokens_kept(const TokenMap& m) { return ceil_div(m.H, m.stride_y) * ceil_div(m.W, m.stride_x); }

// y (B, tokens_kept, C) of x (B, H W, C)
void subsample_forward(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* x, float* y) {
    const ptrdiff_t N = map.H * map.W, kept = tokens_kept(map);
    auto image = [&](ptrdiff_t b) {
        for_each_kept(map, [&](ptrdiff_t i, ptrdiff_t n) { copy(C, x + (b * N + n) * C, y + (b * kept + i) * C); });
    };
    parallel_for(B, image);
}

// dx: dy where a token was kept, 0 elsewhere
void subsample_backward(ptrdiff_t B, ptrdiff_t C, const TokenMap& map, const float* dy, float* dx) {
    const ptrdiff_t N = map.H * map.W, kept = tokens_kept(map);
    auto image = [&](ptrdiff_t b) {
        set_to_zero(N * C, dx + b * N * C);
        for_each_kept(map, [&](ptrdiff_t i, ptrdiff_t n) {
            copy(C, dy + (b * kept + i) * C, dx + (b * N + n) * C);
        });
    };
    parallel_for(B, image);
}

}  // namespace
}  // namespace levit::LEVIT_ISA

namespace levit {

constinit const SubsampleKernels SubsampleKernels::LEVIT_ISA = {
    .forward = LEVIT_ISA::subsample_forward,
    .backward = LEVIT_ISA::subsample_backward,
};

}  // namespace levit
