// Softmax of rows.
#include "bindings/binding.h"
#include "ops/softmax.h"

namespace levit {
namespace {

Array softmax_forward(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), n = x.shape(1);
    if (n < 1) throw py::value_error("x has no columns");
    New<float> y({M, n});
    run(&SoftmaxKernels::forward, M, n, xs, y);
    return y.array;
}

Array softmax_backward(const Array& dy, const Array& y) {
    const float* ys = floats("y", y, {-1, -1});
    const ptrdiff_t M = y.shape(0), n = y.shape(1);
    if (n < 1) throw py::value_error("y has no columns");
    const float* dys = floats("dy", dy, {M, n});
    New<float> dx({M, n});
    run(&SoftmaxKernels::backward, M, n, dys, ys, dx);
    return dx.array;
}

const Binding binding([](py::module_& m) {
    m.def("softmax_forward", softmax_forward, py::arg("x"));
    m.def("softmax_backward", softmax_backward, py::arg("dy"), py::arg("y"));
});

}  // namespace
}  // namespace levit
