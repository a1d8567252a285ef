// 2-D convolution. Images are (B, H, W, C) here and kernels (C_out, kH, kW, C_in): channels last.
#include "bindings/binding.h"
#include "ops/conv2d.h"

#include <algorithm>
#include <array>

namespace levit {
namespace {

using Pair = std::array<ptrdiff_t, 2>;  // by rows and by columns

ConvAxis axis(ptrdiff_t size, ptrdiff_t kernel, ptrdiff_t stride, ptrdiff_t padding) {
    if (padding > PTRDIFF_MAX / 4) throw py::value_error("padding " + std::to_string(padding) + " is too large for memory");
    if (stride < 1 || padding < 0)
        throw py::value_error("stride must be at least 1 and padding at least 0, got " + std::to_string(stride) +
                              " and " + std::to_string(padding));
    if (size < 1 || kernel < 1 || kernel > size + 2 * padding)
        throw py::value_error("a kernel of size " + std::to_string(kernel) + " does not fit into an image of size " +
                              std::to_string(size) + " with padding " + std::to_string(padding));
    return {size, kernel, stride, padding, (size + 2 * padding - kernel) / stride + 1};
}

// With products that are no larger than the kernels can count.
Conv2dSizes sizes_of(const Shape& x, ptrdiff_t C_out, const Pair& kernel, const Pair& stride, const Pair& padding) {
    const Conv2dSizes sizes{x[0], x[3], C_out, axis(x[1], kernel[0], stride[0], padding[0]),
                            axis(x[2], kernel[1], stride[1], padding[1])};
    const ConvAxis &h = sizes.h, &w = sizes.w;
    const ptrdiff_t images = std::max<ptrdiff_t>(1, x[0]), channels = std::max<ptrdiff_t>({1, x[3], C_out});
    count_of({images, h.size + 2 * h.padding, w.size + 2 * w.padding, channels});
    count_of({h.stride, w.stride, h.kernel, w.kernel, channels, channels});
    return sizes;
}

// Images with any strides that are whole floats.
Images images(const char* name, const Array& x, const Shape& expected) {
    const float* data = strided_floats(name, x, expected);
    ptrdiff_t floats[4];
    for (int i = 0; i < 4; ++i) {
        if (x.strides(i) % static_cast<ptrdiff_t>(sizeof(float)) != 0)
            throw py::value_error(std::string(name) + " must have strides of whole floats, got " +
                                  describe(Shape(x.strides(), x.strides() + 4)) + " bytes");
        floats[i] = x.strides(i) / static_cast<ptrdiff_t>(sizeof(float));
    }
    return {data, x.shape(1), x.shape(2), x.shape(3), floats[0], floats[1], floats[2], floats[3]};
}

Array conv2d_forward(const Array& x, const Array& weight, const std::optional<Array>& bias,
                     const std::string& activation, const Pair& stride, const Pair& padding) {
    const Images xs = images("x", x, {-1, -1, -1, -1});
    const float* ws = floats("weight", weight, {-1, -1, -1, x.shape(3)});
    const Conv2dSizes sizes = sizes_of(shape_of(x), weight.shape(0), {weight.shape(1), weight.shape(2)}, stride, padding);
    const float* bs = bias ? floats("bias", *bias, {sizes.C_out}) : nullptr;
    const Activation act = activation_named(activation);
    New<float> y({sizes.B, sizes.h.out, sizes.w.out, sizes.C_out});
    if (y.array.size() > 0) run(&Conv2dKernels::forward, sizes, xs, ws, bs, act, y);
    return y.array;
}

Array conv2d_backward_x(const Array& dy, const Array& weight, const Pair& size, const Pair& stride,
                        const Pair& padding) {
    const float* dys = floats("dy", dy, {-1, -1, -1, -1});
    const float* ws = floats("weight", weight, {dy.shape(3), -1, -1, -1});
    const Conv2dSizes sizes = sizes_of({dy.shape(0), size[0], size[1], weight.shape(3)}, weight.shape(0),
                               {weight.shape(1), weight.shape(2)}, stride, padding);
    floats("dy", dy, {sizes.B, sizes.h.out, sizes.w.out, sizes.C_out});
    New<float> dx({sizes.B, sizes.h.size, sizes.w.size, sizes.C_in});
    if (dx.array.size() > 0) run(&Conv2dKernels::backward_x, sizes, dys, ws, dx);
    return dx.array;
}

Array conv2d_backward_weight(const Array& dy, const Array& x, const Pair& kernel, const Pair& stride,
                             const Pair& padding) {
    const Images xs = images("x", x, {-1, -1, -1, -1});
    const float* dys = floats("dy", dy, {x.shape(0), -1, -1, -1});
    const Conv2dSizes sizes = sizes_of(shape_of(x), dy.shape(3), kernel, stride, padding);
    floats("dy", dy, {sizes.B, sizes.h.out, sizes.w.out, sizes.C_out});
    New<float> dweight({sizes.h.kernel, sizes.w.kernel, sizes.C_in, sizes.C_out});
    if (dweight.array.size() > 0) run(&Conv2dKernels::backward_weight, sizes, dys, xs, dweight);
    return dweight.array;
}

const Binding binding([](py::module_& m) {
    m.def("conv2d_forward", conv2d_forward, py::arg("x"), py::arg("weight"), py::arg("bias") = py::none(),
          py::arg("activation") = "identity", py::kw_only(), py::arg("stride"), py::arg("padding"));
    m.def(  // as it was called before it had a bias and an activation
        "conv2d_forward",
        [](const Array& x, const Array& weight, const Pair& stride, const Pair& padding) {
            return conv2d_forward(x, weight, {}, "identity", stride, padding);
        },
        py::arg("x"), py::arg("weight"), py::arg("stride"), py::arg("padding"));
    m.def("conv2d_backward_x", conv2d_backward_x, py::arg("dy"), py::arg("weight"), py::arg("size"), py::arg("stride"),
          py::arg("padding"));
    m.def("conv2d_backward_weight", conv2d_backward_weight, py::arg("dy"), py::arg("x"), py::arg("kernel"),
          py::arg("stride"), py::arg("padding"));
});

}  // namespace
}  // namespace levit
