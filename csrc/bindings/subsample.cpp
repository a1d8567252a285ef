// Subsampling tokens.
#include "bindings/binding.h"
#include "ops/subsample.h"

namespace levit {
namespace {

using Pair = std::pair<ptrdiff_t, ptrdiff_t>;  // rows, columns

TokenMap token_map(const Pair& resolution, const Pair& stride) {
    const TokenMap map{resolution.first, resolution.second, stride.first, stride.second};
    if (map.H < 1 || map.W < 1 || map.stride_y < 1 || map.stride_x < 1)
        throw py::value_error("resolution and stride must be at least 1");
    count_of({map.H, map.W});
    return map;
}

ptrdiff_t tokens_kept(const TokenMap& m) {
    return ((m.H - 1) / m.stride_y + 1) * ((m.W - 1) / m.stride_x + 1);
}

Array subsample_forward(const Array& x, const Pair& resolution, const Pair& stride) {
    const TokenMap map = token_map(resolution, stride);
    const float* xs = floats("x", x, {-1, map.H * map.W, -1});
    const ptrdiff_t B = x.shape(0), C = x.shape(2);
    New<float> y({B, tokens_kept(map), C});
    run(&SubsampleKernels::forward, B, C, map, xs, y);
    return y.array;
}

Array subsample_backward(const Array& dy, const Pair& resolution, const Pair& stride) {
    const TokenMap map = token_map(resolution, stride);
    const float* dys = floats("dy", dy, {-1, tokens_kept(map), -1});
    const ptrdiff_t B = dy.shape(0), C = dy.shape(2);
    New<float> dx({B, map.H * map.W, C});
    run(&SubsampleKernels::backward, B, C, map, dys, dx);
    return dx.array;
}

const Binding binding([](py::module_& m) {
    m.def("subsample_forward", subsample_forward, py::arg("x"), py::arg("resolution"), py::arg("stride"));
    m.def("subsample_backward", subsample_backward, py::arg("dy"), py::arg("resolution"), py::arg("stride"));
});

}  // namespace
}  // namespace levit
