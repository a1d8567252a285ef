// The linear layer and sums over rows.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

Array linear_forward(const Array& x, const Array& weight, const std::optional<Array>& bias,
                     const std::string& activation) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), K = x.shape(1);
    const float* ws = floats("weight", weight, {-1, K});
    const ptrdiff_t N = weight.shape(0);
    const float* bs = bias ? floats("bias", *bias, {N}) : nullptr;
    const Activation act = activation_named(activation);
    Array y = empty({M, N});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().linear_forward(M, N, K, xs, ws, bs, act, ys);
    return y;
}

Array linear_backward_x(const Array& dy, const Array& weight) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t M = dy.shape(0), N = dy.shape(1);
    const float* ws = floats("weight", weight, {N, -1});
    const ptrdiff_t K = weight.shape(1);
    Array dx = empty({M, K});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().linear_backward_x(M, N, K, dys, ws, dxs);
    return dx;
}

Array linear_backward_weight(const Array& dy, const Array& x, const std::optional<Array>& add_to) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t M = dy.shape(0), N = dy.shape(1);
    const float* xs = floats("x", x, {M, -1});
    const ptrdiff_t K = x.shape(1);
    Array dweight = add_to ? *add_to : empty({N, K});
    float* dws = writable_floats("add_to", dweight, {N, K});
    const py::gil_scoped_release release;
    kernels().linear_backward_weight(M, N, K, dys, xs, add_to.has_value(), dws);
    return dweight;
}

Array sum_rows(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    Array sums = empty({C});
    float* to = data(sums);
    const py::gil_scoped_release release;
    kernels().sum_rows(M, C, xs, to);
    return sums;
}

}  // namespace

void bind_linear(py::module_& m) {
    m.def("linear_forward", linear_forward, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("activation"));
    m.def("linear_backward_x", linear_backward_x, py::arg("dy"), py::arg("weight"));
    m.def("linear_backward_weight", linear_backward_weight, py::arg("dy"), py::arg("x"),
          py::arg("add_to") = py::none());
    m.def("sum_rows", sum_rows, py::arg("x"));
}

}  // namespace levit
