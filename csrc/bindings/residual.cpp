// The residual sum.
#include "bindings/binding.h"
#include "ops/residual.h"

namespace levit {
namespace {

Array residual_forward(const Array& x, const Array& branch, const std::optional<Array>& factor) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t B = x.shape(0), size = x.shape(1);
    const float* branches = floats("branch", branch, {B, size});
    const float* factors = factor ? floats("factor", *factor, {B}) : nullptr;
    New<float> y({B, size});
    run(&ResidualKernels::forward, B, size, xs, branches, factors, y);
    return y.array;
}

Array residual_backward(const Array& dy, const Array& factor) {
    const float* dys = floats("dy", dy, {-1, -1});
    const ptrdiff_t B = dy.shape(0), size = dy.shape(1);
    const float* factors = floats("factor", factor, {B});
    New<float> dbranch({B, size});
    run(&ResidualKernels::backward, B, size, dys, factors, dbranch);
    return dbranch.array;
}

const Binding binding([](py::module_& m) {
    m.def("residual_forward", residual_forward, py::arg("x"), py::arg("branch"), py::arg("factor"));
    m.def("residual_backward", residual_backward, py::arg("dy"), py::arg("factor"));
});

}  // namespace
}  // namespace levit
