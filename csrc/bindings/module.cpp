// The Python module levit_ref._native: the private floor under levit_ref/runtime/native, which has the operations' public
// signatures. Every function checks shapes, dtypes and memory layout, says what came where something is wrong, runs
// its kernel without the interpreter's lock, and returns new arrays.
#include "bindings/arrays.h"
#include "runtime/buffers.h"
#include "runtime/dispatch.h"
#include "runtime/thread_pool.h"

namespace levit {
namespace {

py::list list_instruction_sets() {
    py::list result;
    for (const Isa& isa : instruction_sets()) result.append(py::make_tuple(isa.name, isa.supported));
    return result;
}

}  // namespace
}  // namespace levit

PYBIND11_MODULE(_native, m) {
    using namespace levit;
    m.doc() = "C++ kernels of levit_ref: see levit_ref.runtime.native.";
    bind_attention(m);
    bind_batch_norm(m);
    bind_conv(m);
    bind_elementwise(m);
    bind_linear(m);
    bind_losses(m);
    bind_pictures(m);
    bind_position_bias(m);
    bind_softmax(m);
    bind_tokens(m);
    bind_training(m);
    m.def("empty", empty, py::arg("shape"), "A new float32 array with whatever was in its memory.");
    m.def("instruction_sets", list_instruction_sets, "Those compiled in, the best first, and whether this processor has them.");
    m.def("isa", [] { return std::string(kernels().isa); }, "The one in use.");
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
