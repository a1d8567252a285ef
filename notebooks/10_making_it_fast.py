# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. Making it fast
#
# **Question.** [Training](09_training.ipynb) takes minutes for small networks and days for large ones. Where does the
# time of a LeViT layer go, and how near to the limit of the machine does each way of computing it come?
#
# At the end you can
# - count the operations and the bytes of a layer, and say from the two what holds it up: arithmetic or memory;
# - measure both limits of your machine from Python, and draw a layer between them (a *roofline*);
# - say what makes a matrix product fast, from three Python loops to a tile of registers;
# - time every operation of a network, and foretell what an optimisation can give before anybody writes it.
#
# Every time below was measured when the notebook ran, on the machine where it ran. Yours has others: run it again. A shared
# machine has moods, so times are the best of several tries, and nothing in the text depends on them.
#
# The count that matters is of *floating-point operations*, FLOP: each addition and each multiplication is one, hence a
# multiply-add is two. A rate is FLOP/s, and a GFLOP/s is a billion of them. All runs on one core, so that ways can be
# compared; NumPy's matrix products come from a library (BLAS) that asks for its number of threads when it is loaded.

# %%
import os

for library in "OPENBLAS_NUM", "OMP_NUM", "MKL_NUM", "VECLIB_MAXIMUM":
    os.environ[f"{library}_THREADS"] = "1"  # before NumPy is imported

# %%
import time
from collections import defaultdict, namedtuple
from contextlib import contextmanager
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import functional as F
from levit_ref.inspection import count_macs
from levit_ref.ops.linear import LinearSaved

# %% [markdown]
# The package has its operations twice, in two *backends*: `numpy`, and `native`, compiled C++ functions (*kernels*) that the
# installation builds where it finds a compiler. The functions of `levit_ref.functional`, here `F`, are those of `levit_ref.ops`,
# computed by whichever backend is active.

# %%
WAYS = levit_ref.available_backends()
if "native" in WAYS:
    levit_ref.set_num_threads(1)
for backend in levit_ref.backends():
    print(f"{backend.name}: {backend.about}" + ("" if backend.available else "; NOT AVAILABLE, its points are missing"))


# %%
def best(function, seconds=0.2):
    """Seconds of the fastest of many calls."""
    function()  # does not count: caches are cold, and the system hands out memory
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def with_backend(way, function, *args):
    """One call on a backend."""
    with levit_ref.use_backend(way):
        return function(*args)


# %%
a = np.ones((1500, 1500), np.float32)
wall, processor = time.perf_counter(), time.process_time()
for _ in range(5):
    a @ a
used = (time.process_time() - processor) / (time.perf_counter() - wall)
print(f"cores at work in a matrix product: {used:.2f} (if it is much more than 1, restart the kernel)")

# %% [markdown]
# ## One matrix product, with fewer and fewer loops
#
# The first layer of an MLP in the first stage of LeViT-128S takes each token's 128 channels to 256. With 8 pictures of 196
# tokens,
#
# $$ y_{mo} = \sum_{k} x_{mk}\, w_{ok}, \qquad m < M = 1568, \quad o < N = 256, \quad k < K = 128 . $$
#
# That is $2MNK$ FLOP. Three loops in Python are the definition; then one loop after the other is handed to NumPy.
#
# **Prediction.** How many times as fast as three loops is a matrix product by BLAS: tens, thousands, or millions?

# %%
rng = np.random.default_rng(0)
M, N, K = 8 * 196, 256, 128
x, w = rng.normal(size=(M, K)).astype(np.float32), rng.normal(size=(N, K)).astype(np.float32)


def three_loops(rows, weights):
    """The definition, on lists: a single element of an array takes even longer to reach."""
    y = [[0.0] * len(weights) for _ in rows]
    for m in range(len(rows)):
        for o in range(len(weights)):
            for k in range(len(weights[o])):
                y[m][o] += rows[m][k] * weights[o][k]
    return y


