// Training pictures, from bytes to the numbers that the network reads.
#include "bindings/binding.h"
#include "ops/pictures.h"

namespace levit {
namespace {

Array augment(const Array& pictures, const Array& table, const std::optional<Array>& windows, ptrdiff_t padding,
              bool reflect, const std::optional<Array>& flipped, const std::optional<Array>& boxes,
              ptrdiff_t box_side) {
    if (pictures.ndim() != 4 || pictures.shape(1) != 3)
        throw py::value_error("pictures must have shape (B, 3, H, W), got " +
                              describe(shape_of(pictures)));
    const ptrdiff_t B = pictures.shape(0), H = pictures.shape(2), W = pictures.shape(3);
    const uint8_t* bytes = values<uint8_t>("pictures", pictures, {B, 3, H, W});
    if (padding < 0 || padding > PTRDIFF_MAX / 4 || (reflect && padding > 0 && padding >= std::min(H, W)))
        throw py::value_error("padding " + std::to_string(padding) + " does not go with pictures of " +
                              std::to_string(H) + " x " + std::to_string(W));
    Augment how{};
    how.values = floats("values", table, {3, 256});
    how.padding = padding;
    how.reflect = reflect;
    if (windows) {
        how.top = values<int64_t>("windows", *windows, {2, B});
        how.left = how.top + B;
        for (ptrdiff_t i = 0; i < 2 * B; ++i)
            if (how.top[i] < 0 || how.top[i] > 2 * padding)
                throw py::value_error("windows must be within 0 and " + std::to_string(2 * padding) + ", got " +
                                      std::to_string(how.top[i]));
    }
    if (flipped) how.flipped = values<bool>("flipped", *flipped, {B});
    if (boxes) {
        how.box_top = values<int64_t>("boxes", *boxes, {2, B});
        how.box_left = how.box_top + B;
        how.box_side = box_side;
    }
    New<float> images({B, H, W, 3});
    run(&PictureKernels::augment, B, H, W, bytes, how, images);
    return images.array;
}

const Binding binding([](py::module_& m) {
    m.def("augment", augment, py::arg("pictures"), py::arg("values"), py::kw_only(), py::arg("windows"),
          py::arg("padding"), py::arg("reflect"), py::arg("flipped"), py::arg("boxes"), py::arg("box_side"));
});

}  // namespace
}  // namespace levit
