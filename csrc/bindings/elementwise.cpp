// Activations and the residual sum, of values in the order of memory: what shape they have is the caller's affair.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

Array activation_forward(const std::string& activation, const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    const Activation act = activation_named(activation);
    Array y = empty({count});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().activation_forward(act, count, xs, ys);
    return y;
}

Array activation_backward(const std::string& activation, const Array& dy, const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    const float* dys = floats("dy", dy, {count});
    const Activation act = activation_named(activation);
    Array dx = empty({count});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().activation_backward(act, count, dys, xs, dxs);
    return dx;
}

Array exponential(const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    Array y = empty({count});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().exponential(count, xs, ys);
    return y;
}

Array residual_forward(const Array& x, const Array& branch, const std::optional<Array>& factor) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t B = x.shape(0), size = x.shape(1);
    const float* branches = floats("branch", branch, {B, size});
    const float* factors = factor ? floats("factor", *factor, {B}) : nullptr;
    Array y = empty({B, size});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().residual_forward(B, size, xs, branches, factors, ys);
    return y;
}

Array residual_backward(const Array& dy, const Array& factor) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t B = dy.shape(0), size = dy.shape(1);
    const float* factors = floats("factor", factor, {B});
    Array dbranch = empty({B, size});
    float* dbranches = data(dbranch);
    const py::gil_scoped_release release;
    kernels().residual_backward(B, size, dys, factors, dbranches);
    return dbranch;
}

}  // namespace

void bind_elementwise(py::module_& m) {
    m.def("activation_forward", activation_forward, py::arg("activation"), py::arg("x"));
    m.def("activation_backward", activation_backward, py::arg("activation"), py::arg("dy"), py::arg("x"));
    m.def("exponential", exponential, py::arg("x"), "e^x by the function that softmax uses; for its test.");
    m.def("residual_forward", residual_forward, py::arg("x"), py::arg("branch"), py::arg("factor"));
    m.def("residual_backward", residual_backward, py::arg("dy"), py::arg("factor"));
}

}  // namespace levit
