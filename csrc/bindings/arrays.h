// What the bindings share: taking arrays from Python with checks that say what came, and making new ones.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "kernels.h"

namespace levit {

namespace py = pybind11;
using Array = py::array;
using Shape = std::vector<ptrdiff_t>;  // -1 in an expected shape: any length

std::string describe(const Shape& shape);

// A float32 array that is contiguous in memory, of the given shape. Returns where its values are.
const float* floats(const char* name, const Array& a, const Shape& expected);

// The same for an array with any strides; only dtype and shape are checked.
const float* strided_floats(const char* name, const Array& a, const Shape& expected);

// A contiguous float32 array to write into.
float* writable_floats(const char* name, Array& a, const Shape& expected);

// A new float32 array in memory of runtime/buffers.h, and where its values are.
Array empty(const Shape& shape);
float* data(Array& a);

Activation activation_named(const std::string& name);

// One for each file in this folder.
void bind_attention(py::module_& m);
void bind_batch_norm(py::module_& m);
void bind_conv(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_linear(py::module_& m);
void bind_losses(py::module_& m);
void bind_pictures(py::module_& m);
void bind_position_bias(py::module_& m);
void bind_softmax(py::module_& m);
void bind_tokens(py::module_& m);
void bind_training(py::module_& m);

}  // namespace levit
