// Subsampling and averaging tokens.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

using Pair = std::pair<ptrdiff_t, ptrdiff_t>;  // rows, columns

TokenMap token_map(const Pair& resolution, const Pair& stride) {
    const TokenMap map{resolution.first, resolution.second, stride.first, stride.second};
    if (map.H < 1 || map.W < 1 || map.stride_y < 1 || map.stride_x < 1)
        throw py::value_error("resolution and stride must be at least 1");
    return map;
}

ptrdiff_t tokens_kept(const TokenMap& m) {
    return ((m.H - 1) / m.stride_y + 1) * ((m.W - 1) / m.stride_x + 1);
}

Array subsample_forward(const Array& x, const Pair& resolution, const Pair& stride) {
    const TokenMap map = token_map(resolution, stride);
    const float* xs = floats("x", x, {-1, map.H * map.W, -1});
    const ptrdiff_t B = x.shape(0), C = x.shape(2);
    Array y = empty({B, tokens_kept(map), C});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().subsample_forward(B, C, map, xs, ys);
    return y;
}

Array subsample_backward(const Array& dy, const Pair& resolution, const Pair& stride) {
    const TokenMap map = token_map(resolution, stride);
    const float* dys = floats("dy", dy, {-1, tokens_kept(map), -1});
    const ptrdiff_t B = dy.shape(0), C = dy.shape(2);
    Array dx = empty({B, map.H * map.W, C});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().subsample_backward(B, C, map, dys, dxs);
    return dx;
}

Array average_pool_forward(const Array& x) {
    const float* xs = floats("x", x, {-1, -1, -1});
    const ptrdiff_t B = x.shape(0), N = x.shape(1), C = x.shape(2);
    Array y = empty({B, C});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().average_pool_forward(B, N, C, xs, ys);
    return y;
}

Array average_pool_backward(const Array& dy, ptrdiff_t N) {
    const float* dys = floats("dy", dy, {-1, -1});
    if (N < 1) throw py::value_error("N must be at least 1, got " + std::to_string(N));
    const ptrdiff_t B = dy.shape(0), C = dy.shape(1);
    Array dx = empty({B, N, C});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().average_pool_backward(B, N, C, dys, dxs);
    return dx;
}

}  // namespace

void bind_tokens(py::module_& m) {
    m.def("subsample_forward", subsample_forward, py::arg("x"), py::arg("resolution"), py::arg("stride"));
    m.def("subsample_backward", subsample_backward, py::arg("dy"), py::arg("resolution"), py::arg("stride"));
    m.def("average_pool_forward", average_pool_forward, py::arg("x"));
    m.def("average_pool_backward", average_pool_backward, py::arg("dy"), py::arg("N"));
}

}  // namespace levit
