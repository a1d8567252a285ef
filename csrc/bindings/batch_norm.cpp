// Batch normalisation.
#include "bindings/binding.h"
#include "ops/batch_norm.h"

#include <tuple>

namespace levit {
namespace {

std::tuple<Array, Array> batch_norm_statistics(const Array& x) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    if (M < 1) throw py::value_error("x has no rows");
    New<float> mean({C}), variance({C});
    run(&BatchNormKernels::statistics, M, C, xs, mean, variance);
    return {mean.array, variance.array};
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
    New<float> y({M, C});
    run(&BatchNormKernels::apply, M, C, xs, norm, act, y);
    return y.array;
}

std::tuple<Array, Array> batch_norm_backward_sums(const Array& dy, const Array& x, const Array& mean,
                                                  const Array& inv_std, const Array& weight, const Array& bias,
                                                  const std::string& activation) {
    const float* xs = floats("x", x, {-1, -1});
    const ptrdiff_t M = x.shape(0), C = x.shape(1);
    const float* dys = floats("dy", dy, {M, C});
    const Normalisation norm = normalisation(C, mean, inv_std, weight, bias);
    const Activation act = activation_named(activation);
    New<float> dweight({C}), dbias({C});
    run(&BatchNormKernels::backward_sums, M, C, dys, xs, norm, act, dweight, dbias);
    return {dweight.array, dbias.array};
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
    New<float> dx({M, C});
    run(&BatchNormKernels::backward_apply, M, C, dys, xs, norm, act, mean_dweights, mean_dbiases, dx);
    return dx.array;
}

// Both, where all rows are here.
std::tuple<Array, Array, Array> batch_norm_backward(const Array& dy, const Array& x, const Array& mean,
                                                    const Array& inv_std, const Array& weight, const Array& bias,
                                                    const std::string& activation, bool training) {
    const auto [dweight, dbias] = batch_norm_backward_sums(dy, x, mean, inv_std, weight, bias, activation);
    if (!training) return {batch_norm_backward_apply(dy, x, mean, inv_std, weight, bias, activation, {}, {}), dweight, dbias};
    const ptrdiff_t C = dweight.size();
    New<float> mean_dweight({C}), mean_dbias({C});
    for (ptrdiff_t c = 0; c < C; ++c) {
        mean_dweight[c] = static_cast<const float*>(dweight.data())[c] / static_cast<float>(x.shape(0));
        mean_dbias[c] = static_cast<const float*>(dbias.data())[c] / static_cast<float>(x.shape(0));
    }
    const Array dx = batch_norm_backward_apply(dy, x, mean, inv_std, weight, bias, activation, mean_dweight.array,
                                               mean_dbias.array);
    return {dx, dweight, dbias};
}

const Binding binding([](py::module_& m) {
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
});

}  // namespace
}  // namespace levit
