// The moving average of the parameters, in place.
#include "bindings/binding.h"
#include "ops/moving_average.h"

namespace levit {
namespace {

void move_average(Array average, const Array& value, float share) {
    float* to = writable_floats("average", average, {-1});
    const ptrdiff_t count = average.size();
    const float* from = floats("value", value, {count});
    run(&MovingAverageKernels::move, count, to, from, share);
}

const Binding binding([](py::module_& m) {
    m.def("move_average", move_average, py::arg("average"), py::arg("value"), py::arg("share"));
});

}  // namespace
}  // namespace levit
