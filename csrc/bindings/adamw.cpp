// The AdamW step, in place.
#include "bindings/binding.h"
#include "ops/adamw.h"

namespace levit {
namespace {

// Ascending places in an array of `count` values.
const int64_t* edges_in(ptrdiff_t count, const Array& edges) {
    if (edges.ndim() != 1) throw py::value_error("edges must be one contiguous axis of int64");
    const int64_t* at = values<int64_t>("edges", edges, {-1});
    int64_t before = 0;
    for (ptrdiff_t i = 0; i < edges.size(); ++i) {
        if (at[i] < before || at[i] > count)
            throw py::value_error("edges must ascend from 0 to " + std::to_string(count) + ", got " +
                                  std::to_string(at[i]) + " after " + std::to_string(before));
        before = at[i];
    }
    return at;
}

void adamw_step(Array params, const Array& grads, Array m, Array v, const Array& edges, float keep,
                float one_minus_beta1, float beta2, float one_minus_beta2, float root_scale, float eps,
                float step_size) {
    float* ps = writable_floats("params", params, {-1});
    const ptrdiff_t count = params.size();
    const float* gs = floats("grads", grads, {count});
    float* ms = writable_floats("m", m, {count});
    float* vs = writable_floats("v", v, {count});
    const int64_t* es = edges_in(count, edges);
    const AdamWStep step{keep, one_minus_beta1, beta2, one_minus_beta2, root_scale, eps, step_size};
    run(&AdamWKernels::step, count, ps, gs, ms, vs, edges.size(), es, step);
}

const Binding binding([](py::module_& m) {
    m.def("adamw_step", adamw_step, py::arg("params"), py::arg("grads"), py::arg("m"), py::arg("v"), py::arg("edges"),
          py::kw_only(), py::arg("keep"), py::arg("one_minus_beta1"), py::arg("beta2"), py::arg("one_minus_beta2"),
          py::arg("root_scale"), py::arg("eps"), py::arg("step_size"));
});

}  // namespace
}  // namespace levit
