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
# # 3. Batch normalisation
#
# **Question.** Every linear layer and every convolution of LeViT is followed by a batch normalisation. What does it do to
# the numbers, how does its gradient flow, and why does it cost nothing once the network is trained?
#
# At the end you can
# - write the forward pass and derive the backward pass, and check both against independent numbers;
# - say what differs between training and inference, and what the running statistics are;
# - merge a trained normalisation into the matrix product before it, as LeViT does to be fast (paper, section 4.2).

# %%
import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import ops
from levit_ref.data import make_shapes

rng = np.random.default_rng(0)
pictures = make_shapes("train", 256).images  # (256, 3, 32, 32), bytes
images = pictures / 255.0  # float64
weight = levit_ref.create_model("levit_250k_32px", num_classes=10).stem.conv1.linear.weight.data
x, _ = ops.conv2d_forward(images, weight.astype(np.float64), padding=1)
print("pictures", images.shape, "-> first convolution", x.shape)

# %% [markdown]
# ## What it does to the numbers
#
# `x` is what the untrained first convolution makes of 256 pictures: 16 channels. A channel is a filter, and nothing says
# that two filters should have the same mean or spread.
#
# **Prediction.** By what factor do the spreads of the widest and the narrowest channel differ: 1.1, 2, or 10? Pixels lie
# between 0 and 1, all positive: are the means around zero?

# %%
rows = x.transpose(0, 2, 3, 1).reshape(-1, 16)  # (M, C): pixels of all pictures, channels
mean, std = rows.mean(axis=0), rows.std(axis=0)
print(f"spreads from {std.min():.3f} to {std.max():.3f}: a factor of {std.max() / std.min():.1f}")
print(f"means from {mean.min():.2f} to {mean.max():.2f}")

# %% [markdown]
# Batch normalisation gives each channel $c$ the mean 0 and the variance 1 *over the batch* (all $M$ values that the channel
# has in it: pictures times pixels), and then a scale $\gamma_c$ and a shift $\beta_c$ that are learned:
#
# $$n_{mc} = \frac{x_{mc} - \mu_c}{\sqrt{\sigma^2_c + \epsilon}}, \qquad y_{mc} = \gamma_c\, n_{mc} + \beta_c, \qquad
# \mu_c = \frac1M \sum_m x_{mc}, \quad \sigma_c^2 = \frac1M \sum_m (x_{mc} - \mu_c)^2 .$$

# %%
EPS = 1e-5


def forward(x, gamma, beta):
    """(M, C) to (M, C), and the normalised values."""
    n = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + EPS)
    return gamma * n + beta, n


gamma, beta = rng.uniform(0.5, 1.5, 16), rng.normal(size=16)
y, n = forward(rows, gamma, beta)
mean, variance = ops.batch_norm_statistics(rows)
theirs, saved = ops.batch_norm_forward(rows, mean, variance, gamma, beta)
print("differs from levit_ref.ops by", np.abs(y - theirs).max())

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
sample = rng.choice(len(rows), 2000, replace=False)
for ax, values, title in zip(axes, (rows, n), ("before", "normalised"), strict=True):
    ax.boxplot(values[sample], showfliers=False, medianprops={"color": "#D55E00"})
    ax.set(xlabel="channel", ylabel="value", title=f"The 16 channels, {title}")
    ax.set_xticks(range(1, 17, 3), range(0, 16, 3))
plt.show()

# %% [markdown]
# ## The gradient
#
# Let $g_{mc} = \partial L / \partial y_{mc}$. Scale and shift are easy: $\partial L/\partial\beta_c = \sum_m g_{mc}$ and
# $\partial L/\partial\gamma_c = \sum_m g_{mc} n_{mc}$.
#
# The input is harder, because $x_{mc}$ moves the mean and the variance of its channel, hence *every* row. Two facts replace
# the algebra. If all rows of a channel get the same constant added, $n$ stays as it is. If the centred rows are all
# stretched by the same factor, $n$ stays as it is, too. So the gradient cannot point along the constant direction $1$,
# nor along $n$: take $\gamma g$, remove its components along both, and divide by the spread,
#
# $$\frac{\partial L}{\partial x_{mc}} = \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} \Big( g_{mc} - \frac1M \sum_k g_{kc}
# - n_{mc}\, \frac1M \sum_k g_{kc} n_{kc} \Big).$$
#
# **Prediction.** So each column of the gradient is perpendicular to $1$ (it sums to zero) and to $n$. To how many digits?


