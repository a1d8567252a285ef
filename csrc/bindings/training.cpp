// The update of the weights. All of these work in place, on what the caller owns.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

double sum_of_squares(const Array& x) {
    const float* xs = floats("x", x, {-1});
    const ptrdiff_t count = x.size();
    const py::gil_scoped_release release;
    return kernels().sum_of_squares(count, xs);
}

void scale(Array x, float factor) {
    float* xs = writable_floats("x", x, {-1});
    const ptrdiff_t count = x.size();
    const py::gil_scoped_release release;
    kernels().scale(count, xs, factor);
}

constexpr ptrdiff_t VALUES_IN_BLOCK = 16384;  // of one task; a unit is never cut

ptrdiff_t clip_units(const std::vector<Array>& data, std::vector<Array> grads, float clip, float eps) {
    if (data.size() != grads.size())
        throw py::value_error("there are " + std::to_string(data.size()) + " arrays of data and " +
                              std::to_string(grads.size()) + " of gradients");
    std::vector<UnitBlock> blocks;
    for (size_t i = 0; i < data.size(); ++i) {
        const Shape shape(data[i].shape(), data[i].shape() + data[i].ndim());
        const float* values = floats("data", data[i], shape);
        float* gradients = writable_floats("grad", grads[i], shape);
        if (data[i].size() == 0) continue;
        const ptrdiff_t units = shape.size() > 1 ? shape[0] : 1, length = data[i].size() / units;
        const ptrdiff_t step = std::max<ptrdiff_t>(1, VALUES_IN_BLOCK / length);
        for (ptrdiff_t u = 0; u < units; u += step)
            blocks.push_back({values + u * length, gradients + u * length, std::min(step, units - u), length, 0});
    }
    ptrdiff_t clipped = 0;
    const py::gil_scoped_release release;
    kernels().clip_units(static_cast<ptrdiff_t>(blocks.size()), blocks.data(), clip, eps);
    for (const UnitBlock& block : blocks) clipped += block.clipped;
    return clipped;
}

// Ascending places in an array of `count` values.
const int64_t* edges_in(ptrdiff_t count, const py::array_t<int64_t>& edges) {
    if (edges.ndim() != 1 || !(edges.flags() & py::array::c_style))
        throw py::value_error("edges must be one contiguous axis of int64");
    int64_t before = 0;
    for (ptrdiff_t i = 0; i < edges.size(); ++i) {
        if (edges.at(i) < before || edges.at(i) > count)
            throw py::value_error("edges must ascend from 0 to " + std::to_string(count) + ", got " +
                                  std::to_string(edges.at(i)) + " after " + std::to_string(before));
        before = edges.at(i);
    }
    return edges.data();
}

void adamw_step(Array params, const Array& grads, Array m, Array v, const py::array_t<int64_t>& edges, float keep,
                float one_minus_beta1, float beta2, float one_minus_beta2, float root_scale, float eps,
                float step_size) {
    float* ps = writable_floats("params", params, {-1});
    const ptrdiff_t count = params.size();
    const float* gs = floats("grads", grads, {count});
    float* ms = writable_floats("m", m, {count});
    float* vs = writable_floats("v", v, {count});
    const int64_t* es = edges_in(count, edges);
    const ptrdiff_t edge_count = edges.size();
    const AdamW step{keep, one_minus_beta1, beta2, one_minus_beta2, root_scale, eps, step_size};
    const py::gil_scoped_release release;
    kernels().adamw_step(count, ps, gs, ms, vs, edge_count, es, step);
}

void move_average(Array average, const Array& value, float share) {
    float* to = writable_floats("average", average, {-1});
    const ptrdiff_t count = average.size();
    const float* from = floats("value", value, {count});
    const py::gil_scoped_release release;
    kernels().move_average(count, to, from, share);
}

}  // namespace

void bind_training(py::module_& m) {
    m.def("sum_of_squares", sum_of_squares, py::arg("x"));
    m.def("scale", scale, py::arg("x"), py::arg("factor"));
    m.def("clip_units", clip_units, py::arg("data"), py::arg("grads"), py::arg("clip"), py::arg("eps"));
    m.def("adamw_step", adamw_step, py::arg("params"), py::arg("grads"), py::arg("m"), py::arg("v"), py::arg("edges"),
          py::kw_only(), py::arg("keep"), py::arg("one_minus_beta1"), py::arg("beta2"), py::arg("one_minus_beta2"),
          py::arg("root_scale"), py::arg("eps"), py::arg("step_size"));
    m.def("move_average", move_average, py::arg("average"), py::arg("value"), py::arg("share"));
}

}  // namespace levit
