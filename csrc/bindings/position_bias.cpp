// The table of position biases.
#include "bindings/binding.h"
#include "ops/position_bias.h"

namespace levit {
namespace {

// A contiguous int64 array (N_q, N_k) whose entries lie in [0, offsets).
const int64_t* indices(const Array& index, ptrdiff_t offsets) {
    const int64_t* at = values<int64_t>("index", index, {-1, -1});
    bool inside = true;
    for (ptrdiff_t i = 0; i < index.size(); ++i) inside &= at[i] >= 0 && at[i] < offsets;
    if (!inside) throw py::value_error("index must lie in 0 .. " + std::to_string(offsets - 1));
    return at;
}

PositionBiasSizes bias_sizes(ptrdiff_t heads, ptrdiff_t offsets, const Array& index) {
    if (index.ndim() != 2) throw py::value_error("index must have 2 axes, got " + std::to_string(index.ndim()));
    return {heads, offsets, index.shape(0), index.shape(1)};
}

Array position_bias_forward(const Array& table, const Array& index) {
    const float* from = floats("table", table, {-1, -1});
    const PositionBiasSizes sizes = bias_sizes(table.shape(0), table.shape(1), index);
    const int64_t* at = indices(index, sizes.offsets);
    New<float> bias({sizes.heads, sizes.N_k, sizes.N_q});
    run(&PositionBiasKernels::forward, sizes, from, at, bias);
    return bias.array;
}

Array position_bias_backward(const Array& dbias, const Array& index, ptrdiff_t offsets) {
    if (offsets < 1) throw py::value_error("offsets must be at least 1, got " + std::to_string(offsets));
    PositionBiasSizes sizes = bias_sizes(-1, offsets, index);
    const float* from = floats("dbias", dbias, {-1, sizes.N_k, sizes.N_q});
    sizes.heads = dbias.shape(0);
    const int64_t* at = indices(index, offsets);
    New<float> dtable({sizes.heads, offsets});
    run(&PositionBiasKernels::backward, sizes, from, at, dtable);
    return dtable.array;
}

const Binding binding([](py::module_& m) {
    m.def("position_bias_forward", position_bias_forward, py::arg("table"), py::arg("index"));
    m.def("position_bias_backward", position_bias_backward, py::arg("dbias"), py::arg("index"), py::arg("offsets"));
});

}  // namespace
}  // namespace levit
