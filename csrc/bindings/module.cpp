// The Python module levit_ref._native: the private floor under levit_ref/runtime/native, which has the operations' public
// signatures. Every function checks shapes, dtypes and memory layout, says in an error which argument is wrong and how, and
// runs its kernel without the interpreter's lock. Results are new arrays, with these exceptions: attention_backward writes
// dq, dk and dv where it is told to, linear_backward_weight adds to add_to, and scale, clip_units, adamw_step and
// move_average change their arguments in place.
#include "bindings/binding.h"
#include "runtime/buffers.h"
#include "runtime/thread_pool.h"

namespace levit {

Activation activation_named(const std::string& name) {
#define LEVIT_IF_NAMED(kind) \
    if (name == #kind) return Activation::kind;
    LEVIT_ACTIVATIONS(LEVIT_IF_NAMED)
#undef LEVIT_IF_NAMED
    throw py::value_error("there is no kernel for the activation '" + name + "'");
}

namespace {

Array empty(const Shape& shape) { return New<float>(shape).array; }

py::list list_instruction_sets() {
    py::list result;
    for (const InstructionSet& set : instruction_sets()) result.append(py::make_tuple(set.name, set.supported));
    return result;
}

}  // namespace
}  // namespace levit

PYBIND11_MODULE(_native, m) {
    using namespace levit;
    m.doc() = "C++ kernels of levit_ref: see levit_ref.runtime.native.";
    Binding::define_all(m);
    m.def("empty", empty, py::arg("shape"), "A new float32 array with whatever was in its memory.");
    m.def("instruction_sets", list_instruction_sets, "Those compiled in, the best first, and whether this processor has them.");
    m.def("isa", [] { return std::string(chosen_isa().name); }, "The one in use.");
    m.def("set_isa", set_isa, py::arg("name"));
    m.def("num_threads", num_threads);
    m.def("set_num_threads", set_num_threads, py::arg("n"));
    m.def("available_cores", available_cores);
    m.def("buffer_bytes", [] {
        const BufferBytes bytes = buffer_bytes();
        return py::make_tuple(bytes.in_use, bytes.kept, bytes.most_in_use);
    });
    m.def("release_buffers", release_buffers);
}
