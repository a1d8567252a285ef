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
# # 6. Hardswish, MLP, residual sums, and how it all starts
#
# **Question.** Attention mixes tokens. What do the other parts of a block do, and what makes a stack of a dozen of them
# trainable from the first step?
#
# At the end you can
# - say what hardswish is, why LeViT has it, and where its derivative jumps;
# - write the MLP of a block and count what it costs beside attention;
# - tell which parameters of a fresh block get a gradient in the first step, and why that is on purpose;
# - explain stochastic depth, and why it does not change the mean.

# %%
import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import ops
from levit_ref.inspection import count_macs

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
rng = np.random.default_rng(0)

# %% [markdown]
# ## Hardswish
#
# Swish, $x\,\sigma(x)$, multiplies its input with a smooth gate. The gate needs an exponential. Hardswish replaces the gate by
# a straight line between $-3$ and $3$ (Howard et al. 2019, section 5.2):
#
# $$ h(x) = x\, g(x), \qquad g(x) = \tfrac16 \operatorname{clip}(x + 3,\, 0,\, 6). $$
#
# **Prediction.** At which $x$ are the two furthest apart, and how far?

# %%
x = np.linspace(-6, 6, 2401)
hardswish, saved = ops.hardswish_forward(x)
slope = ops.hardswish_backward(np.ones_like(x), saved)
swish, _ = ops.silu_forward(x)
worst = np.abs(hardswish - swish).argmax()
print(f"furthest apart at x = {x[worst]:+.2f}, by {hardswish[worst] - swish[worst]:+.4f}")
print(f"3 - 3 sigmoid(3) = {3 - 3 / (1 + np.exp(-3)):.4f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].plot(x, hardswish, color=BLUE, label="hardswish")
axes[0].plot(x, swish, "--", color=ORANGE, label="swish")
axes[0].plot(x, ops.relu_forward(x)[0], ":", color=GREY, label="ReLU")
axes[0].set(xlabel="x", ylabel="y", title="Value")
axes[1].plot(x, slope, color=BLUE, label="hardswish")
axes[1].plot(x, ops.silu_backward(np.ones_like(x), x), "--", color=ORANGE, label="swish")
axes[1].set(xlabel="x", ylabel="dy / dx", title="Slope")
axes[0].legend()
plt.show()

# %% [markdown]
# The slope follows from the product rule: $h' = g + x\,g'$, and $g' = 1/6$ only between the two kinks,
#
# $$ h'(x) = 0 \;(x < -3), \qquad \tfrac16 (2x + 3) \;(-3 < x < 3), \qquad 1 \;(x > 3). $$
#
# At a kink there is no derivative, and a finite difference finds the mean of both sides:

# %%
h = 1e-6
for at in (-1.5, 1.0, 3.0):
    points = np.array([at + h, at - h])
    above, below = ops.hardswish_forward(points)[0]
    formula = ops.hardswish_backward(np.ones(1), np.array([at]))[0]
    print(f"x = {at:+.1f}: formula {formula:.6f}, finite difference {(above - below) / (2 * h):.6f}")

# %% [markdown]
# At $x = 3$ the left slope is $9/6 = 1.5$ and the right one is 1. Code has to choose; this package and PyTorch take 1.
#
# ## The MLP
#
# For each token alone: a linear layer to twice the channels, hardswish, and a linear layer back; a batch normalisation after
# each linear layer ([notebook 3](03_batch_norm.ipynb)). ViT expands by 4; LeViT by 2, to save work (paper, section 4.2).
#
# **Prediction.** A block of LeViT-128S' first stage has 128 channels and 196 tokens. Attention there makes 4 heads with 16
# key and 32 value channels. Which half of the block does more multiplications?

# %%
C, N, heads, D, E = 128, 196, 4, 16, 32
attention = N * C * heads * (2 * D + E) + N * heads * E * C  # the projections in and out
attention += heads * N * N * (D + E)  # scores, and values by probabilities
mlp = N * C * 2 * C * 2
print(f"attention {attention / 1e6:.1f} million, MLP {mlp / 1e6:.1f} million multiply-adds")
config = levit_ref.get_config("levit_128s")
print(f"the whole network: {count_macs(levit_ref.create_model('levit_128s')) / 1e6:.0f} million")

# %% [markdown]
# Attention costs a third more here, 7.4 of the 17.0 million in the products of tokens with tokens. With ViT's factor of 4 the
# MLP would cost 25.7 million and be the larger half; the paper halves it to balance the two (section 4.2).
#
# ## A block that starts as nothing
#
# Both halves of a block are *residual branches*: $x \leftarrow x + \mathrm{branch}(x)$. And the last batch normalisation of
# each branch starts with the scale $\gamma = 0$ instead of 1.
#
# **Prediction.** What does a fresh block do to its input?

# %%
model = levit_ref.create_model("levit_250k_32px", num_classes=10, dtype=np.float64)
block = model.stages[0].blocks[0]
tokens = rng.normal(size=(8, 64, 64))  # (B, N, C)
print("largest change:", np.abs(block(tokens) - tokens).max())

# %% [markdown]
# Nothing. A network of such blocks starts as its stem, its shrinking attentions and its head, and grows deeper while it
# learns. But if the branch is multiplied by zero, so is the gradient that flows back into it:
#
# **Prediction.** The block has 13 parameter arrays. How many of them get a gradient that is not zero in the first step?

# %%
block.zero_grad()
dx = block.backward(rng.normal(size=tokens.shape))
moving = [name for name, p in block.named_parameters() if np.any(p.grad)]
print(f"{len(moving)} of {len(list(block.named_parameters()))}:", *moving, sep="\n  ")

# %% [markdown]
# Only the scales and shifts of the last normalisations: their gradient does not pass through themselves. One step of the
# optimiser makes them non-zero, and from the second step on everything moves:

# %%
for _, parameter in block.named_parameters():
    parameter.data -= 0.01 * np.sign(parameter.grad)  # as the first step of Adam does
block.zero_grad()
block(tokens)
block.backward(rng.normal(size=tokens.shape))
print(sum(np.any(p.grad) for _, p in block.named_parameters()), "move in the second step")

# %% [markdown]
# ## What it is good for
#
# A sum of $n$ independent branches of spread 1 has the spread $\sqrt{n}$. With $\gamma = 1$ everywhere the residual stream
# therefore grows with depth, and the first gradient steps shake all layers at once. With $\gamma = 0$ the stream has the
# same spread at every depth.

# %%
spreads = {}
for gamma in (0.0, 1.0):
    stream, spreads[gamma] = rng.normal(size=(8, 64, 64)), []
    for seed in range(12):
        network = levit_ref.create_model("levit_250k_32px", num_classes=10, dtype=np.float64, seed=seed)
        fresh = network.stages[0].blocks[0]
        fresh.attn.proj.ln.bn.weight.data[:] = fresh.mlp.ln2.bn.weight.data[:] = gamma
        stream = fresh(stream)
        spreads[gamma].append(stream.std())
print("after 12 blocks:", {gamma: round(float(s[-1]), 2) for gamma, s in spreads.items()}, "and sqrt(25) =", 25**0.5)

# %%
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
depth = np.arange(1, 13)
ax.plot(depth, spreads[1.0], "o-", color=ORANGE, label=r"$\gamma = 1$")
ax.plot(depth, np.sqrt(1 + 2 * depth), "--", color=GREY, label=r"$\sqrt{1 + 2\,\mathrm{blocks}}$")
ax.plot(depth, spreads[0.0], "o-", color=BLUE, label=r"$\gamma = 0$, as in LeViT")
ax.set(
    xlabel="blocks passed", ylabel="standard deviation", title="The residual stream at initialisation", ylim=(0, None)
)
ax.legend()
plt.show()

# %% [markdown]
# Why do the spreads follow $\sqrt{1 + 2\,\text{blocks}}$? The stream starts with variance 1, each block has two branches,
# and each branch ends in a batch normalisation with $\gamma = 1$, which adds variance 1. (They follow it closely and not
# exactly: a branch is not quite independent of the stream that it reads.)
#
# ## Stochastic depth
#
# The largest LeViT leaves each branch out of each picture with probability $p = 0.1$ while it trains, so that no branch can
# rely on another one. The branches that stay are multiplied by $1/(1-p)$.
#
# **Prediction.** What is the mean of that factor? And its variance, for $p = 0.1$?

# %%
p = 0.1
factor = ops.drop_path_factor(rng.random(200_000), p, np.float64)
print("values", np.unique(factor), "mean", factor.mean(), "variance", factor.var())
print("p / (1 - p) =", p / (1 - p))
y, saved = ops.residual_forward(tokens, np.ones_like(tokens), factor[:8])
assert np.allclose(y, tokens + factor[:8, None, None])

# %% [markdown]
# The factor is 0 with probability $p$ and $1/(1-p)$ else, so its mean is 1 and its variance $1/(1-p) - 1 = p/(1-p)$: what a
# network sees on average while it trains is what it is at inference.
#
# **Limitation.** That the mean of a *branch* is right does not make the mean of the *network* right, since what follows is
# not linear. And the arguments about spreads hold for random weights: they say how training starts, not how it ends.
#
# ## The same number by three routes
#
# One value of an MLP's output, at inference: by the module, by the operations, and by plain sums.

# %%
mlp = block.mlp
mlp.eval()
W1, W2, norm1, norm2 = mlp.ln1.linear.weight.data, mlp.ln2.linear.weight.data, mlp.ln1.bn, mlp.ln2.bn


def normalise(x, norm):
    statistics = norm.running_mean.data, norm.running_var.data
    return ops.batch_norm_forward(x, *statistics, norm.weight.data, norm.bias.data)[0]


by_module = mlp(tokens)[2, 3, 5]
hidden, _ = ops.hardswish_forward(normalise(tokens @ W1.T, norm1))
by_operations = normalise(hidden @ W2.T, norm2)[2, 3, 5]


# %% tags=["final-check"]
def normalise_one(value, norm, c):
    spread = (norm.running_var.data[c] + 1e-5) ** 0.5
    return norm.weight.data[c] * (value - norm.running_mean.data[c]) / spread + norm.bias.data[c]


total = 0.0
for j in range(len(W1)):
    u = normalise_one(sum(w * t for w, t in zip(W1[j], tokens[2, 3], strict=True)), norm1, j)
    total += W2[5, j] * u * min(max(u + 3, 0), 6) / 6
by_sums = normalise_one(total, norm2, 5)
print(by_module, by_operations, by_sums)
assert np.allclose([by_operations, by_sums], by_module, rtol=1e-9)

# %% [markdown]
# **Next.** [The whole network](07_one_photograph.ipynb): one photograph, followed from the pixels to the class.
#
# ## Exercises
#
# **Exercise 1.** Where is hardswish smallest, and how small does it get? Find it with pen and paper, then compare.

# %% tags=["solution"] jupyter={"source_hidden": true}
# h'(x) = (2 x + 3) / 6 = 0 at x = -3/2, where h = -3/2 * 3/2 / 6 = -3/8
x_min = x[hardswish.argmin()]
print(x_min, hardswish.min())
assert np.isclose(x_min, -1.5) and np.isclose(hardswish.min(), -3 / 8)

# %% [markdown]
# **Exercise 2.** The shrinking attention between two stages has no residual sum, so its last normalisation starts with
# $\gamma = 1$. What would happen to the network's output, and to its gradients, if it started with 0?

# %% tags=["solution"] jupyter={"source_hidden": true}
images = rng.normal(size=(4, 3, 32, 32))
model.stages[1].downsample.attn_downsample.proj.ln.bn.weight.data[:] = 0
logits = model(images)
print("logits differ between pictures by", np.abs(logits - logits[0]).max())
assert np.allclose(logits, logits[0])  # nothing of the picture gets through, and no gradient gets back

# %% [markdown]
# **Exercise 3.** With stochastic depth $p$ and 24 branches, how many branches does a picture meet on average, and how large
# is the standard deviation of that number for $p = 0.1$? Compute it, then simulate.

# %% tags=["solution"] jupyter={"source_hidden": true}
met = np.array([(ops.drop_path_factor(rng.random(24), 0.1, np.float64) > 0).sum() for _ in range(20_000)])
print("mean", met.mean(), "expected", 24 * 0.9, " spread", met.std(), "expected", (24 * 0.9 * 0.1) ** 0.5)
assert np.isclose(met.mean(), 21.6, atol=0.05)
