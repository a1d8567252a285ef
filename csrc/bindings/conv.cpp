// The 2-D convolution. Images are (B, H, W, C) here and kernels (C_out, kH, kW, C_in): channels last.
#include "bindings/arrays.h"
#include "runtime/dispatch.h"

#include <array>

namespace levit {
namespace {

using Pair = std::array<ptrdiff_t, 2>;  // by rows and by columns

ConvAxis axis(ptrdiff_t size, ptrdiff_t kernel, ptrdiff_t stride, ptrdiff_t padding) {
    if (stride < 1 || padding < 0)
        throw py::value_error("stride must be at least 1 and padding at least 0, got " + std::to_string(stride) +
                              " and " + std::to_string(padding));
    if (size < 1 || kernel < 1 || kernel > size + 2 * padding)
        throw py::value_error("a kernel of size " + std::to_string(kernel) + " does not fit into an image of size " +
                              std::to_string(size) + " with padding " + std::to_string(padding));
    return {size, kernel, stride, padding, (size + 2 * padding - kernel) / stride + 1};
}

Conv2d conv2d(const Shape& x, ptrdiff_t C_out, const Pair& kernel, const Pair& stride, const Pair& padding) {
    return {x[0], x[3], C_out, axis(x[1], kernel[0], stride[0], padding[0]),
            axis(x[2], kernel[1], stride[1], padding[1])};
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

Shape shape_of(const Array& x) { return Shape(x.shape(), x.shape() + x.ndim()); }

Array conv2d_forward(const Array& x, const Array& weight, const std::optional<Array>& bias,
                     const std::string& activation, const Pair& stride, const Pair& padding) {
    const Images xs = images("x", x, {-1, -1, -1, -1});
    const float* ws = floats("weight", weight, {-1, -1, -1, x.shape(3)});
    const Conv2d conv = conv2d(shape_of(x), weight.shape(0), {weight.shape(1), weight.shape(2)}, stride, padding);
    const float* bs = bias ? floats("bias", *bias, {conv.C_out}) : nullptr;
    const Activation act = activation_named(activation);
    Array y = empty({conv.B, conv.h.out, conv.w.out, conv.C_out});
    float* ys = data(y);
    const py::gil_scoped_release release;
    kernels().conv2d_forward(conv, xs, ws, bs, act, ys);
    return y;
}

Array conv2d_backward_x(const Array& dy, const Array& weight, const Pair& size, const Pair& stride,
                        const Pair& padding) {
    const float* dys = floats("dy", dy, {-1, -1, -1, -1});
    const float* ws = floats("weight", weight, {dy.shape(3), -1, -1, -1});
    const Conv2d conv = conv2d({dy.shape(0), size[0], size[1], weight.shape(3)}, weight.shape(0),
                               {weight.shape(1), weight.shape(2)}, stride, padding);
    floats("dy", dy, {conv.B, conv.h.out, conv.w.out, conv.C_out});
    Array dx = empty({conv.B, conv.h.size, conv.w.size, conv.C_in});
    float* dxs = data(dx);
    const py::gil_scoped_release release;
    kernels().conv2d_backward_x(conv, dys, ws, dxs);
    return dx;
}

Array conv2d_backward_weight(const Array& dy, const Array& x, const Pair& kernel, const Pair& stride,
                             const Pair& padding) {
    const Images xs = images("x", x, {-1, -1, -1, -1});
    const float* dys = floats("dy", dy, {x.shape(0), -1, -1, -1});
    const Conv2d conv = conv2d(shape_of(x), dy.shape(3), kernel, stride, padding);
    floats("dy", dy, {conv.B, conv.h.out, conv.w.out, conv.C_out});
    Array dweight = empty({conv.h.kernel, conv.w.kernel, conv.C_in, conv.C_out});
    float* dws = data(dweight);
    const py::gil_scoped_release release;
    kernels().conv2d_backward_weight(conv, dys, xs, dws);
    return dweight;
}

}  // namespace

void bind_conv(py::module_& m) {
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
}

}  // namespace levit