# %%
few, x_list, w_list = 4, x[:4].tolist(), w.tolist()  # the first rows are enough where it is slow: a rate is a rate
ways = {  # name: (rows, function)
    "three Python loops": (few, lambda: three_loops(x_list, w_list)),
    "two loops, x[m] @ w[o]": (few, lambda: [[r @ c for c in w] for r in x[:few]]),
    "one loop, w @ x[m]": (M, lambda: [w @ r for r in x]),
    "three compiled loops (einsum)": (M, lambda: np.einsum("mk,ok->mo", x, w)),
    "NumPy's BLAS, x @ w.T": (M, lambda: x @ w.T),
}
if "native" in WAYS:
    ways["the package's kernel"] = (M, lambda: with_backend("native", F.linear_forward, x, w)[0])

# %%
rate = {name: 2 * rows * N * K / best(way) / 1e9 for name, (rows, way) in ways.items()}
by_way = {name: np.asarray(way())[:few] for name, (_, way) in ways.items()}
exact = x[:few].astype(np.float64) @ w.T.astype(np.float64)
for name, y in by_way.items():
    faster = rate[name] / rate["three Python loops"]
    print(f"{name:30}{rate[name]:9.4f} GFLOP/s,{faster:6.0f} x, largest error {np.abs(y - exact).max():.0e}")

# %%
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#666666"
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
bars = ax.barh(list(rate), list(rate.values()), color=[BLUE if "package" in name else ORANGE for name in rate])
ax.bar_label(bars, [f"{value:.3g}" for value in rate.values()], padding=3)
ax.set(xscale="log", xlabel="GFLOP/s (logarithmic)", title="One matrix product on one core")
ax.margins(x=0.15)
ax.invert_yaxis()
plt.show()

# %% [markdown]
# All compute the same sums. (The errors are rounding: Python's numbers have 64 bits, those of the arrays 32.) What each step
# takes away:
#
# - The innermost loop in Python makes, for each multiply-add, objects, checks of types and look-ups of indices: dozens of
#   nanoseconds for work that takes a fraction of one. Handed to NumPy, 128 multiply-adds share one call.
# - With one loop left, a call is so long that Python hardly shows. But each row of $x$ reads *all* weights again, and
#   uses each for one multiply-add.
# - Compiled loops without Python (`einsum` does not call BLAS unless asked to) have the same trouble. The sum over $k$
#   becomes instructions on *vectors* of 4 to 16 numbers, but each of them needs two vectors loaded. Most cores can start two
#   multiply-adds in a cycle, and load two vectors: that is half of the rate at best.
# - The last two differ from these in one thing: the order in which they do it.
#
# ## The tile: read once, use many times
#
# Arithmetic happens on *registers* only, a few dozen places in the core. Everything else has to be loaded, from a
# *cache* (small, near) or from memory (large, far). So: take $r$ rows of $x$ and $c$ rows of $w$; that is a *tile* of
# $r \times c$ sums. Keep the sums in registers, and walk along $k$. Each step loads $r + c$ numbers and does $rc$
# multiply-adds,
#
# $$ \frac{\text{numbers read}}{\text{multiply-adds}} = \frac{r + c}{rc} = \frac1r + \frac1c. $$
#
# **Prediction.** How many numbers are read per multiply-add by a tile of 1 x 1, and by one of 14 x 32?


# %%
def tiled(x, w, rows, columns):
    """x times w transposed, tile by tile, and how many numbers were read. In Python: to count, not to be fast."""
    y, read = np.empty((len(x), len(w))), 0
    for i in range(0, len(x), rows):
        for j in range(0, len(w), columns):
            left, right = x[i : i + rows], w[j : j + columns]
            tile = np.zeros((len(left), len(right)))  # stands for the registers
            for k in range(x.shape[1]):
                tile += np.outer(left[:, k], right[:, k])
                read += len(left) + len(right)
            y[i : i + rows, j : j + columns] = tile  # stored once, at the end
    return y, read


# %%
small_x, small_w = x[:28, :32], w[:64, :32]
macs = 28 * 64 * 32
for r, c in (1, 1), (4, 4), (14, 32), (28, 64):
    y, read = tiled(small_x, small_w, r, c)
    assert np.allclose(y, small_x @ small_w.T, atol=1e-4)
    print(f"{r:2} x {c:2}: {read / macs:.3f} numbers read per multiply-add; 1/r + 1/c = {1 / r + 1 / c:.3f}")

