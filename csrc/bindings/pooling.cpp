// Averaging tokens.
#include "bindings/binding.h"
#include "ops/pooling.h"

namespace levit {
namespace {

Array average_pool_forward(const Array& x) {
    const float* xs = floats("x", x, {-1, -1, -1});
    const ptrdiff_t B = x.shape(0), N = x.shape(1), C = x.shape(2);
    New<float> y({B, C});
    run(&PoolingKernels::forward, B, N, C, xs, y);
    return y.array;
}

Array average_pool_backward(const Array& dy, ptrdiff_t N) {
    const float* dys = floats("dy", dy, {-1, -1});
    if (N < 1) throw py::value_error("N must be at least 1, got " + std::to_string(N));
    const ptrdiff_t B = dy.shape(0), C = dy.shape(1);
    New<float> dx({B, N, C});
    run(&PoolingKernels::backward, B, N, C, dys, dx);
    return dx.array;
}

const Binding binding([](py::module_& m) {
    m.def("average_pool_forward", average_pool_forward, py::arg("x"));
    m.def("average_pool_backward", average_pool_backward, py::arg("dy"), py::arg("N"));
});

}  // namespace
}  // namespace levit
