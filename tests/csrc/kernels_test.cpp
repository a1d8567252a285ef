// The layers under the operations, each by itself: vectors, elementary functions, packing, micro-kernel, matrix product.
// test_csrc.py compiles this for every instruction set that the machine has, with setup.py's flags. The operations on top
// are tested from Python, against NumPy.
//
// Matrices hold small integers. Their products are exact in float32, in whatever order they are added up, and can be
// compared with ==.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "gemm/gemm.h"
#include "simd/math.h"

namespace {

using namespace levit;
using namespace levit::LEVIT_ISA;

constexpr float INF = std::numeric_limits<float>::infinity();
constexpr float NOT_A_NUMBER = std::numeric_limits<float>::quiet_NaN();

// Floats that end where a page ends. The next page must not be touched: reading one float too many is a crash, in any build.
// (A masked vector load is not.)
class Floats {
public:
    explicit Floats(ptrdiff_t count) : count_(count) {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), bytes = count * sizeof(float);
        const size_t usable = (bytes + page - 1) / page * page;
        mapped_ = usable + page;
        memory_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        CHECK(memory_ != MAP_FAILED);
        CHECK(mprotect(memory_ + usable, page, PROT_NONE) == 0);
        data_ = reinterpret_cast<float*>(memory_ + usable - bytes);
    }
    ~Floats() { munmap(memory_, mapped_); }
    Floats(const Floats&) = delete;
    Floats& operator=(const Floats&) = delete;

    operator float*() { return data_; }
    ptrdiff_t size() const { return count_; }

    void fill(float value) {
        for (ptrdiff_t i = 0; i < count_; ++i) data_[i] = value;
    }
    void fill_with_integers(unsigned seed) {
        std::mt19937 random(seed);
        for (ptrdiff_t i = 0; i < count_; ++i) data_[i] = static_cast<float>(static_cast<int>(random() % 9) - 4);
    }

private:
    ptrdiff_t count_;
    size_t mapped_;
    char* memory_;
    float* data_;
};

std::vector<float> lanes_of(vf x) {
    std::vector<float> lanes(LANES);
    store(lanes.data(), x);
    return lanes;
}