# %% [markdown]
# Why not 28 x 64, then? The tile has to fit into the registers. A core with AVX-512 has 32 vector registers of 16
# numbers: 14 x 32 numbers fill 28 of them, two more hold a row of the tile's right side, one a number of the left side;
# 28 x 64 would fill 112. A *micro-kernel* is the function that computes one such tile; the package's has 14 x 32 there,
# and 6 x 16 with AVX2, which has 16 registers of 8 numbers ([`csrc/gemm/micro_kernel.h`](../csrc/gemm/micro_kernel.h)).
# A tile has another use: a multiply-add takes four cycles or so. A single sum would wait for itself all the time; 28
# registers of sums do not.
#
# Around the tile, blocks of $x$ and $w$ are copied and ordered such that the caches hold what comes next.
# [docs/performance](../docs/performance/matrix-product.md) climbs from three loops *in C++* to that kernel, one idea at a time.
#
# ## The two limits of a machine
#
# A core does at most so many FLOP in a second (the *peak*), and moves at most so many bytes between itself and memory
# (the *bandwidth*). Both can be measured from Python, from below: nobody does more than the machine can. For the peak,
# take the best large matrix product that anybody here can do. For the bandwidth, take arrays that no cache holds: a
# copy of $n$ bytes reads $n$ and writes $n$; a sum $b \leftarrow a + b$ reads $2n$ and writes $n$.
#
# **Prediction.** A processor has several caches, from tens of kilobytes to tens of megabytes. How do the rates change as the
# arrays grow?

# %%
rates = defaultdict(list)
for m, n, k in (2048, 512, 512), (1568, 256, 512), (1024, 1024, 1024):
    left, right = np.ones((m, k), np.float32), np.ones((n, k), np.float32)
    for way in WAYS:
        seconds = best(lambda way=way, left=left, right=right: with_backend(way, F.linear_forward, left, right))
        rates[way].append(2 * m * n * k / seconds / 1e9)
peak = max(max(r) for r in rates.values())
print("best product by", ", by ".join(f"{way}: {max(r):.0f} GFLOP/s" for way, r in rates.items()))