# %%
def backward(g, n, x, gamma):
    """Gradients of x, gamma and beta."""
    dgamma, dbeta = (g * n).sum(axis=0), g.sum(axis=0)
    scale = gamma / np.sqrt(x.var(axis=0) + EPS)
    return scale * (g - dbeta / len(g) - n * dgamma / len(g)), dgamma, dbeta


# %%
g = rng.normal(size=y.shape)  # as if a loss had this gradient
dx, dgamma, dbeta = backward(g, n, rows, gamma)
length = np.linalg.norm(dx, axis=0)
print("cosine with 1:", np.abs(dx.sum(axis=0) / length / len(n) ** 0.5).max())
print("cosine with n:", np.abs((dx * n).sum(axis=0) / length / np.linalg.norm(n, axis=0)).max())
sums = ops.batch_norm_backward_sums(g, saved)  # the two sums of the formula
theirs = ops.batch_norm_backward(sums, saved, len(rows)), sums.dweight, sums.dbias
for name, a, b in zip(("dx", "dgamma", "dbeta"), (dx, dgamma, dbeta), theirs, strict=True):
    print(f"{name:6} differs from levit_ref.ops by {np.abs(a - b).max():.1e}")

# %% [markdown]
# The gradient is perpendicular to both: to 1 up to rounding; along $n$ a trace is left, since $\epsilon$ makes the variance
# of $n$ a little less than 1.
#
# Agreement with the package says only that two people derived the same. The independent check is a finite difference:
# move one input by $h$, and see what the loss $L = \sum g\, y$ does.

# %%
m, c, h = 12345, 7, 1e-4
moved = []
for step in (h, -h):
    shifted = rows.copy()
    shifted[m, c] += step
    moved.append((g * forward(shifted, gamma, beta)[0]).sum())
finite_difference = (moved[0] - moved[1]) / (2 * h)
print(f"formula {dx[m, c]:.9f}, finite difference {finite_difference:.9f}")

# %% [markdown]
# ## Training and inference
#
# One picture has no batch. So while training, the layer keeps running averages of mean and variance, and uses those at
# inference: $r \leftarrow (1 - 0.1)\, r + 0.1\, \mu$ for each batch.
#
# **Prediction.** They start at 0 and 1. After how many batches have they forgotten it to one percent? ($0.9^t = 0.01$.)

# %%
running_mean, running_var = np.zeros(16), np.ones(16)
distance = []
for _ in range(80):
    batch = rows.reshape(256, -1, 16)[rng.choice(256, 64)].reshape(-1, 16)
    statistics = ops.batch_norm_statistics(batch)
    running_mean, running_var = ops.update_running_statistics(
        running_mean, running_var, *statistics, len(batch), momentum=0.1
    )
    distance.append(np.abs(running_var - rows.var(axis=0)).max())
print(f"0.9^t falls below 0.01 at t = {np.ceil(np.log(0.01) / np.log(0.9)):.0f}")

# %%
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.semilogy(range(1, 81), distance, color="#0072B2", label="largest error of a running variance")
ax.semilogy(range(1, 81), distance[0] * 0.9 ** np.arange(80), "--", color="#999999", label=r"$0.9^t$")
ax.set(xlabel="batches", ylabel="distance from all pictures' variance", title="The running variance forgets its start")
ax.legend()
plt.show()

# %% [markdown]
# The error follows $0.9^t$ and then stays where the noise of a batch of 64 pictures keeps it: a running average over about
# ten batches is not the average over all pictures.
#
# ## At inference it disappears
#
# With constant statistics the layer is an affine map of each channel, and the layer before it is linear. Two such maps in
# a row are one: with $s_c = \gamma_c / \sqrt{r^{var}_c + \epsilon}$,
#
# $$ s_c \big( W_c \cdot x - r^{mean}_c \big) + \beta_c = (s_c W_c) \cdot x + (\beta_c - s_c\, r^{mean}_c).$$
#
# LeViT puts batch normalisation after *every* product for this reason: layer normalisation, which other transformers
# have, takes its statistics from each token, and cannot be merged.

