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
# # 2. The convolution stem
#
# **Question.** How do 224 x 224 pixels become 14 x 14 tokens, what does that cost, and how much of the picture does a
# token see?
#
# At the end you can
# - write a convolution, with stride and padding, as one matrix product;
# - derive the gradients of its weights and of its input, and check them;
# - compute the size of its result, its multiply-adds, and the receptive field of a stack of them.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cbook import get_sample_data
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import convolve2d, correlate2d

import levit_ref
from levit_ref import ops
from levit_ref.data import normalise
from levit_ref.inspection import component_costs, count_macs, receptive_field
from levit_ref.preprocessing import Preprocessing, read_picture

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
rng = np.random.default_rng(0)
picture = get_sample_data("grace_hopper.jpg", asfileobj=False)  # comes with matplotlib
photograph = read_picture(picture, Preprocessing((224, 224)))  # its middle, (3, 224, 224), bytes
x = photograph / 255.0  # (C_in, H, W), float64

# %% [markdown]
# ## A small pattern, looked for everywhere
#
# A *kernel* is a small array of weights, here 3 x 3 for each input channel. It is laid on the picture at every place,
# multiplied with the pixels under it, and the products are added up: one number for each place, large where the pixels
# resemble the kernel. With $C_{out}$ kernels there are $C_{out}$ output channels:
#
# $$ y_{o,r,c} = \sum_{i} \sum_{u=0}^{2} \sum_{v=0}^{2} w_{o,i,u,v}\; x_{i,\,r+u,\,c+v} . $$
#
# (Mathematicians call this a correlation; their convolution has the kernel flipped. For learned weights it is the
# same.)
#
# A trained network learns its kernels. To see what they do, take two made by hand: one that subtracts the left
# neighbours from the right ones, and one that subtracts those above from those below.
#
# **Prediction.** The kernel must lie on the picture with all of its 3 x 3 places. How many rows and columns does the
# result of 224 x 224 pixels have? Where will they be near zero, and where large?