# %%
sizes = 2 ** np.arange(14, 28)  # bytes of an array
speeds = {"copy": [], "add in place": []}  # GB/s
for size in sizes:
    source = np.ones(size // 4, np.float32)
    target = np.ones_like(source)  # written once, so that its memory is there
    seconds = best(lambda a=source, b=target: np.copyto(b, a), 0.1)
    speeds["copy"].append(2 * size / seconds / 1e9)
    seconds = best(lambda a=source, b=target: np.add(a, b, out=b), 0.1)
    speeds["add in place"].append(3 * size / seconds / 1e9)
bandwidth = max(speed[-1] for speed in speeds.values())
near = max(speed[list(sizes).index(2**20)] for speed in speeds.values())
print(f"from memory {bandwidth:.1f} GB/s; arrays of 1 MB, in a cache, {near:.1f} GB/s")

# %% [markdown]
# Both limits were measured in two ways, as a check. If two libraries that different people wrote come within some
# percent of each other in the product, neither can be far from the peak. (The peak itself, a loop of nothing but
# independent multiply-adds, takes a compiler: [`benchmarks/peak.py`](../benchmarks/peak.py).) And two ways of moving
# bytes give rates of the same order.

# %%
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for (name, speed), colour, marker in zip(speeds.items(), (BLUE, ORANGE), "os", strict=True):
    ax.semilogx(sizes, speed, marker + "-", color=colour, label=name)
ax.set(xlabel="size of each of the two arrays", ylabel="GB/s", title="Moving bytes", ylim=(0, None))
ax.set_xticks(sizes[::2], [f"{n // 1024} KiB" if n < 2**20 else f"{n // 2**20} MiB" for n in sizes[::2]])
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# Each fall is a cache that has become too small (the smallest sizes lose some time to the call itself). Where the copy
# is slower, it moves more than we counted: before a core overwrites a piece of memory it usually reads it. The sum
# overwrites what it has read anyway, so its count is exact, and the better of the two is our bandwidth. "The" bandwidth
# is two numbers, then: that of memory, and that of arrays of a megabyte or so, which lie in a cache, as the arrays of a
# small batch do.
#
# ## Counting a layer
#
# What matters about an operation is how much it computes for what it moves, its *arithmetic intensity*
#
# $$ I = \frac{\text{FLOP}}{\text{bytes}}, \qquad \text{rate} \le \min(\text{peak},\; \text{bandwidth} \cdot I). $$
#
# As bytes count those that *have* to move: every input read once, the result written once. The two limits meet at
# $I = \text{peak} / \text{bandwidth}$. To the left of it memory holds an operation up, to the right of it arithmetic does.
#
# **Prediction.** A residual sum $x + b$ in float32 does 1 FLOP for 12 bytes. What is the intensity of the linear layer above?
# ($2MNK$ FLOP; $MK + NK + MN$ numbers of 4 bytes.) And which operations of a block are on the left?

# %%
PER_NUMBER = {"residual": 1, "batch_norm": 2, "activation": 5, "global_average_pool": 1}  # FLOP for each number


def work(kind, args, options, y):
    """FLOP of a call with result y, and the bytes that have to move."""
    if kind in ("linear", "conv2d"):  # each result is a product with one row of the weights, or one filter
        flop = 2 * y.size * args[1][0].size
    elif kind == "attention":  # q times k, one for the softmax (as the package counts), probabilities times v
        (B, heads, N_q, D), (N_k, E) = args[0].shape, args[2].shape[2:]
        flop = 2 * B * heads * N_q * N_k * (D + 1 + E)
    else:  # hardswish is a sum, a maximum, a minimum, two products; it may be a part of the normalisation
        fused = PER_NUMBER["activation"] if options.get("activation") == "hardswish" else 0
        flop = (PER_NUMBER.get(kind, 0) + fused) * y.size
    return flop, sum(a.nbytes for a in (*args, y) if isinstance(a, np.ndarray))


# %% [markdown]
# Every module of the network calls its operations as `F.linear_forward(...)` and so on, and so there is one place to watch
# them: for a while, each name in `F` is a function that calls the operation and writes down what that did.


# %%
Call = namedtuple("Call", "seconds kind flop bytes")


# %%
@contextmanager
def in_place_of(functions):
    """For the time of a `with` block, other functions stand under these names in F."""
    real = {name: getattr(F, name) for name in functions}
    vars(F).update(functions)
    yield
    vars(F).update(real)


# %%
def watched(name, calls):
    function, kind = getattr(F, name), name.removesuffix("_forward")

    def timed(*args, **options):
        start = time.perf_counter()
        y, saved = function(*args, **options)
        calls.append(Call(time.perf_counter() - start, kind, *work(kind, args, options, y)))
        return y, saved

    return timed


# %%
def watch(way, function, passes=10):
    """The calls of one pass, the seconds of each the best of all passes."""
    runs, names = [], [name for name in vars(F) if name.endswith("_forward")]
    with levit_ref.use_backend(way), model.inference():
        for _ in range(passes):
            runs.append([])
            with in_place_of({name: watched(name, runs[-1]) for name in names}):
                function()
    return [calls[0]._replace(seconds=min(call.seconds for call in calls)) for calls in zip(*runs, strict=True)]


# %% [markdown]
# The network is LeViT-128S with random weights, in inference, on 8 pictures: speed does not depend on what it has
# learned. (The noise opens the normalisations that start with zero, [notebook 6](06_mlp_residual.ipynb), so that no
# result is trivial.) Of its operations, look at the second convolution of the stem, and at the first block: 196 tokens
# of 128 channels. (The calls come in order: places 0 to 7 are the stem's four convolutions, a norm after each; the
# block begins at 8.)

# %%
B = 8
model = levit_ref.create_model("levit_128s", num_classes=1000)
model.flat_data[:] += 0.02 * rng.standard_normal(model.flat_data.size, np.float32)
images = rng.standard_normal((B, 3, 224, 224), np.float32)
model(images)  # in training mode, as a fresh model is: the running statistics move
network = {way: watch(way, lambda: model(images)) for way in WAYS}

# %%
SHOWN = {"convolution": 2, "linear up": 16, "linear out": 13, "attention": 11}  # places among the calls
SHOWN |= {"norm": 9, "norm + hardswish": 17, "hardswish": 12, "residual sum": 15}
print(f"{'':17}{'call':>11}{'MFLOP':>8}{'MB':>7}{'FLOP/byte':>11}" + "".join(f"{'us, ' + way:>12}" for way in WAYS))
for name, place in SHOWN.items():
    call = network["numpy"][place]
    times = "".join(f"{1e6 * network[way][place].seconds:12.0f}" for way in WAYS)
    print(f"{name:17}{call.kind:>11}{call.flop / 1e6:8.1f}{call.bytes / 1e6:7.2f}{call.flop / call.bytes:11.2f}{times}")

# %% [markdown]
# The counts are the machine's business no more than the shapes are, so they can be checked exactly. For the linear
# layer up from 128 to 256 channels the formula gives $2MNK / 4(MK + NK + MN)$; and the multiply-adds of the whole
# network are known from `count_macs`, which looks at the architecture and runs nothing.

# %%
up = network["numpy"][SHOWN["linear up"]]
print(f"linear up: {up.flop / up.bytes:.4f}, by the formula {2 * M * N * K / (4 * (M * K + N * K + M * N)):.4f}")
products = ("linear", "conv2d", "attention")
counted = {way: sum(call.flop for call in calls if call.kind in products) for way, calls in network.items()}
print("multiply-adds for one picture:", {way: flop // 2 // B for way, flop in counted.items()}, count_macs(model))

# %% [markdown]
# ## The roofline
#
# Intensity to the right, rate upwards, both logarithmic: the limit is a roof with a slope (memory) and a flat top (the
# peak). How far a point lies below the roof is what could be gained without changing *what* is computed.

# %%
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
x_axis = np.geomspace(0.04, 120, 200)
ax.loglog(x_axis, np.minimum(peak, near * x_axis), "--", color=GREEN, label="roof if all lies in a cache")
ax.loglog(x_axis, np.minimum(peak, bandwidth * x_axis), "-", color=GREY, lw=2, label="roof if all comes from memory")
for way, marker, colour, fill in ("numpy", "s", ORANGE, "none"), ("native", "o", BLUE, BLUE):
    calls = [network[way][place] for name, place in SHOWN.items() if way in WAYS and name != "linear up"]
    rates = [call.flop / call.seconds / 1e9 for call in calls]
    ax.plot([call.flop / call.bytes for call in calls], rates, marker, color=colour, label=way, ms=8, mfc=fill)
for name, place in SHOWN.items():
    if name != "linear up":  # which is where attention is
        call = network["numpy"][place]
        ax.text(call.flop / call.bytes, 0.12, name, rotation=90, ha="center")
ax.set(xlabel="arithmetic intensity, FLOP/byte", ylabel="GFLOP/s", title="A convolution and a block", ylim=(0.1, None))
figure.legend(loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# How to read it (positions differ by machine, the order hardly does):
#
# - Linear layers and convolutions are far on the right, and a good way of computing them is near the top: *arithmetic*
#   holds them up. BLAS does linear layers almost as well as a kernel. NumPy's convolution is a product as well, but has
#   to write the patches to memory first ([notebook 2](02_convolution_stem.ipynb)); the kernel reads them where they
#   are.
# - Norm, hardswish, sum are on the left: *memory* holds them up, and a perfect program would still be on the slope
#   (between the two slopes, if its arrays lie partly in a cache). NumPy's sum is one pass over memory; its norm makes
#   three (difference, product, sum; in blocks that a cache holds), its hardswish four, each of which reads an array and
#   writes one. Large results also are memory fresh from the system, which has to be cleared first. A kernel makes one
#   pass, and its results lie in memory that was used before.
# - Norm and hardswish in one kernel have an intensity of $7/8$; one after the other each has its own pass. That is
#   *fusion*: the same FLOP, fewer bytes.
# - Attention is the odd one. Its counted intensity is that of a linear layer, and NumPy is far from the roof.
#
# **Prediction.** Count what NumPy really moves in attention. There is a score for each head, query and key: 8 x 4 x 196
# x 196 of them. The product writes them, the scaling reads and writes, so does the bias, the softmax reads them five
# times (maximum, difference, exponential, sum, quotient) and writes three times, the last product reads. What is left
# of the intensity?

# %%
call, probs = network["numpy"][SHOWN["attention"]], np.zeros((B, 4, 196, 196), np.float32)
times_moved = (1 + 1 + 5 + 1) + (1 + 1 + 1 + 3)
moved = call.bytes + times_moved * probs.nbytes
print(f"q, k, v, bias, context {call.bytes / 1e6:.1f} MB; scores {probs.nbytes / 1e6:.1f} MB, {times_moved} times")
print(f"intensity: {call.flop / call.bytes:.1f} becomes {call.flop / moved:.1f} FLOP/byte")
result = np.empty_like(probs)
exponentials = best(lambda: np.exp(probs, out=result))
parts = {"all bytes, from a cache": moved / near / 1e9, "or from memory": moved / bandwidth / 1e9}
parts |= {"exponentials": exponentials, "products at the peak": call.flop / peak / 1e9, "measured": call.seconds}
print(", ".join(f"{name}: {1e3 * seconds:.1f} ms" for name, seconds in parts.items()))

# %% [markdown]
# Each part alone looks harmless; NumPy does one after the other, so they add up. What is still missing to the measured
# time are, above all, products that are small (one of 196 x 16 by 16 x 196 for each head and picture, which BLAS does
# less well than large ones) and fresh memory.
#
# The kernel computes the scores of a few queries, their softmax and the product with the values in one go, and never writes
# scores to memory ([`csrc/ops/attention.cpp`](../csrc/ops/attention.cpp)). What remains between it and the roof: an exponential
# is more work than the one multiply-add that it was counted as, and sums over 16 channels are too short to keep a tile busy.
#
# ## The whole network
#
# Now all calls of the forward pass. The parts should add up to the whole, which is timed without a watch; what is missing is
# Python between the operations. (If the parts are *more* than the whole, the watch itself costs something, or the machine was
# interrupted.)
#
# **Prediction.** Which kind of operation takes the most time in NumPy, and which one gains the most from kernels?

# %%
KINDS = {"linear": "linear", "conv2d": "convolution", "batch_norm": "norm (+ hardswish)", "attention": "attention"}
KINDS |= {"activation": "hardswish", "residual": "residual sum"}
total = {way: dict.fromkeys((*KINDS.values(), "other"), 0.0) for way in WAYS}
floor, flop, whole = defaultdict(float), defaultdict(int), {}
for call in network["numpy"]:
    flop[KINDS.get(call.kind, "other")] += call.flop
    floor[KINDS.get(call.kind, "other")] += max(call.flop / peak, call.bytes / near) / 1e9  # the roof's time

# %%
for way, calls in network.items():
    for call in calls:
        total[way][KINDS.get(call.kind, "other")] += call.seconds
    with levit_ref.use_backend(way), model.inference():
        whole[way] = best(lambda: model(images), 1.0)
    rate, share = counted[way] / whole[way] / 1e9, sum(total[way].values()) / whole[way]
    text = f"{way}: {1e3 * whole[way]:.1f} ms for {B} pictures, {rate:.0f} GFLOP/s, {rate / peak:.0%} of the peak"
    print(f"{text}; the calls add up to {share:.0%}")

# %%
figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
places = np.arange(len(total["numpy"]))
for shift, (way, colour) in zip((-0.2, 0.2), (("numpy", ORANGE), ("native", BLUE)), strict=True):
    if way in WAYS:
        bars = ax.barh(places + shift, [1e3 * t for t in total[way].values()], 0.4, color=colour, label=way)
        ax.bar_label(bars, fmt="%.1f", padding=4, fontsize=8)
for place, kind in enumerate(total["numpy"]):
    ax.plot(2 * [1e3 * floor[kind]], [place - 0.4, place + 0.4], "k-", lw=2, label=None if place else "the roof's time")
ax.set_yticks(places, total["numpy"])
ax.set(xlabel=f"ms in a forward pass of {B} pictures, one core", title="Where the time of LeViT-128S goes")
ax.invert_yaxis()
ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# The linear layers take the most and gain the least, for BLAS is near the top already. Kernels gain where NumPy goes
# over memory again and again: in convolutions (patches), attention (scores), norms. Hardly any FLOP are in the norms,
# and still they take a share of the time that nobody would guess from a table of multiply-adds: such tables count what
# arithmetic holds up, and norms are held up by memory.
#
# ## Amdahl's law: what can still be gained
#
# If a share $p$ of the time gets $s$ times as fast and the rest stays, the whole gets
#
# $$ \frac{1}{(1 - p) + p / s} \le \frac{1}{1 - p} $$
#
# times as fast: once a part has become cheap, more work on it is wasted. The roof's time says for each kind of
# operation what a perfect kernel could still give, before anybody writes it; the last column, what it would give if
# that kind cost nothing at all.

# %%
for way in WAYS:
    print(f"{way:20} {'of FLOP':>9} {'of time':>9} {'at the roof':>13} {'at no cost':>13}")
    for kind, seconds in total[way].items():
        p, left = seconds / whole[way], min(floor[kind], seconds) / whole[way]
        shares = f"{flop[kind] / sum(flop.values()):9.1%} {p:9.1%}"
        print(f"{kind:20} {shares} {1 / (1 - p + left):11.2f} x {1 / (1 - p):11.2f} x")
    print(f"everything at its roof, and no Python: {whole[way] / sum(floor.values()):.2f} x\n")

# %% [markdown]
# The norms after linear layers can really be had at almost no cost. At inference such a norm is a scale and a shift of
# each channel, and they merge into the product ([notebook 3](03_batch_norm.ipynb)): $s_c W_c$ instead of $W_c$, and a
# bias. The package does not do that by itself, since its models stay trainable. But in place of two operations it is
# ten lines: a linear layer without a bias waits until its norm comes.
#
# **Prediction.** With Amdahl's law for the norms that go: how many times as fast will the network be?


# %%
linear_forward, batch_norm_forward = F.linear_forward, F.batch_norm_forward  # the real ones


def waiting_linear(x, weight, bias=None):
    waiting = LinearSaved(x, weight, bias, "identity")  # what the layer needs, not yet multiplied
    return (waiting, waiting) if bias is None else linear_forward(x, weight, bias)


def folding_norm(x, *norm, activation="identity", **options):
    if isinstance(x, LinearSaved):
        return linear_forward(x.x, *fold(x.weight, *norm), activation=activation)
    return batch_norm_forward(x, *norm, activation=activation, **options)


# %%
folded_weights = {}


def fold(weight, mean, var, gamma, beta):
    """Weight and bias of both together; made once, since these weights will not change any more."""
    if id(weight) not in folded_weights:
        scale = gamma / np.sqrt(var + np.float32(1e-5))  # the eps of all norms
        folded_weights[id(weight)] = weight * scale[:, None], beta - scale * mean
    return folded_weights[id(weight)]


# %%
logits = {}
for way, calls in network.items():
    gone = sum(b.seconds for a, b in pairwise(calls) if (a.kind, b.kind) == ("linear", "batch_norm"))
    seconds, other = {way: [], "folding": []}, {"linear_forward": waiting_linear, "batch_norm_forward": folding_norm}
    for _ in range(12):  # in turns, so that the moods of the machine meet both
        for name in seconds:
            with levit_ref.use_backend(way), in_place_of(other if name == "folding" else {}), model.inference():
                start = time.perf_counter()
                logits[way, name] = model(images)
                seconds[name].append(time.perf_counter() - start)
    plain, folded = map(min, seconds.values())
    print(f"{way}: foretold at most {1 / (1 - gone / plain):.2f} x, measured {plain / folded:.2f} x")

# %% [markdown]
# What goes does not go altogether: the bias has to be added, and the hardswish of the MLP is still there. The kernel
# does both while the tile is in registers; NumPy makes a pass for each. So the measured gain should be below the limit.
# Where it is above, something has changed that the law takes as constant: with one large array less, more of the caches
# is left to the others, and less memory has to be fetched from the system. Or the machine was busy with something else.
#
# **Limitation.** A roofline knows two numbers of a machine. It takes each operation as if it were alone and its arrays
# all came from one place; it counts a maximum or an exponential like a multiply-add; a store may first read what it
# overwrites, which we left out. Our peak was measured with the products that are then compared with it: they cannot
# come out far above it, whatever the truth is. And it is one core: several share the bandwidth, so that the slope rises
# less than the top, and more operations are held up by memory.
#
# ## The same numbers by several routes
#
# Speed is worth nothing if the result is another one. One value of the product by every way of computing it; the
# multiply-adds of a network from the arrays that went by, from the architecture, and of a block by hand; the logits,
# folded or not.

# %% tags=["final-check"]
by_sum = sum(float(a) * float(b) for a, b in zip(x[2], w[17], strict=True))
by_tile = tiled(x[:4], w[:32], 4, 8)[0][2, 17]
print(by_sum, by_tile, *(y[2, 17] for y in by_way.values()))
assert np.isclose(by_tile, by_sum, rtol=1e-5, atol=1e-5)
assert all(np.allclose(y, exact, rtol=1e-4, atol=1e-4) for y in by_way.values())

C, n, heads, D, E = 128, 196, 4, 16, 32  # one block: linear layers, and attention with its softmax
by_hand = n * C * heads * (2 * D + E) + n * heads * E * C + 2 * n * C * 2 * C + heads * n * n * (D + 1 + E)
for way, calls in network.items():
    assert counted[way] == 2 * B * count_macs(model)
    assert sum(call.flop for call in calls[8:21] if call.kind in products) == 2 * B * by_hand
    assert np.allclose(logits[way, "folding"], logits["numpy", "numpy"], rtol=1e-3, atol=1e-3)
    assert np.allclose(logits[way, way], logits["numpy", "numpy"], rtol=1e-3, atol=1e-3)

# %% [markdown]
# **Next.** [docs/performance](../docs/performance/README.md) goes on in C++, with a training step measured against PyTorch, and
# [csrc/README.md](../csrc/README.md) has the order in which to read the kernels.
#
# ## Exercises
#
# **Exercise 1.** The linear layer for a single token: what is its intensity, and what does it become for very many
# tokens? How many tokens does it take for half of that? (Hint: $1/I$ is easier to add up than $I$.)

# %% tags=["solution"] jupyter={"source_hidden": true}
# 1/I = 4 (MK + NK + MN) / (2 MNK) = 2 (1/N + 1/M + 1/K)


def intensity(m):
    return 1 / (2 * (1 / N + 1 / m + 1 / K))


limit = N * K / (2 * (N + K))
half = N * K / (N + K)  # where 1/M = 1/N + 1/K
print(f"one token {intensity(1):.2f}, very many {limit:.1f}, half of it at {half:.1f} tokens")
assert np.isclose(intensity(half), limit / 2) and np.isclose(intensity(1e12), limit) and intensity(1) < 0.5

# %% [markdown]
# **Exercise 2.** A program is parallel in 90 % of its time. With how many cores does it run five times as fast, half of
# what any number of cores can give? Compute it, then let the kernels use all cores: what share of the network does
# Amdahl's law say is parallel? (On a busy machine the answer may make no sense. Why?)

# %% tags=["solution"] jupyter={"source_hidden": true}
cores = next(n for n in range(1, 100) if 1 / (0.1 + 0.9 / n) >= 5 - 1e-9)
print(f"{cores} cores")
assert cores == 9
if "native" in WAYS and (n := os.cpu_count() or 1) > 1:
    levit_ref.set_num_threads(n)
    with levit_ref.use_backend("native"), model.inference():
        gain = whole["native"] / best(lambda: model(images), 1.0)
    levit_ref.set_num_threads(1)
    print(f"{n} cores: {gain:.2f} x, so {(1 - 1 / gain) / (1 - 1 / n):.0%} of the time is parallel")
# Others use the cores too: then the gain is theirs to take, and the formula charges it to our program.

# %% [markdown]
# **Exercise 3.** Store every number in 16 bits, and let arithmetic be as fast as before. By how much do the roof's times of
# norm, residual sum and linear layer fall, with your machine's roof (the cached one)? And what would a core gain that is
# twice as fast at arithmetic?

# %% tags=["solution"] jupyter={"source_hidden": true}
for name in "norm", "residual sum", "linear up":

    def roof(bytes_by=1.0, peak_by=1.0, call=network["numpy"][SHOWN[name]]):
        return max(call.flop / (peak * peak_by), call.bytes * bytes_by / near)

    halved, faster = roof() / roof(bytes_by=0.5), roof() / roof(peak_by=2)
    print(f"{name:14} half of the bytes: {halved:.2f} x, twice the arithmetic: {faster:.2f} x")
    assert halved * faster <= 2.000001  # only one of the two holds it up
