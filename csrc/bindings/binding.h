// What each file of this folder is made of: functions that check their arguments, make arrays for the results and run a
// kernel, and a Binding that gives them their names in Python.
//
//   Array softmax_forward(const Array& x) {
//       const float* xs = floats("x", x, {-1, -1});
//       New<float> y({x.shape(0), x.shape(1)});
//       run(&SoftmaxKernels::forward, x.shape(0), x.shape(1), xs, y);
//       return y.array;
//   }
//
//   const Binding binding([](py::module_& m) { m.def("softmax_forward", softmax_forward, py::arg("x")); });
#pragma once

#include <type_traits>

#include "activation_kind.h"
#include "bindings/arrays.h"
#include "dispatch.h"

namespace levit {

// Runs a kernel for the chosen instruction set, without the interpreter's lock.
template <class Kernels, class Return, class... Parameters>
Return run(Return (*Kernels::*kernel)(Parameters...), std::type_identity_t<Parameters>... arguments) {
    Return (*const function)(Parameters...) = kernels<Kernels>().*kernel;
    const py::gil_scoped_release release;
    return function(arguments...);
}

Activation activation_named(const std::string& name);

// One for each file of bindings; the module calls them all.
class Binding {
public:
    using Define = void (*)(py::module_&);

    explicit Binding(Define define) : define_(define), next_(first_) { first_ = this; }

    static void define_all(py::module_& m) {
        for (const Binding* b = first_; b != nullptr; b = b->next_) b->define_(m);
    }

private:
    static inline const Binding* first_ = nullptr;

    Define define_;
    const Binding* next_;
};

}  // namespace levit