# %%
change = np.outer([1, 2, 1], [-1, 0, 1]) / 8.0
w = np.stack([change, change.T])[:, None] * np.ones((1, 3, 1, 1)) / 3  # (C_out, C_in, 3, 3): the colours alike
y, _ = ops.conv2d_forward(x[None], w)  # the package works on batches: (1, C_out, H_out, W_out)
by_scipy = sum(correlate2d(x[i], w[0, i], mode="valid") for i in range(3))
by_definition = (w[0] * x[:, 50 : 50 + 3, 80 : 80 + 3]).sum()
print("result", y.shape, "differs from scipy by", np.abs(y[0, 0] - by_scipy).max())
print(f"at row 50, column 80: {y[0, 0, 50, 80]:.12f}, by the definition {by_definition:.12f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
axes[0].imshow(x.transpose(1, 2, 0))
for ax, channel in zip(axes[1:], y[0], strict=True):
    shown = ax.imshow(channel, cmap="PuOr", vmin=-0.4, vmax=0.4)
for ax, title in zip(axes, ("The picture", "Kernel 0: right minus left", "Kernel 1: below minus above"), strict=True):
    ax.set(xlabel="column", ylabel="row")
    ax.set_title(title, fontsize=10)
figure.colorbar(shown, ax=axes, label="output", shrink=0.8)
plt.show()

# %% [markdown]
# 222 x 222: the kernel fits at 222 starts of each axis. Where the picture is uniform, the weights cancel; where it
# changes from dark to bright or back, they do not, and the sign says which.
#
# ## Padding and stride
#
# LeViT's convolutions differ in two ways. *Padding* $p = 1$ puts a frame of zeros around the picture, so that the
# kernel can also be centred on the outermost pixels. *Stride* $s = 2$ lays it on every second place only, along both
# axes:
#
# $$ y_{o,r,c} = \sum_{i,u,v} w_{o,i,u,v}\; x_{i,\,sr+u-p,\,sc+v-p}, \qquad
# n_{out} = \Big\lfloor \frac{n + 2p - k}{s} \Big\rfloor + 1 $$
#
# for $n$ rows and a kernel of $k$ rows: the places where it can start are $-p,\, -p+s,\, -p+2s, \ldots$, as long as it
# ends within the frame.
#
# **Prediction.** How many rows come out of 224 with $k = 3$, $s = 2$, $p = 1$? And is the frame needed on all four
# sides?

# %%
starts = range(-1, 224 + 1 - 3 + 1, 2)
print(len(starts), "starts, formula", ops.conv2d_output_size((224, 224), (3, 3), (2, 2), (1, 1)))
print("the first kernel covers rows", starts[0], "to", starts[0] + 2, "and the last", starts[-1], "to", starts[-1] + 2)
halved, _ = ops.conv2d_forward(x[None], w, stride=2, padding=1)
every_place, _ = ops.conv2d_forward(x[None], w, stride=1, padding=1)
print("every second place of stride 1:", np.allclose(halved, every_place[:, :, ::2, ::2]))

# %% [markdown]
# There are 112. The last kernel ends on the last row, 223: of the frame only the upper and the left side are ever read.
# What TensorFlow and JAX call "same" padding puts the one needed row of zeros *below* instead; weights that were
# learned with the one give other results with the other.
#
# ## One matrix product
#
# Each output is the dot product of two lists of numbers: the *patch*, which is what lies under the kernel, and the
# kernel. So write the patches as the rows of a matrix $P$, the kernels as the columns of a matrix $K$, and everything
# is $Y = PK$. Here is $P$ for a picture of 5 x 5 pixels, numbered from 0 to 24, with stride 2 and no padding:


# %%
def patches(x, k, s, p):
    """(C, H, W) to (places, C k k): what lies under the kernel at each place, as a row."""
    padded = np.pad(x, ((0, 0), (p, p), (p, p)))
    windows = sliding_window_view(padded, (k, k), axis=(1, 2))[:, ::s, ::s]  # (C, H_out, W_out, k, k)
    return windows.transpose(1, 2, 0, 3, 4).reshape(-1, len(x) * k * k)


numbers = np.arange(25).reshape(1, 5, 5)
print(numbers[0], "\n\n", patches(numbers, 3, 2, 0), sep="")

# %% [markdown]
# Neighbouring patches overlap: pixel 2 stands in two rows, pixel 12 in all four. That is the price: $P$ has more
# numbers than the picture.
#
# **Prediction.** For the first convolution of LeViT-128S (3 to 16 channels, $k = 3$, $s = 2$, $p = 1$): what shape has
# $P$, and how many times as many numbers as the picture?

# %%
w = rng.normal(size=(16, 3, 3, 3))
P = patches(x, 3, 2, 1)
K = w.reshape(16, -1).T  # (C_in k k, C_out)
Y = P @ K  # (places, C_out)
theirs, saved = ops.conv2d_forward(x[None], w, stride=2, padding=1)
print("P", P.shape, "K", K.shape, "Y", Y.shape, f"; P has {P.size / x.size:.2f} times the numbers of x")
print("differs from levit_ref.ops by", np.abs(Y.T.reshape(16, 112, 112) - theirs[0]).max())

# %% [markdown]
# $112^2 = 12544$ rows of $3 \cdot 3 \cdot 3 = 27$, hence $9/4$ of the pixels. In exchange all the work is one product
# of matrices, which computers do better than anything else: 12544 x 27 x 16 multiply-adds.
#
# ## Backward
#
# A *loss* $L$ is a number that says how wrong the network's answers are. Training needs to know how it changes with
# every weight and, for the layers before, with every input. The *gradient* $\partial L / \partial y$ of each output is
# given (it comes from the layers after); collect it in a matrix $G$ of the shape of $Y$. A small change of weights,
# $\mathrm{d}K$, changes $Y$ by $P\,\mathrm{d}K$, and the loss by
#
# $$ \mathrm{d}L = \sum_{m,o} G_{mo}\, (P\, \mathrm{d}K)_{mo}
# {} = \sum_{j,o} \Big( \sum_m P_{mj} G_{mo} \Big) \mathrm{d}K_{jo} \qquad\text{so}\qquad
# \frac{\partial L}{\partial K} = P^T G, \qquad \frac{\partial L}{\partial P} = G K^T, $$
#
# the second by the same reasoning. One step is left: the entries of $P$ are copies of pixels. A pixel that was copied
# to four places acts through all four, so its gradient is the sum of theirs: **what is copied forward is added up
# backward.**


# %%
def backward(g, x, w, s, p):
    """Gradients of x and w; g has the shape (C_out, H_out, W_out) of the result. p is at least 1."""
    (C_out, H_out, W_out), (C, H, W), k = g.shape, x.shape, w.shape[-1]
    G = g.reshape(C_out, -1).T  # (places, C_out)
    dw = (patches(x, k, s, p).T @ G).T.reshape(w.shape)
    dP = (G @ w.reshape(C_out, -1)).reshape(H_out, W_out, C, k, k)
    padded = np.zeros((C, H + 2 * p, W + 2 * p))
    for u, v in np.ndindex(k, k):  # place (u, v) of all patches at once: no two of these are the same pixel
        padded[:, u : u + s * H_out : s, v : v + s * W_out : s] += dP[..., u, v].transpose(2, 0, 1)
    return padded[:, p:-p, p:-p], dw


# %%
g = rng.normal(size=(16, 112, 112))  # as if a loss had this gradient
dx, dw = backward(g, x, w, 2, 1)
for name, a, b in zip(("dx", "dw"), (dx[None], dw), ops.conv2d_backward(g[None], saved)[:2], strict=True):
    print(f"{name} differs from levit_ref.ops by {np.abs(a - b).max():.1e}")


def loss(x, w):
    return (g * ops.conv2d_forward(x[None], w, stride=2, padding=1)[0]).sum()


one_pixel, one_weight = np.zeros_like(x), np.zeros_like(w)
one_pixel[1, 77, 131] = one_weight[5, 2, 0, 1] = 1
print(f"pixel:  formula {dx[1, 77, 131]:.9f}, difference {loss(x + one_pixel, w) - loss(x, w):.9f}")
print(f"weight: formula {dw[5, 2, 0, 1]:.9f}, difference {loss(x, w + one_weight) - loss(x, w):.9f}")

# %% [markdown]
# The agreement with the package says only that two people derived the same; the differences are independent of it. The
# step was 1, not small at all: a convolution is linear in its pixels and in its weights, so the difference is exact for
# any step.
#
# **Prediction.** Let all weights and all gradients $g$ be 1. Then the gradient of a pixel counts the patches that it is
# in. Which numbers occur for stride 1, and which for stride 2?

# %%
counts = {s: backward(np.ones((1, 224 // s, 224 // s)), x[:1], np.ones((1, 1, 3, 3)), s, 1)[0][0] for s in (1, 2)}
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
for ax, (s, times) in zip(axes, counts.items(), strict=True):
    ax.imshow(times[:8, :8], cmap="cividis", vmin=0, vmax=9)
    for r, c in np.ndindex(8, 8):
        ax.text(c, r, int(times[r, c]), ha="center", va="center", color="k" if times[r, c] > 5 else "w")
    ax.set(xlabel="column", ylabel="row", title=f"Patches that a pixel is in, stride {s}\n(upper left corner)")
plt.show()
print("mean over the picture:", {s: round(float(times.mean()), 3) for s, times in counts.items()})

# %% [markdown]
# At stride 1 every pixel inside is in 9 patches. At stride 2 rows and columns with an odd number are under two kernels
# and the others under one: 1, 2 or 4, the 9/4 from above on average (a little less, because of the frame). So in the
# stem some pixels have more say than their neighbours, and maps of gradients show this grid.
#
# ## Four of them
#
# LeViT's stem is four such convolutions with $k = 3$, $s = 2$, $p = 1$. Behind each there is a batch normalisation
# ([notebook 3](03_batch_norm.ipynb)), and between two of them an activation, hardswish ([notebook
# 6](06_mlp_residual.ipynb)): without something that is not linear, all four could be merged into one. The places of the
# last grid become the tokens.
#
# **Prediction.** Every convolution halves rows and columns; from the second on, each has twice the input channels and
# twice the output channels of the one before. By what factor do weights and multiply-adds grow from one to the next?

# %%
model = levit_ref.create_model("levit_128s", dtype=np.float64)
model.eval()
channels, side, weights, by_hand = [3, *(conv.channels for conv in model.config.stem)], 224, 0, 0
costs = {cost.name: cost for cost in component_costs(model)}
for i in range(4):
    C_in, C_out = channels[i : i + 2]
    side = (side + 2 - 3) // 2 + 1
    macs = side**2 * 9 * C_in * C_out
    weights, by_hand = weights + 9 * C_in * C_out, by_hand + macs
    print(f"conv{i + 1}: {C_in:2} -> {C_out:3} channels, {side:3} x {side:3} places", end=", ")
    print(f"{9 * C_in * C_out:6,} weights, {macs:10,} multiply-adds; the package counts", end=" ")
    print(f"{costs[f'stem.conv{i + 1}'].macs:10,}")
print(f"together {weights:,} weights, and {by_hand:,} of {count_macs(model):,} multiply-adds")
print(f"one 16 x 16 convolution: {3 * 16 * 16 * 128:,} weights, {14 * 14 * 3 * 16 * 16 * 128:,} multiply-adds")

# %% [markdown]
# Four times the weights on a quarter of the places: the same work each time. (The first one has 3 input channels
# instead of 8, hence 3/8 of it.)
#
# ViT, the vision transformer that LeViT starts from, makes its tokens in one step: a convolution of 16 x 16 with stride
# 16, whose patches do not overlap. That takes about as many weights as the four together, and 40 % of their work. When
# the paper puts it into LeViT-128S, the accuracy on ImageNet falls from 71.9 to 65.3 % (section 5.6; trained for 100
# epochs).
#
# Here is the photograph on its way, one channel of each grid; the kernels are fresh, so they mix at random:

# %%
mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours in ImageNet
images = normalise(photograph[None], mean, std)
names = ["stem.act1", "stem.act2", "stem.act3", "stem.conv4.bn"]
_, acts = levit_ref.run_with_activations(model, images, [*names, "stem.tokens"], stop_after="stem.tokens")
figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
for ax, name in zip(axes, names, strict=True):
    ax.imshow(acts[name][0, 2], cmap="gray")
    ax.set_xlabel("column")
    ax.set_title("{2} x {3}, {1} channels".format(*acts[name].shape), fontsize=9)
    ax.locator_params(integer=True, nbins=5)
axes[0].set_ylabel("row")
plt.show()
print("token 5 is the column of channels at row 0, column 5:", end=" ")
print(np.array_equal(acts["stem.tokens"][0, 5], acts["stem.conv4.bn"][0, :, 0, 5]))

# %% [markdown]
# ## What a token sees
#
# Tokens stand 16 pixels apart. How many pixels does one of them depend on, its *receptive field*? Walk back: an output
# from row $a$ to row $b$ needs the inputs from row $sa - p$ to row $sb - p + k - 1$.
#
# **Prediction.** Is it 16 x 16 pixels, less, or more? Do all tokens see equally many pixels?

# %%
middle = 7
a = b = middle
for conv in reversed(model.config.stem):
    a, b = conv.stride * a - conv.padding, conv.stride * b - conv.padding + conv.kernel_size - 1
    print(f"rows {a:3} to {b:3}: {b - a + 1}")
print("formula: 1 + 2 (1 + 2 + 4 + 8) =", 1 + 2 * (1 + 2 + 4 + 8))
fields = {t: receptive_field(model, "stem.tokens", (t, t)) for t in (0, middle, 13)}
for t, field in fields.items():
    top, left, bottom, right = field.box  # found by sending gradients back from the token to the pixels
    print(f"token ({t}, {t}) sees rows {top} to {bottom}: {field.mask.sum()} pixels")

# %% [markdown]
# Each convolution adds $k - 1 = 2$ steps of its own input grid, and these steps are 1, 2, 4 and 8 pixels long. Tokens
# see 31 x 31 pixels, so neighbours share 15 rows or columns. The first token stands on pixel (0, 0) and sees mostly
# zeros of the frames; the last one stands on pixel 208 and sees pixels only. An independent trial: change one pixel,
# and see whether the token in the middle changes.

# %%
before = acts.as_grid("stem.tokens")  # (1, 14, 14, 128)
for row in (a - 1, a, b, b + 1):
    poked = images.copy()
    poked[0, :, row, 16 * middle] += 1
    _, after = levit_ref.run_with_activations(model, poked, "stem.tokens", stop_after="stem.tokens")
    moved = np.abs(after.as_grid("stem.tokens") - before)[0].max(axis=-1)  # (14, 14)
    print(f"pixel in row {row:3}: token (7, 7) moves by {moved[middle, middle]:.1e};", end=" ")
    print(f"those that move: {', '.join(map(str, np.argwhere(moved > 0).tolist()))}")

# %% [markdown]
# **Prediction.** Within its receptive field, does a token depend most on the pixel in the middle? Count the paths by
# which a row of pixels reaches the token: each output row has three input rows; do this four times.

# %%
paths = np.ones(1)
for _ in model.config.stem:
    stretched = np.zeros(2 * len(paths) - 1)
    stretched[::2] = paths  # stride 2: outputs stand on every second row of the input
    paths = np.convolve(stretched, np.ones(3))  # and each reaches three of them
print("paths from each of the 31 rows:", *paths.astype(int))

# %%
strength, dtokens = 0.0, np.zeros((1, 196, 128))
model.stem(images.astype(np.float64))  # remembers what backward needs
for _ in range(20):  # the token's channels in random directions
    dtokens[0, 14 * middle + middle] = rng.normal(size=128)
    strength = strength + (model.stem.backward(dtokens)[0, :, a : b + 1, a : b + 1] ** 2).sum(axis=0)
by_row = strength.sum(axis=1)
print("correlation of squared gradients and paths:", np.corrcoef(by_row, paths)[0, 1].round(3))

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.1), layout="constrained")
axes[0].imshow(photograph.mean(axis=0), cmap="gray", alpha=0.5)
axes[0].scatter(*np.mgrid[0:14, 0:14] * model.stem.grid.pitch, s=2, color=ORANGE, clip_on=False)
for top, left, bottom, right in (field.box for field in fields.values()):
    frame = (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1
    axes[0].add_patch(plt.Rectangle(*frame, fill=False, ec=BLUE, lw=2, clip_on=False))
axes[1].imshow(strength**0.5, cmap="cividis", extent=(a - 0.5, b + 0.5, b + 0.5, a - 0.5))
axes[2].plot(by_row / by_row.sum(), np.arange(a, b + 1), "o-", ms=3, color=BLUE, label="squared gradient")
axes[2].plot(paths / paths.sum(), np.arange(a, b + 1), "--", color=ORANGE, label="number of paths")
axes[2].set(ylim=(b + 0.5, a - 0.5), xlim=(0, 0.11))
axes[2].legend(fontsize=8)
for ax, title in zip(axes, ("What tokens see", "How one heeds pixels (bright: more)", "... and rows"), strict=True):
    ax.set(xlabel="share" if ax is axes[2] else "pixel column", ylabel="pixel row")
    ax.set_title(title, fontsize=10)
plt.show()

# %% [markdown]
# No: from the row in the middle there is a single path, as from the first row and the last one. It has an even number,
# 112, and so have its places on the next grids, 56, 28 and 14; so only one kernel covers it each time. Rows that are
# under two kernels at several levels have up to five paths. With random weights each path adds a random term to the
# gradient, and the squares of independent terms add up: hence the likeness. Training can move this, with larger weights
# in the middle of the kernels.
#
# **Limitation.** A token knows nothing of what is further than 15 rows or columns away: that is what attention is for.
# And a receptive field of 31 pixels holds at inference; in training the batch normalisations mix the statistics of all
# pixels into every token.
#
# ## The same number by four routes
#
# One output of the first convolution: by the package, by the definition, by scipy, and by the matrix product. And,
# since the convolution is linear in $x$ and in $w$, a sum that must come out alike from all three of $y$, $x$ and $w$
# with their gradients: $\sum g\, y = \sum \partial_x L\; x = \sum \partial_w L\; w$.

# %% tags=["final-check"]
o, r, c = 5, 40, 61
by_package = theirs[0, o, r, c]
by_definition = 0.0
for i, u, v in np.ndindex(3, 3, 3):
    by_definition += w[o, i, u, v] * x[i, 2 * r + u - 1, 2 * c + v - 1]
by_scipy = sum(correlate2d(x[i], w[o, i], mode="same")[2 * r, 2 * c] for i in range(3))
by_matrices = P[112 * r + c] @ K[:, o]
print(by_package, by_definition, by_scipy, by_matrices)
assert np.allclose([by_definition, by_scipy, by_matrices], by_package, rtol=1e-12)
print((g * theirs[0]).sum(), (dx * x).sum(), (dw * w).sum())
assert np.allclose([(dx * x).sum(), (dw * w).sum()], (g * theirs[0]).sum(), rtol=1e-10)
assert by_hand == sum(costs[f"stem.conv{i}"].macs for i in (1, 2, 3, 4))
patch_stem = component_costs(levit_ref.create_model("levit_128s_a2_no_conv_stem"))[0]
assert patch_stem.macs == 14 * 14 * 3 * 16 * 16 * 128
assert fields[middle].box == (a, a, b, b) and b - a + 1 == 31

# %% [markdown]
# **Next.** [Batch normalisation](03_batch_norm.ipynb): what stands after every convolution and every linear layer.
#
# ## Exercises
#
# **Exercise 1.** The stem of LeViT-256 has 32, 64, 128 and 256 channels; the paper says that it takes 184 million
# multiply-adds. Check it by hand, using what you know of three of the four convolutions.

# %% tags=["solution"] jupyter={"source_hidden": true}
first, others = 112**2 * 27 * 32, 56**2 * 9 * 32 * 64
print(f"{first + 3 * others:,}")
counted = component_costs(levit_ref.create_model("levit_256"))[:4]
assert first + 3 * others == sum(cost.macs for cost in counted)
assert round((first + 3 * others) / 1e6) == 184

# %% [markdown]
# **Exercise 2.** Write the gradient of the pixels as a convolution: which kernel, over which picture? (Put $s - 1$ rows
# and columns of zeros between those of $g$, and look at which weight joins output $r$ with pixel $h$: $h = sr + u -
# p$.)

# %% tags=["solution"] jupyter={"source_hidden": true}
stretched = np.zeros((16, 223, 223))
stretched[:, ::2, ::2] = g  # output r stands at 2 r
# pixel h receives g at r times weight u where 2 r + u = h + 1: a true convolution, with the kernel flipped
full = [sum(convolve2d(stretched[o], w[o, i]) for o in range(16)) for i in range(3)]  # 225 x 225
print("differs by", np.abs(np.array(full)[:, 1:, 1:] - dx).max())
assert np.allclose(np.array(full)[:, 1:, 1:], dx)

# %% [markdown]
# **Exercise 3.** Move the photograph 16 pixels to the right. What happens to the tokens? And for 8 pixels? (Leave out
# what is near the border.)

# %% tags=["solution"] jupyter={"source_hidden": true}
for shift in (16, 8):
    moved = np.roll(images, shift, axis=3)
    _, after = levit_ref.run_with_activations(model, moved, "stem.tokens", stop_after="stem.tokens")
    differences = np.abs(after.as_grid("stem.tokens")[:, 1:, 3:] - before[:, 1:, 2:-1])
    print(f"{shift:2} pixels: compared with the tokens one column further left, at most {differences.max():.1e}")
    assert (differences.max() < 1e-12) == (shift == 16)
