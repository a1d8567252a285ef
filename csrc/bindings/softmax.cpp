// Softmax of rows.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

Array softmax_forward(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), n = x.shape(1);
    if (n < 1) throw py::value_error("x has no columns");
    Array y = empty({M, n});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().softmax_forward(M, n, xs, ys);
    return y;
}

Array softmax_backward(const Array& dy, const Array& y) {
    const float* ys = floats("y", y, {-1, -1});
    const ptrdiff_t M = y.shape(0), n = y.shape(1);
    if (n < 1) throw py::value_error("y has no columns");
    const float* dys = floats("dy", dy, {M, n});
    Array dx = empty({M, n});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().softmax_backward(M, n, dys, ys, dxs);
    return dx;
}

}  // namespace

void bind_softmax(py::module_& m) {
    m.def("softmax_forward", softmax_forward, py::arg("x"));
    m.def("softmax_backward", softmax_backward, py::arg("dy"), py::arg("y"));
}

}  // namespace levit
