#include "bindings/arrays.h"

#include <cstdint>

#include "runtime/buffers.h"

namespace levit {
namespace {

// By equality: an array that was unpickled has a dtype object of its own.
void check_dtype(const char* name, const Array& a, const py::dtype& expected) {
    if (!a.dtype().equal(expected))
        throw py::type_error(std::string(name) + " must be " + std::string(py::str(expected)) + ", got " +
                             std::string(py::str(a.dtype())));
}

void check_shape(const char* name, const Array& a, const Shape& expected) {
    const Shape shape = shape_of(a);
    bool fits = shape.size() == expected.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = expected[i] < 0 || shape[i] == expected[i];
    if (!fits)
        throw py::value_error(std::string(name) + " has shape " + describe(shape) + ", expected " + describe(expected));
}

}  // namespace

Shape shape_of(const Array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

std::string describe(const Shape& shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size(); ++i)
        text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
    return text + (shape.size() == 1 ? ",)" : ")");
}

ptrdiff_t count_of(const Shape& shape) {
    constexpr ptrdiff_t MOST = PTRDIFF_MAX / 16;  // elements of up to 8 bytes, and room to round up
    ptrdiff_t count = 1;
    bool empty = false;
    for (const ptrdiff_t n : shape) {
        if (n < 0) throw py::value_error("a shape has no negative lengths, got " + describe(shape));
        if (n > 0 && count > MOST / n) throw py::value_error("the shape " + describe(shape) + " is too large for memory");
        empty |= n == 0;
        count *= n == 0 ? 1 : n;
    }
    return empty ? 0 : count;
}

template <class T>
const T* values(const char* name, const Array& a, const Shape& expected) {
    check_dtype(name, a, py::dtype::of<T>());
    check_shape(name, a, expected);
    if (!(a.flags() & py::array::c_style))
        throw py::value_error(std::string(name) + " must be contiguous in memory, got strides " +
                              describe(Shape(a.strides(), a.strides() + a.ndim())));
    return static_cast<const T*>(a.data());
}
template const float* values<float>(const char*, const Array&, const Shape&);
template const int64_t* values<int64_t>(const char*, const Array&, const Shape&);
template const uint8_t* values<uint8_t>(const char*, const Array&, const Shape&);
template const bool* values<bool>(const char*, const Array&, const Shape&);

const float* floats(const char* name, const Array& a, const Shape& expected) { return values<float>(name, a, expected); }

const float* strided_floats(const char* name, const Array& a, const Shape& expected) {
    check_dtype(name, a, py::dtype::of<float>());
    check_shape(name, a, expected);
    return static_cast<const float*>(a.data());
}

float* writable_floats(const char* name, Array& a, const Shape& expected) {
    floats(name, a, expected);
    if (!a.writeable()) throw py::value_error(std::string(name) + " is read-only");
    return static_cast<float*>(a.mutable_data());
}

Array new_array(const Shape& shape, const py::dtype& dtype) {
    void* memory = take_buffer(static_cast<size_t>(count_of(shape)) * static_cast<size_t>(dtype.itemsize()));
    const py::capsule owner(memory, return_buffer);
    return Array(dtype, shape, memory, owner);
}

}  // namespace levit
