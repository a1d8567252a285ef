// Training pictures, from bytes to what the network reads.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

namespace levit {
namespace {

// The values of a contiguous array of T with the given shape. T is not float: see arrays.h for those.
template <class T>
const T* values_of(const char* name, const Array& a, const Shape& expected) {
    if (!a.dtype().equal(py::dtype::of<T>()))
        throw py::type_error(std::string(name) + " must be " + std::string(py::str(py::dtype::of<T>())) + ", got " +
                             std::string(py::str(a.dtype())));
    const Shape shape(a.shape(), a.shape() + a.ndim());
    if (shape != expected)
        throw py::value_error(std::string(name) + " has shape " + describe(shape) + ", expected " + describe(expected));
    if (!(a.flags() & py::array::c_style)) throw py::value_error(std::string(name) + " must be contiguous in memory");
    return static_cast<const T*>(a.data());
}

Array augment(const Array& pictures, const Array& values, const std::optional<Array>& windows, ptrdiff_t padding,
              bool reflect, const std::optional<Array>& flipped, const std::optional<Array>& boxes,
              ptrdiff_t box_side) {
    if (pictures.ndim() != 4 || pictures.shape(1) != 3)
        throw py::value_error("pictures must have shape (B, 3, H, W), got " +
                              describe(Shape(pictures.shape(), pictures.shape() + pictures.ndim())));
    const ptrdiff_t B = pictures.shape(0), H = pictures.shape(2), W = pictures.shape(3);
    const uint8_t* bytes = values_of<uint8_t>("pictures", pictures, {B, 3, H, W});
    if (padding < 0 || (reflect && padding > 0 && padding >= std::min(H, W)))
        throw py::value_error("padding " + std::to_string(padding) + " does not go with pictures of " +
                              std::to_string(H) + " x " + std::to_string(W));
    Augment how{};
    how.values = floats("values", values, {3, 256});
    how.padding = padding;
    how.reflect = reflect;
    if (windows) {
        how.top = values_of<int64_t>("windows", *windows, {2, B});
        how.left = how.top + B;
        for (ptrdiff_t i = 0; i < 2 * B; ++i)
            if (how.top[i] < 0 || how.top[i] > 2 * padding)
                throw py::value_error("windows must be within 0 and " + std::to_string(2 * padding) + ", got " +
                                      std::to_string(how.top[i]));
    }
    if (flipped) how.flipped = values_of<bool>("flipped", *flipped, {B});
    if (boxes) {
        how.box_top = values_of<int64_t>("boxes", *boxes, {2, B});
        how.box_left = how.box_top + B;
        how.box_side = box_side;
    }
    Array images = empty({B, H, W, 3});
    float* to = data(images);
    const py::gil_scoped_release release;
    kernels().augment(B, H, W, bytes, how, to);
    return images;
}

}  // namespace

void bind_pictures(py::module_& m) {
    m.def("augment", augment, py::arg("pictures"), py::arg("values"), py::kw_only(), py::arg("windows"),
          py::arg("padding"), py::arg("reflect"), py::arg("flipped"), py::arg("boxes"), py::arg("box_side"));
}

}  // namespace levit
