// Cross-entropy of rows.
#include "bindings/binding.h"
#include "ops/losses.h"

#include <tuple>

namespace levit {
namespace {

// The loss of each row, and the probabilities.
std::tuple<Array, Array> cross_entropy_forward(const Array& logits, const Array& targets) {
    const float* from = floats("logits", logits, {-1, -1});
    const ptrdiff_t B = logits.shape(0), K = logits.shape(1);
    if (K < 1) throw py::value_error("logits has no columns");
    const float* target = floats("targets", targets, {B, K});
    New<float> losses({B}), probs({B, K});
    run(&LossKernels::cross_entropy_forward, B, K, from, target, losses, probs);
    return {losses.array, probs.array};
}

Array cross_entropy_backward(const Array& probs, const Array& targets, float scale) {
    const float* prob = floats("probs", probs, {-1, -1});
    const ptrdiff_t B = probs.shape(0), K = probs.shape(1);
    if (K < 1) throw py::value_error("probs has no columns");
    const float* target = floats("targets", targets, {B, K});
    New<float> dlogits({B, K});
    run(&LossKernels::cross_entropy_backward, B, K, prob, target, scale, dlogits);
    return dlogits.array;
}

const Binding binding([](py::module_& m) {
    m.def("cross_entropy_forward", cross_entropy_forward, py::arg("logits"), py::arg("targets"));
    m.def("cross_entropy_backward", cross_entropy_backward, py::arg("probs"), py::arg("targets"), py::arg("scale"));
});

}  // namespace
}  // namespace levit
