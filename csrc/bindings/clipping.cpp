// Clipping gradients, in place.
#include "bindings/binding.h"
#include "ops/clipping.h"

namespace levit {
namespace {

double sum_of_squares(const Array& x) {
    const float* xs = floats("x", x, {-1});
    return run(&ClippingKernels::sum_of_squares, x.size(), xs);
}

void scale(Array x, float factor) {
    float* xs = writable_floats("x", x, {-1});
    run(&ClippingKernels::scale, x.size(), xs, factor);
}

constexpr ptrdiff_t VALUES_IN_BLOCK = 16384;  // of one task; a unit is never cut

ptrdiff_t clip_units(const std::vector<Array>& data, std::vector<Array> grads, float clip, float eps) {
    if (data.size() != grads.size())
        throw py::value_error("there are " + std::to_string(data.size()) + " arrays of data and " +
                              std::to_string(grads.size()) + " of gradients");
    std::vector<UnitBlock> blocks;
    for (size_t i = 0; i < data.size(); ++i) {
        const Shape shape = shape_of(data[i]);
        const float* weights = floats("data", data[i], shape);
        float* gradients = writable_floats("grad", grads[i], shape);
        if (data[i].size() == 0) continue;
        const ptrdiff_t units = shape.size() > 1 ? shape[0] : 1, length = data[i].size() / units;
        const ptrdiff_t step = std::max<ptrdiff_t>(1, VALUES_IN_BLOCK / length);
        for (ptrdiff_t u = 0; u < units; u += step)
            blocks.push_back({weights + u * length, gradients + u * length, std::min(step, units - u), length, 0});
    }
    run(&ClippingKernels::clip_units, static_cast<ptrdiff_t>(blocks.size()), blocks.data(), clip, eps);
    ptrdiff_t clipped = 0;
    for (const UnitBlock& block : blocks) clipped += block.clipped;
    return clipped;
}

const Binding binding([](py::module_& m) {
    m.def("sum_of_squares", sum_of_squares, py::arg("x"));
    m.def("scale", scale, py::arg("x"), py::arg("factor"));
    m.def("clip_units", clip_units, py::arg("data"), py::arg("grads"), py::arg("clip"), py::arg("eps"));
});

}  // namespace
}  // namespace levit