# %%
tokens = rng.normal(size=(64, 24))
W = rng.normal(size=(16, 24))
products, _ = ops.linear_forward(tokens, W)
running_mean, running_var = products.mean(axis=0), products.var(axis=0)  # as training would have left them
scale = gamma / np.sqrt(running_var + EPS)
folded_W, folded_bias = W * scale[:, None], beta - scale * running_mean
one_product, _ = ops.linear_forward(tokens, folded_W, folded_bias)
two_steps, _ = ops.batch_norm_forward(products, running_mean, running_var, gamma, beta)
print("folded and unfolded differ by", np.abs(one_product - two_steps).max())

# %% [markdown]
# **Limitation.** The statistics of a small batch are noisy. The mean of $M$ independent values is off by
# $\sigma / \sqrt M$: in a batch of 2 pictures, of which 16 tokens each reach the last stage, $M = 32$, and every mean of that
# stage is off by 18 % of a spread. A batch of one value has no variance at all; `levit_ref` refuses it:

# %%
try:
    ops.batch_norm_statistics(rows[:1])
except ValueError as error:
    print(error)

# %% [markdown]
# ## The same number by three routes
#
# One value of the inference output: by the package, by hand from the definition, and from the folded product.

# %% tags=["final-check"]
by_package = two_steps[3, 5]
by_hand = gamma[5] * (W[5] @ tokens[3] - running_mean[5]) / np.sqrt(running_var[5] + EPS) + beta[5]
by_folding = folded_W[5] @ tokens[3] + folded_bias[5]
print(by_package, by_hand, by_folding)
assert np.allclose([by_hand, by_folding], by_package, rtol=1e-12)
assert np.isclose(finite_difference, dx[m, c], rtol=1e-6)

# %% [markdown]
# **Next.** [Attention with a learned position bias](04_attention.ipynb) is where tokens start to talk to each other.
#
# ## Exercises
#
# **Exercise 1.** The running variance that PyTorch keeps is divided by $M - 1$, the one that normalises the batch by $M$.
# By how many percent do they differ for the last stage of a batch of 4 pictures with 16 tokens each?

# %% tags=["solution"] jupyter={"source_hidden": true}
M = 4 * 16
print(f"{100 * (M / (M - 1) - 1):.2f} %")
assert np.isclose(np.var(np.arange(M), ddof=1) / np.var(np.arange(M)), M / (M - 1))

# %% [markdown]
# **Exercise 2.** If the weights before a batch normalisation are multiplied by 10, what happens to its output in training,
# and to the gradient of those weights? Predict, then compute.

# %% tags=["solution"] jupyter={"source_hidden": true}
y1, n1 = forward(rows, gamma, beta)
y10, n10 = forward(10 * rows, gamma, beta)
dx1, dx10 = backward(g, n1, rows, gamma)[0], backward(g, n10, 10 * rows, gamma)[0]
print("output changes by", np.abs(y10 - y1).max(), "(only by the eps)")
print("gradient shrinks", np.median(dx1 / dx10), "times")
assert np.isclose(np.median(dx1 / dx10), 10, rtol=1e-3)

# %% [markdown]
# **Exercise 3.** Take the backward pass at inference (constant statistics). Which two terms of the formula disappear, and
# does a column of the gradient still sum to zero?

# %% tags=["solution"] jupyter={"source_hidden": true}
_, saved = ops.batch_norm_forward(rows, running_mean, running_var, gamma, beta)
dx_inference = ops.batch_norm_backward(ops.batch_norm_backward_sums(g, saved), saved)  # no count: constant statistics
print("sums of columns, at most", np.abs(dx_inference.sum(axis=0)).max())
assert np.allclose(dx_inference, g * gamma / np.sqrt(running_var + EPS))
