// The linear layer and sums over rows.
#include "bindings/binding.h"
#include "ops/linear.h"

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
    New<float> y({M, N});
    run(&LinearKernels::forward, M, N, K, xs, ws, bs, act, y);
    return y.array;
}

Array linear_backward_x(const Array& dy, const Array& weight) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t M = dy.shape(0), N = dy.shape(1);
    const float* ws = floats("weight", weight, {N, -1});
    const ptrdiff_t K = weight.shape(1);
    New<float> dx({M, K});
    run(&LinearKernels::backward_x, M, N, K, dys, ws, dx);
    return dx.array;
}

Array linear_backward_weight(const Array& dy, const Array& x, const std::optional<Array>& add_to) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t M = dy.shape(0), N = dy.shape(1);
    const float* xs = floats("x", x, {M, -1});
    const ptrdiff_t K = x.shape(1);
    Array dweight = add_to ? *add_to : New<float>({N, K}).array;
    float* to = writable_floats("add_to", dweight, {N, K});
    run(&LinearKernels::backward_weight, M, N, K, dys, xs, add_to.has_value(), to);
    return dweight;
}

Array sum_rows(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    New<float> sums({C});
    run(&LinearKernels::sum_rows, M, C, xs, sums);
    return sums.array;
}

const Binding binding([](py::module_& m) {
    m.def("linear_forward", linear_forward, py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("activation"));
    m.def("linear_backward_x", linear_backward_x, py::arg("dy"), py::arg("weight"));
    m.def("linear_backward_weight", linear_backward_weight, py::arg("dy"), py::arg("x"),
          py::arg("add_to") = py::none());
    m.def("sum_rows", sum_rows, py::arg("x"));
});

}  // namespace
}  // namespace levit