vf counting() {  // 1, 2, 3, ...
    float lanes[LANES];
    for (int i = 0; i < LANES; ++i) lanes[i] = static_cast<float>(i + 1);
    return load(lanes);
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// --- vectors ---------------------------------------------------------------------------------------------------------

void partial_loads_and_stores_touch_n_lanes() {
    for (int n = 1; n <= LANES; ++n) {
        Floats memory(n);
        for (int i = 0; i < n; ++i) memory[i] = static_cast<float>(i + 1);
        for (const vf x : {load_first(memory, n), load(memory, n)})
            for (int i = 0; i < LANES; ++i) CHECK(x[i] == (i < n ? static_cast<float>(i + 1) : 0));
        memory.fill(0);
        n % 2 ? store(memory, counting(), n) : store_first(memory, counting(), n);
        for (int i = 0; i < n; ++i) CHECK(memory[i] == static_cast<float>(i + 1));

        float wide[LANES + 1] = {};
        store_first(wide, counting(), n);
        for (int i = 0; i <= LANES; ++i) CHECK(wide[i] == (i < n ? static_cast<float>(i + 1) : 0));

        const vf kept = keep_first(counting(), n, -7);
        for (int i = 0; i < LANES; ++i) CHECK(kept[i] == (i < n ? static_cast<float>(i + 1) : -7));
    }
}

void for_each_vector_covers_everything_once() {
    for (ptrdiff_t count = 0; count <= 3 * LANES + 1; ++count) {
        ptrdiff_t next = 0;
        for_each_vector(count, [&](ptrdiff_t start, int n) {
            CHECK(start == next && n >= 1 && n <= LANES);
            next = start + n;
            CHECK(n == LANES || next == count);
        });
        CHECK(next == count);
    }
}

void broadcast_keeps_every_bit() {
    for (const float value : {0.0f, -0.0f, 1.5f, -INF, INF, 1e-42f, NOT_A_NUMBER})
        for (const float lane : lanes_of(broadcast(value))) CHECK(same_bits(lane, value));
    for (const float lane : lanes_of(zero())) CHECK(same_bits(lane, 0.0f));
}

void minimum_and_maximum_return_the_second_where_one_is_nan() {
    const vf nan = broadcast(NOT_A_NUMBER), one = broadcast(1), two = broadcast(2);
    CHECK(min(one, two)[0] == 1 && min(two, one)[0] == 1);
    CHECK(max(one, two)[0] == 2 && max(two, one)[0] == 2);
    CHECK(min(nan, one)[0] == 1 && max(nan, one)[0] == 1);
    CHECK(std::isnan(min(one, nan)[0]) && std::isnan(max(one, nan)[0]));
}

void arithmetic_is_rounded_as_promised() {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (int round = 0; round < 1000; ++round) {
        const float a = normal(random), b = normal(random), c = -a * b * (1 + 1e-6f * normal(random));
#if defined(__FMA__) || defined(__aarch64__)
        const float once = std::fma(a, b, c), negative = std::fma(-a, b, c);
#else
        const float once = a * b + c, negative = -a * b + c;
#endif
        const vf x = broadcast(a), y = broadcast(b), z = broadcast(c);
        CHECK(same_bits(fma(x, y, z)[LANES - 1], once));
        CHECK(same_bits(fnma(x, y, z)[LANES - 1], negative));
        CHECK(same_bits(sqrt(broadcast(a * a))[LANES - 1], std::sqrt(a * a)));
    }
}

void reductions_see_every_lane() {
    CHECK(sum(counting()) == LANES * (LANES + 1) / 2);
    for (int i = 0; i < LANES; ++i) {
        float lanes[LANES] = {};
        lanes[i] = 3;
        CHECK(largest(load(lanes)) == 3 && sum(load(lanes)) == 3);
        lanes[i] = -3;
        CHECK(largest(load(lanes)) == 0 && sum(load(lanes)) == -3);
    }
}

// --- elementary functions --------------------------------------------------------------------------------------------

float exp_of(float x) { return exp(broadcast(x))[0]; }

void exponential_within_two_ulp() {
    double worst = 0;
    for (int64_t bits = 0; bits < int64_t{1} << 32; bits += 4099) {  // a prime: all exponents, both signs
        const uint32_t pattern = static_cast<uint32_t>(bits);
        float x;
        std::memcpy(&x, &pattern, sizeof x);
        if (!(std::abs(x) < 150)) continue;
        const double right = std::exp(static_cast<double>(x));
        const float got = exp_of(x);
        if (right > std::numeric_limits<float>::max()) {
            CHECK(got == INF || got == std::numeric_limits<float>::max());
            continue;
        }
        const float nearest = static_cast<float>(right);
        const double ulp = static_cast<double>(std::nextafter(nearest, INF)) - nearest;
        worst = std::fmax(worst, std::abs(got - right) / ulp);
    }
    std::printf("    %.2f ulp\n", worst);
    CHECK(worst <= 2);
}

void exponential_of_what_is_not_ordinary() {
    CHECK(std::isnan(exp_of(NOT_A_NUMBER)));
    CHECK(exp_of(INF) == INF && exp_of(1e30f) == INF && exp_of(89) == INF);
    CHECK(same_bits(exp_of(-INF), 0) && same_bits(exp_of(-1e30f), 0) && same_bits(exp_of(-104), 0));
    CHECK(exp_of(0) == 1 && exp_of(-0.0f) == 1);
    CHECK(exp_of(-100) > 0);  // a subnormal number
}

void powers_of_two_over_the_whole_range() {
    for (int n = -252; n <= 254; ++n) {
        const vf scaled = scale_by_power_of_two(broadcast(1), broadcast(static_cast<float>(n)));
        CHECK(scaled[0] == static_cast<float>(std::ldexp(1.0, n)));
    }
}

// --- packing ---------------------------------------------------------------------------------------------------------

const ptrdiff_t DEPTHS[] = {1, 3, 16, 17, 40};
const ptrdiff_t WIDTHS[] = {1, LANES - 1, LANES, LANES + 1, PANEL - 1, PANEL, PANEL + 1, 2 * PANEL + LANES + 3};

// Where element (k, j) of a packed B (K, N) is.
float packed_element(const float* packed, ptrdiff_t K, ptrdiff_t N, ptrdiff_t k, ptrdiff_t j) {
    const ptrdiff_t panel = j / PANEL * PANEL;
    return packed[K * panel + k * panel_width(N, panel) + (j - panel)];
}

void packed_panels_hold_b_and_zeros() {
    for (const ptrdiff_t K : DEPTHS)
        for (const ptrdiff_t N : WIDTHS) {
            Floats rows(K * N), columns(N * K), packed(packed_size(K, N));
            rows.fill_with_integers(static_cast<unsigned>(K + N));
            for (ptrdiff_t k = 0; k < K; ++k)
                for (ptrdiff_t j = 0; j < N; ++j) columns[j * K + k] = rows[k * N + j];
            for (const bool by_rows : {true, false}) {
                packed.fill(NOT_A_NUMBER);
                for (ptrdiff_t j = 0; j < N; j += PANEL)
                    by_rows ? pack_panel_of_rows(K, N, j, rows, N, packed + K * j)
                            : pack_panel_of_columns(K, N, j, columns, K, packed + K * j);
                for (ptrdiff_t k = 0; k < K; ++k)
                    for (ptrdiff_t j = 0; j < padded_columns(N); ++j)
                        CHECK(packed_element(packed, K, N, k, j) == (j < N ? rows[k * N + j] : 0));
            }
        }
}

// --- micro-kernel and matrix product ---------------------------------------------------------------------------------

float activated(Activation kind, float x) {
    float y = 0;
    with_activation(kind, [&]<Activation KIND>() { y = activate<KIND>(broadcast(x))[0]; });
    return y;
}

constexpr float UNTOUCHED = -1234;

// Both kinds of epilogue, for a product in plain loops.
struct AnyEpilogue {
    ScaledSum sum;
    const float* bias = nullptr;
    Activation activation = Activation::identity;
};

// A product C (M, N) = A B in plain loops, to compare with: A(i, k) and B(k, j) as the memory of the factors has them.
struct Problem {
    ptrdiff_t M, N;
    Depth depth;
    Layout layout;
    AnyEpilogue epilogue;
    Factor a, b;

    float element(ptrdiff_t i, ptrdiff_t j, float before) const {
        const ScaledSum& sum = epilogue.sum;
        float total = sum.accumulate ? before : 0;
        for (ptrdiff_t s = 0; s < depth.segments; ++s)
            for (ptrdiff_t k = 0; k < depth.length; ++k) {
                const float* from = a.data + s * a.segment;
                const float factor = layout == Layout::rows ? from[i * a.stride + k] : from[k * a.stride + i];
                total += factor * b.data[s * b.segment + k * b.stride + j];
            }
        total = total * sum.scale + (epilogue.bias ? epilogue.bias[j] : 0);
        if (sum.addend) total += sum.addend[i * sum.addend_stride + j];
        return activated(epilogue.activation, total);
    }

    // Rows of c are c_stride apart; what lies between them is UNTOUCHED, and columns outside of j0 .. j1 are as before.
    void check(const float* c, ptrdiff_t c_stride, float before, ptrdiff_t j0, ptrdiff_t j1) const {
        for (ptrdiff_t i = 0; i < M; ++i)
            for (ptrdiff_t j = 0; j < (i + 1 < M ? c_stride : N); ++j) {
                const float right = j >= N ? UNTOUCHED : j < j0 || j >= j1 ? before : element(i, j, before);
                CHECK(c[i * c_stride + j] == right);
            }
    }
};

// A matrix with rows further apart than they are long, in as little memory as that needs.
ptrdiff_t memory_of(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t stride) { return (rows - 1) * stride + columns; }

void prepare(Floats& c, ptrdiff_t M, ptrdiff_t N, ptrdiff_t stride, float before) {
    c.fill(UNTOUCHED);
    for (ptrdiff_t i = 0; i < M; ++i)
        for (ptrdiff_t j = 0; j < N; ++j) c[i * stride + j] = before;
}

std::vector<ScaledSum> scaled_sums(const float* addend, ptrdiff_t addend_stride) {
    return {{},
            {.accumulate = true},
            {.accumulate = true, .scale = 0.5f},
            {.scale = 0.25f, .addend = addend, .addend_stride = addend_stride},
            {.accumulate = true, .scale = 2, .addend = addend, .addend_stride = addend_stride}};
}

constexpr Activation ACTIVATIONS[] = {
#define LEVIT_VALUE(name) Activation::name,
    LEVIT_ACTIVATIONS(LEVIT_VALUE)
#undef LEVIT_VALUE
};

// f<rows>() for 1 .. MAX_ROWS
template <int ROWS = MAX_ROWS, class F>
void for_each_height(F f) {
    if constexpr (ROWS > 1) for_each_height<ROWS - 1>(f);
    f.template operator()<ROWS>();
}

// One tile of every height and width. PARTIAL: B lies in rows of just `columns` numbers; else they are padded with zeros.
template <int VECS, Layout LAYOUT, bool PARTIAL>
void check_tiles() {
    const Depth depth{5, 3};
    for_each_height([&]<int M>() {
        for (int columns = (VECS - 1) * LANES + 1; columns <= VECS * LANES; ++columns) {
            const ptrdiff_t a_stride = LAYOUT == Layout::rows ? depth.length + 2 : M + 2;
            const ptrdiff_t a_rows = LAYOUT == Layout::rows ? M : depth.length;
            const ptrdiff_t a_columns = LAYOUT == Layout::rows ? depth.length : M;
            const ptrdiff_t a_segment = memory_of(a_rows, a_columns, a_stride) + 1;
            const ptrdiff_t b_stride = PARTIAL ? columns : VECS * LANES, b_segment = depth.length * b_stride;
            const ptrdiff_t c_stride = columns + 3;
            Floats a((depth.segments - 1) * a_segment + memory_of(a_rows, a_columns, a_stride));
            Floats b(depth.segments * b_segment), bias(columns), c(memory_of(M, columns, c_stride));
            Floats addend(memory_of(M, columns, columns + 1));
            a.fill_with_integers(1);
            b.fill_with_integers(2);
            bias.fill_with_integers(3);
            addend.fill_with_integers(7);
            for (ptrdiff_t j = 0; !PARTIAL && j < b.size(); ++j)
                if (j % b_stride >= columns) b[j] = 0;
            auto check = [&](const AnyEpilogue& what, const auto& epilogue) {
                const Problem problem{M, columns, depth, LAYOUT, what, {a, a_stride, a_segment}, {b, b_stride, b_segment}};
                prepare(c, M, columns, c_stride, 6);
                const Tile tile{c, c_stride, 0, 0, columns};
                micro_kernel<M, VECS, LAYOUT, PARTIAL>(depth, problem.a, problem.b, tile, epilogue, a);
                problem.check(c, c_stride, 6, 0, columns);
            };
            for (const ScaledSum& epilogue : scaled_sums(addend, columns + 1)) check({epilogue}, epilogue);
            if constexpr (LAYOUT == Layout::rows && !PARTIAL)
                for (const float* row : {static_cast<const float*>(bias), static_cast<const float*>(nullptr)})
                    check({{}, row, Activation::hardswish}, BiasActivation<Activation::hardswish>{row});
        }
    });
}

void micro_kernels_of_every_size() {
    check_tiles<1, Layout::rows, false>();
    check_tiles<2, Layout::rows, false>();
    check_tiles<1, Layout::rows, true>();
    check_tiles<2, Layout::rows, true>();
    check_tiles<1, Layout::columns, false>();
    check_tiles<2, Layout::columns, false>();
    check_tiles<1, Layout::columns, true>();
    check_tiles<2, Layout::columns, true>();
}

const ptrdiff_t HEIGHTS[] = {0, 1, 2, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS - 1, 49};
const Depth PRODUCT_DEPTHS[] = {{0}, {1}, {23}, {7, 3}};

// f(M, N, depth, a, b, bias, addend, c) for products of many sizes, with memory for all of it.
template <class F>
void for_each_product(F f) {
    for (const ptrdiff_t M : HEIGHTS)
        for (const ptrdiff_t N : WIDTHS)
            for (const Depth& depth : PRODUCT_DEPTHS) {
                const ptrdiff_t K = depth.total();
                Floats a(M * K), b(K * N), bias(N), addend(M * N), c(M * N);
                a.fill_with_integers(4);
                b.fill_with_integers(5);
                bias.fill_with_integers(6);
                addend.fill_with_integers(8);
                f(M, N, depth, a, b, bias, addend, c);
            }
}

template <Layout LAYOUT>
void check_products_in_place() {
    for_each_product([](ptrdiff_t M, ptrdiff_t N, Depth depth, float* a, float* b, float*, float* addend, Floats& c) {
        const Factor left = LAYOUT == Layout::rows ? Factor{a, depth.total(), depth.length} : Factor{a, M, depth.length * M};
        const Factor right{b, N, depth.length * N};
        for (const ScaledSum& epilogue : scaled_sums(addend, N)) {
            const Problem problem{M, N, depth, LAYOUT, {epilogue}, left, right};
            prepare(c, M, N, N, 3);
            multiply_in_place<LAYOUT>(M, N, depth, left, right, {c, N}, epilogue);
            problem.check(c, N, 3, 0, N);
            if (N > PANEL) {  // the second panel only
                prepare(c, M, N, N, 3);
                multiply_in_place<LAYOUT>(M, N, depth, left, right, {c, N}, epilogue, {PANEL, 2 * PANEL});
                problem.check(c, N, 3, PANEL, 2 * PANEL);
            }
        }
    });
}

void products_in_place() {
    check_products_in_place<Layout::rows>();
    check_products_in_place<Layout::columns>();
}

void products_with_a_packed_factor() {
    for_each_product([](ptrdiff_t M, ptrdiff_t N, Depth depth, float* a, float* b, float* bias, float* addend, Floats& c) {
        const ptrdiff_t K = depth.total();
        const Factor left{a, K, depth.length}, right{b, N, depth.length * N};
        Floats memory(packed_size(K, N));
        for (ptrdiff_t j = 0; j < N; j += PANEL) pack_panel_of_rows(K, N, j, b, N, memory + K * j);
        const PackedB packed{memory, K, N};
        for (const ScaledSum& epilogue : scaled_sums(addend, N)) {
            prepare(c, M, N, N, 3);
            multiply(M, depth, left, packed, {c, N}, epilogue);
            Problem{M, N, depth, Layout::rows, {epilogue}, left, right}.check(c, N, 3, 0, N);
        }
        for (const Activation kind : ACTIVATIONS) {
            const float* row = kind == Activation::relu ? nullptr : bias;
            const Problem problem{M, N, depth, Layout::rows, {{}, row, kind}, left, right};
            prepare(c, M, N, N, 3);
            multiply(M, depth, left, packed, {c, N}, row, kind);
            problem.check(c, N, 3, 0, N);
            if (N > PANEL) {  // the second panel only
                prepare(c, M, N, N, 3);
                multiply(M, depth, left, packed, {c, N}, row, kind, {PANEL, 2 * PANEL});
                problem.check(c, N, 3, PANEL, 2 * PANEL);
            }
        }
    });
}

}  // namespace

int main() {
    RUN(partial_loads_and_stores_touch_n_lanes);
    RUN(for_each_vector_covers_everything_once);
    RUN(broadcast_keeps_every_bit);
    RUN(minimum_and_maximum_return_the_second_where_one_is_nan);
    RUN(arithmetic_is_rounded_as_promised);
    RUN(reductions_see_every_lane);
    RUN(exponential_within_two_ulp);
    RUN(exponential_of_what_is_not_ordinary);
    RUN(powers_of_two_over_the_whole_range);
    RUN(packed_panels_hold_b_and_zeros);
    RUN(micro_kernels_of_every_size);
    RUN(products_in_place);
    RUN(products_with_a_packed_factor);
}
