// Batch normalisation.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

#include <tuple>

namespace levit {
namespace {

std::tuple<Array, Array> batch_norm_statistics(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    if (M < 1) throw py::value_error("x has no rows");
    Array mean = empty({C}), variance = empty({C});
    float *means = data(mean), *variances = data(variance);
    {
        const py::gil_scoped_release release;
        kernels().batch_norm_statistics(M, C, xs, means, variances);
    }
    return {mean, variance};
}

Normalisation normalisation(ptrdiff_t C, const Array& mean, const Array& inv_std, const Array& weight, const Array& bias) {
    return {floats("mean", mean, {C}), floats("inv_std", inv_std, {C}), floats("weight", weight, {C}),
            floats("bias", bias, {C})};
}

Array batch_norm_apply(const Array& x, const Array& mean, const Array& inv_std, const Array& weight, const Array& bias,
                       const std::string& activation) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    const Normalisation norm = normalisation(C, mean, inv_std, weight, bias);
    const Activation act = activation_named(activation);
    Array y = empty({M, C});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().batch_norm_apply(M, C, xs, norm, act, ys);
    return y;
}

std::tuple<Array, Array> batch_norm_backward_sums(const Array& dy, const Array& x, const Array& mean,
                                                  const Array& inv_std, const Array& weight, const Array& bias,
                                                  const std::string& activation) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    const float* dys = floats("dy", dy, {M, C});
    const Normalisation norm = normalisation(C, mean, inv_std, weight, bias);
    const Activation act = activation_named(activation);
    Array dweight = empty({C}), dbias = empty({C});
    float *dweights = data(dweight), *dbiases = data(dbias);
    {
        const py::gil_scoped_release release;
        kernels().batch_norm_backward_sums(M, C, dys, xs, norm, act, dweights, dbiases);
    }
    return {dweight, dbias};
}

// The means of dweight and dbias over all rows, of other processes too; both None: the statistics were constants.
Array batch_norm_backward_apply(const Array& dy, const Array& x, const Array& mean, const Array& inv_std,
                                const Array& weight, const Array& bias, const std::string& activation,
                                const std::optional<Array>& mean_dweight, const std::optional<Array>& mean_dbias) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    const float* dys = floats("dy", dy, {M, C});
    const Normalisation norm = normalisation(C, mean, inv_std, weight, bias);
    const Activation act = activation_named(activation);
    if (mean_dweight.has_value() != mean_dbias.has_value())
        throw py::value_error("mean_dweight and mean_dbias must be given together, or neither");
    const float* mean_dweights = mean_dweight ? floats("mean_dweight", *mean_dweight, {C}) : nullptr;
    const float* mean_dbiases = mean_dbias ? floats("mean_dbias", *mean_dbias, {C}) : nullptr;
    Array dx = empty({M, C});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().batch_norm_backward_apply(M, C, dys, xs, norm, act, mean_dweights, mean_dbiases, dxs);
    return dx;
}

std::tuple<Array, Array, Array> batch_norm_backward(const Array& dy, const Array& x, const Array& mean,
                                                    const Array& inv_std, const Array& weight, const Array& bias,
                                                    const std::string& activation, bool training) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    const float* dys = floats("dy", dy, {M, C});
    const Normalisation norm = normalisation(C, mean, inv_std, weight, bias);
    const Activation act = activation_named(activation);
    Array dx = empty({M, C}), dweight = empty({C}), dbias = empty({C});
    float *dxs = data(dx), *dweights = data(dweight), *dbiases = data(dbias);
    {
        const py::gil_scoped_release release;
        kernels().batch_norm_backward(M, C, dys, xs, norm, act, training, dxs, dweights, dbiases);
    }
    return {dx, dweight, dbias};
}

}  // namespace

void bind_batch_norm(py::module_& m) {
    m.def("batch_norm_statistics", batch_norm_statistics, py::arg("x"));
    m.def("batch_norm_apply", batch_norm_apply, py::arg("x"), py::arg("mean"), py::arg("inv_std"), py::arg("weight"),
          py::arg("bias"), py::arg("activation"));
    m.def("batch_norm_backward_sums", batch_norm_backward_sums, py::arg("dy"), py::arg("x"), py::arg("mean"),
          py::arg("inv_std"), py::arg("weight"), py::arg("bias"), py::arg("activation"));
    m.def("batch_norm_backward_apply", batch_norm_backward_apply, py::arg("dy"), py::arg("x"), py::arg("mean"),
          py::arg("inv_std"), py::arg("weight"), py::arg("bias"), py::arg("activation"), py::arg("mean_dweight"),
          py::arg("mean_dbias"));
    m.def("batch_norm_backward", batch_norm_backward, py::arg("dy"), py::arg("x"), py::arg("mean"), py::arg("inv_std"),
          py::arg("weight"), py::arg("bias"), py::arg("activation"), py::arg("training"));
}

}  // namespace levit
