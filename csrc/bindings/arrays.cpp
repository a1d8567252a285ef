#include "bindings/arrays.h"

#include "runtime/buffers.h"

namespace levit {
namespace {

Shape shape_of(const Array& a) { return Shape(a.shape(), a.shape() + a.ndim()); }

}  // namespace

std::string describe(const Shape& shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size(); ++i)
        text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
    return text + (shape.size() == 1 ? ",)" : ")");
}

const float* strided_floats(const char* name, const Array& a, const Shape& expected) {
    if (!a.dtype().equal(py::dtype::of<float>()))
        throw py::type_error(std::string(name) + " must be float32, got " + std::string(py::str(a.dtype())));
    const Shape shape = shape_of(a);
    bool fits = shape.size() == expected.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = expected[i] < 0 || shape[i] == expected[i];
    if (!fits)
        throw py::value_error(std::string(name) + " has shape " + describe(shape) + ", expected " + describe(expected));
    return static_cast<const float*>(a.data());
}

const float* floats(const char* name, const Array& a, const Shape& expected) {
    const float* values = strided_floats(name, a, expected);
    if (!(a.flags() & py::array::c_style))
        throw py::value_error(std::string(name) + " must be contiguous in memory, got strides " +
                              describe(Shape(a.strides(), a.strides() + a.ndim())));
    return values;
}

float* writable_floats(const char* name, Array& a, const Shape& expected) {
    floats(name, a, expected);
    if (!a.writeable()) throw py::value_error(std::string(name) + " is read-only");
    return static_cast<float*>(a.mutable_data());
}

Array empty(const Shape& shape) {
    size_t floats = 1;
    for (const ptrdiff_t n : shape) {
        if (n < 0) throw py::value_error("a shape has no negative lengths, got " + describe(shape));
        floats *= static_cast<size_t>(n);
    }
    float* memory = take_buffer(floats);
    const py::capsule owner(memory, [](void* p) { return_buffer(static_cast<float*>(p)); });
    return py::array_t<float>(shape, memory, owner);
}

float* data(Array& a) { return static_cast<float*>(a.mutable_data()); }

Activation activation_named(const std::string& name) {
    if (name == "identity") return Activation::identity;
    if (name == "hardswish") return Activation::hardswish;
    if (name == "relu") return Activation::relu;
    if (name == "silu") return Activation::silu;
    if (name == "gelu") return Activation::gelu;
    throw py::value_error("there is no kernel for the activation '" + name + "'");
}

}  // namespace levit
