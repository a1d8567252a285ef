// Attention: arrays (B, heads, N, channels) may be views of any kind whose channels are contiguous; biases and their
// gradients are (heads, N_k, N_q), see ops/attention.cpp.
#include "bindings/binding.h"
#include "ops/attention.h"

namespace levit {
namespace {

constexpr ptrdiff_t FLOAT = sizeof(float);

// Strides in floats of a (B, heads, N, channels), whose last one has to be 1.
template <class View, class T>
View strides_of(const char* name, const Array& a, T* values) {
    if (a.size() == 0) throw py::value_error(std::string(name) + " is empty");
    ptrdiff_t floats[4];
    for (int i = 0; i < 4; ++i) {
        floats[i] = a.strides(i) / FLOAT;
        if (a.strides(i) % FLOAT != 0 || (i == 3 && a.shape(3) > 1 && floats[3] != 1))
            throw py::value_error(std::string(name) + " must have contiguous channels, got strides " +
                                  describe(Shape(a.strides(), a.strides() + 4)));
    }
    return {values, floats[0], floats[1], floats[2]};
}

PerHead per_head(const char* name, const Array& a, const Shape& expected) {
    return strides_of<PerHead>(name, a, strided_floats(name, a, expected));
}

PerHeadOut per_head_out(const char* name, Array& a, const Shape& expected) {
    strided_floats(name, a, expected);
    if (!a.writeable()) throw py::value_error(std::string(name) + " is read-only");
    return strides_of<PerHeadOut>(name, a, static_cast<float*>(a.mutable_data()));
}

struct Factors {
    AttentionSizes sizes;
    PerHead q, k, v;
    const float* bias;
};

Factors check_factors(const Array& q, const Array& k, const Array& v, const std::optional<Array>& bias) {
    Factors f;
    f.q = per_head("q", q, {-1, -1, -1, -1});
    const ptrdiff_t B = q.shape(0), heads = q.shape(1), N_q = q.shape(2), D = q.shape(3);
    f.k = per_head("k", k, {B, heads, -1, D});
    const ptrdiff_t N_k = k.shape(2);
    f.v = per_head("v", v, {B, heads, N_k, -1});
    f.bias = bias ? floats("bias", *bias, {heads, N_k, N_q}) : nullptr;
    f.sizes = {B, heads, N_q, N_k, D, v.shape(3)};
    return f;
}

Array attention_forward(const Array& q, const Array& k, const Array& v, const std::optional<Array>& bias, float scale) {
    const Factors f = check_factors(q, k, v, bias);
    const auto& [B, heads, N_q, N_k, D, E] = f.sizes;
    New<float> context({B, N_q, heads, E});
    const PerHeadOut out{context, N_q * heads * E, E, heads * E};
    run(&AttentionKernels::forward, f.sizes, f.q, f.k, f.v, f.bias, scale, out);
    return context.array;
}

Array attention_backward(const Array& dcontext, const Array& q, const Array& k, const Array& v,
                         const std::optional<Array>& bias, float scale, Array& dq, Array& dk, Array& dv) {
    const Factors f = check_factors(q, k, v, bias);
    const auto& [B, heads, N_q, N_k, D, E] = f.sizes;
    const PerHead dc = per_head("dcontext", dcontext, {B, heads, N_q, E});
    const PerHeadOut dqs = per_head_out("dq", dq, {B, heads, N_q, D});
    const PerHeadOut dks = per_head_out("dk", dk, {B, heads, N_k, D});
    const PerHeadOut dvs = per_head_out("dv", dv, {B, heads, N_k, E});
    New<float> dbias({heads, N_k, N_q});
    run(&AttentionKernels::backward, f.sizes, dc, f.q, f.k, f.v, f.bias, scale, dqs, dks, dvs, dbias);
    return dbias.array;
}

// c (B, heads, M, N) of every image and head, with one of the factors transposed, or none.
Array multiply_heads(const Array& a, const Array& b, float scale, const std::string& transposed) {
    const bool first = transposed == "first", second = transposed == "second";
    if (!first && !second && transposed != "none")
        throw py::value_error("transposed must be none, first or second, got '" + transposed + "'");
    const PerHead as = per_head("a", a, {-1, -1, -1, -1});
    const ptrdiff_t B = a.shape(0), heads = a.shape(1), M = a.shape(first ? 3 : 2), K = a.shape(first ? 2 : 3);
    const PerHead bs = per_head("b", b, second ? Shape{B, heads, -1, K} : Shape{B, heads, K, -1});
    const ptrdiff_t N = b.shape(second ? 2 : 3);
    New<float> c({B, heads, M, N});
    const PerHeadOut cs{c, heads * M * N, M * N, N};
    run(first    ? &AttentionKernels::transposed_heads_by_plain
        : second ? &AttentionKernels::heads_by_transposed
                 : &AttentionKernels::heads_by_plain,
        B, heads, M, N, K, as, bs, scale, cs);
    return c.array;
}

Array attention_backward_bias(const Array& dscores) {
    const float* from = floats("dscores", dscores, {-1, -1, -1, -1});
    if (dscores.size() == 0) throw py::value_error("dscores is empty");
    const AttentionSizes sizes{dscores.shape(0), dscores.shape(1), dscores.shape(2), dscores.shape(3), 0, 0};
    New<float> dbias({sizes.heads, sizes.N_q, sizes.N_k});
    run(&AttentionKernels::backward_bias, sizes, from, dbias);
    return dbias.array;
}

const Binding binding([](py::module_& m) {
    m.def("attention_forward", attention_forward, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("bias"),
          py::arg("scale"));
    m.def("attention_backward", attention_backward, py::arg("dcontext"), py::arg("q"), py::arg("k"), py::arg("v"),
          py::arg("bias"), py::arg("scale"), py::arg("dq"), py::arg("dk"), py::arg("dv"));
    m.def("multiply_heads", multiply_heads, py::arg("a"), py::arg("b"), py::arg("scale"), py::arg("transposed"));
    m.def("attention_backward_bias", attention_backward_bias, py::arg("dscores"));
});

}  // namespace
}  // namespace levit
