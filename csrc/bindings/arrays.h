// Arrays from Python, with checks that say what was given, and new ones for results.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

namespace levit {

namespace py = pybind11;
using Array = py::array;
using Shape = std::vector<ptrdiff_t>;  // -1 in an expected shape: any length

Shape shape_of(const Array& a);
std::string describe(const Shape& shape);

// The number of elements of a shape. An error where it is negative, or does not fit into memory.
ptrdiff_t count_of(const Shape& shape);

// --- arguments -------------------------------------------------------------------------------------------------------

// Each of these checks an array and returns where its values are.

// An array of T, contiguous in memory, of the given shape.
template <class T>
const T* values(const char* name, const Array& a, const Shape& expected);

// Of float32: the same; one with any strides; one to write into.
const float* floats(const char* name, const Array& a, const Shape& expected);
const float* strided_floats(const char* name, const Array& a, const Shape& expected);
float* writable_floats(const char* name, Array& a, const Shape& expected);

// --- results ---------------------------------------------------------------------------------------------------------

// A new contiguous array in memory of runtime/buffers.h, whose values are to be written.
Array new_array(const Shape& shape, const py::dtype& dtype);

template <class T>
struct New {
    explicit New(const Shape& shape) : array(new_array(shape, py::dtype::of<T>())) {}
    operator T*() { return static_cast<T*>(array.mutable_data()); }

    Array array;
};

}  // namespace levit
