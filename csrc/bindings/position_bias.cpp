// The table of position biases.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

// A contiguous int64 array whose entries lie in [0, offsets).
const int64_t* indices(const Array& index, ptrdiff_t offsets) {
    if (!index.dtype().equal(py::dtype::of<int64_t>()))
        throw py::type_error("index must be int64, got " + std::string(py::str(index.dtype())));
    if (!(index.flags() & py::array::c_style)) throw py::value_error("index must be contiguous in memory");
    const auto* values = static_cast<const int64_t*>(index.data());
    bool inside = true;
    for (ptrdiff_t i = 0; i < index.size(); ++i) inside &= values[i] >= 0 && values[i] < offsets;
    if (!inside) throw py::value_error("index must lie in 0 .. " + std::to_string(offsets - 1));
    return values;
}

BiasSizes bias_sizes(ptrdiff_t heads, ptrdiff_t offsets, const Array& index) {
    if (index.ndim() != 2) throw py::value_error("index must have 2 axes, got " + std::to_string(index.ndim()));
    return {heads, offsets, index.shape(0), index.shape(1)};
}

Array position_bias_forward(const Array& table, const Array& index) {
    const float* from = floats("table", table, {-1, -1});
    const BiasSizes sizes = bias_sizes(table.shape(0), table.shape(1), index);
    const int64_t* at = indices(index, sizes.offsets);
    Array bias = empty({sizes.heads, sizes.N_k, sizes.N_q});
    float* to = data(bias);
    const py::gil_scoped_release release;
    kernels().position_bias_forward(sizes, from, at, to);
    return bias;
}

Array position_bias_backward(const Array& dbias, const Array& index, ptrdiff_t offsets) {
    if (offsets < 1) throw py::value_error("offsets must be at least 1, got " + std::to_string(offsets));
    BiasSizes sizes = bias_sizes(-1, offsets, index);
    const float* from = floats("dbias", dbias, {-1, sizes.N_k, sizes.N_q});
    sizes.heads = dbias.shape(0);
    const int64_t* at = indices(index, offsets);
    Array dtable = empty({sizes.heads, offsets});
    float* to = data(dtable);
    const py::gil_scoped_release release;
    kernels().position_bias_backward(sizes, from, at, to);
    return dtable;
}

}  // namespace

void bind_position_bias(py::module_& m) {
    m.def("position_bias_forward", position_bias_forward, py::arg("table"), py::arg("index"));
    m.def("position_bias_backward", position_bias_backward, py::arg("dbias"), py::arg("index"), py::arg("offsets"));
}

}  // namespace levit
