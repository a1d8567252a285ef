// Activations of values in the order of memory, whatever shape they have.
#include "bindings/binding.h"
#include "ops/activations.h"

namespace levit {
namespace {

Array activation_forward(const std::string& activation, const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    const Activation act = activation_named(activation);
    New<float> y({count});
    run(&ActivationKernels::forward, act, count, xs, y);
    return y.array;
}

Array activation_backward(const std::string& activation, const Array& dy, const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    const float* dys = floats("dy", dy, {count});
    const Activation act = activation_named(activation);
    New<float> dx({count});
    run(&ActivationKernels::backward, act, count, dys, xs, dx);
    return dx.array;
}

Array exponential(const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.shape(0);
    New<float> y({count});
    run(&ActivationKernels::exponential, count, xs, y);
    return y.array;
}

const Binding binding([](py::module_& m) {
    m.def("activation_forward", activation_forward, py::arg("activation"), py::arg("x"));
    m.def("activation_backward", activation_backward, py::arg("activation"), py::arg("dy"), py::arg("x"));
    m.def("exponential", exponential, py::arg("x"), "e^x by the function that softmax uses; for its test.");
});

}  // namespace
}  // namespace levit
