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
# # 8. Backward: from the loss to the pixels
#
# **Question.** [Notebook 7](07_one_photograph.ipynb) followed a picture forward, through every value that has a name.
# A loss is one number behind all of them. How does it reach back to every parameter and every pixel, how large is what
# arrives, and how do we know that it is right?
#
# At the end you can
# - run a network backward and read the gradient of the loss at any named value;
# - check a million derivatives with two forward passes, and choose the step for it;
# - see how the gradient changes from layer to layer, and what normalisations that start with zero do to it;
# - say why, in training, the gradient of a picture depends on the other pictures of its batch;
# - draw which pixels a decision depends on, check the drawing where the truth is known, and say what it does not mean.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import inspection, ops
from levit_ref.data import make_shapes
from levit_ref.nn import LeViT
from levit_ref.training import AdamW

# %%
BLUE, ORANGE = "#0072B2", "#D55E00"
rng = np.random.default_rng(0)
shapes = make_shapes("train", 8)
images, labels = (shapes.images / 255 - 0.5) / 0.25, shapes.labels  # (B, 3, 32, 32), float64
model = levit_ref.create_model("levit_1m_32px", num_classes=10, dtype=np.float64)
print(f"{len(images)} pictures, {model.flat_data.size:,} parameters")

# %% [markdown]
# ## One pass back
#
# The network is one for pictures of 32 x 32 pixels: three stages of two blocks, with 8 x 8, 4 x 4 and 2 x 2 tokens. A
# softmax makes probabilities of its ten logits, $p_{bk}$ for class $k$ and picture $b$. The loss is the
# *cross-entropy*: with $t_{bk}$ 1 for the right class and 0 else,
#
# $$ L = -\frac1B \sum_{b,k} t_{bk} \log p_{bk}, \qquad
# \frac{\partial L}{\partial\, \mathrm{logit}_{bk}} = \frac{p_{bk} - t_{bk}}{B}. $$
#
# The second formula follows from the softmax: $\partial \log p_k / \partial\, \mathrm{logit}_j$ is $1 - p_j$ for
# $j = k$ and $-p_j$ else. It is the first gradient of the chain. From there every operation turns the gradient of its
# result into that of its input (notebooks 2 to 6 derived all of them), in reverse order. `model.backward` is nothing
# but that.
#
# **Prediction.** The network is fresh and knows nothing. What is the loss with 10 classes, and what is the gradient of
# the logit of a right class in a batch of 8?


# %%
def loss_and_start(logits):
    """The loss, and its gradient with respect to the logits."""
    loss, saved = ops.cross_entropy_forward(logits, labels)
    return loss, ops.cross_entropy_backward(1.0, saved)


loss, dlogits = loss_and_start(model(images))
right = dlogits[np.arange(8), labels]
print(f"loss {loss:.3f}, ln 10 = {np.log(10):.3f}")
print(f"gradient of the right logits {right.mean():.4f}, (0.1 - 1) / 8 = {(0.1 - 1) / 8:.4f}")
model.zero_grad()  # gradients add up until they are cleared
dimages = model.backward(dlogits)
print("gradient of the pixels", dimages.shape, " of the parameters", model.flat_grad.shape)

# %% [markdown]
# One call gave a derivative for every parameter and every pixel.
#
# Could they be had without any of this? Move one parameter, and see what the loss does: that takes two forward passes
# for each of them, two million in all. The pass back costs about as much as two passes forward, whatever the number of
# parameters: each matrix product $Y = X W^T$ has two on its way back, $\dot X = \dot Y W$ and $\dot W = \dot Y^T X$ (a
# dot is the gradient of the loss).
#
# Here is a first check that needs no calculus. Behind each convolution and each linear layer but the head's stands a
# batch normalisation, which undoes any stretching of the weights before it ([notebook 3](03_batch_norm.ipynb),
# exercise 2).
#
# **Prediction.** So what is the scalar product of a row of such a weight matrix with the same row of its gradient?

# %%
cosines = {}
for name, p in model.named_parameters():
    if name.endswith("linear.weight") and not name.startswith("head") and np.any(p.grad):
        w, g = p.data.reshape(len(p.data), -1), p.grad.reshape(len(p.data), -1)  # (C_out, inputs)
        cosines[name] = np.abs((w * g).sum(axis=1)) / np.linalg.norm(w, axis=1) / np.linalg.norm(g, axis=1)
print(len(cosines), "weights; largest cosine of a row and its gradient:", max(c.max() for c in cosines.values()))

# %% [markdown]
# Zero, since the loss does not change when the row grows (up to the $\epsilon$ in the normalisation). A gradient is
# perpendicular to all directions in which nothing happens. (These are the nine weights of the stem and of shrinking
# attention; why the others have no gradient yet comes below.)
#
# ## The gradient at every name
#
# Values on the way have gradients, too. `run_with_gradients` keeps them, under the names of the forward pass; `of`
# says how the pass back starts, here with the loss.

# %%
start_of = {"of": lambda logits: loss_and_start(logits)[1]}
_, grads = levit_ref.run_with_gradients(model, images, "*", **start_of)
print(len(grads), "names; the pixels as before:", np.array_equal(grads["images"], dimages))
for name in ("stem.tokens", "stages.1.downsample.attn_downsample.probs", "pooled", "logits"):
    print(f"  {name:42} {grads[name].shape}")

# %% [markdown]
# What does such a gradient say? If the value moves by a small $\delta$, the loss changes by
# $\langle \mathrm{gradient}, \delta \rangle$, the sum of all products of entries. An edit moves a value in the middle
# of the network, so this can be tried:

# %%
name = "stages.1.downsample.resid_mid"
u = rng.normal(size=grads[name].shape)  # a random direction
h, moved = 1e-5, []
for step in (h, -h):
    logits, _ = levit_ref.run_with_activations(model, images, [], edits={name: lambda value, s=step: value + s * u})
    moved.append(loss_and_start(logits)[0])
print(f"finite difference {(moved[0] - moved[1]) / (2 * h):.10f}")
print(f"gradient          {(grads[name] * u).sum():.10f}")

# %% [markdown]
# ## How large it is on its way
#
# In a fresh LeViT the last normalisation of each residual branch has the scale $\gamma = 0$ ([notebook
# 6](06_mlp_residual.ipynb)).
#
# **Prediction.** What does a block then do to the gradient that passes it? And what gradient does the attention inside
# get?

# %%
block = "stages.0.blocks.0."
print("same before and after the block:", np.array_equal(grads[block + "resid_pre"], grads[block + "resid_post"]))
print("largest entry inside, at the attention's probabilities:", np.abs(grads[block + "attn.probs"]).max())
untouched = [name for name, p in model.named_parameters() if not np.any(p.grad)]
print(f"{len(untouched)} of {len(list(model.named_parameters()))} parameter arrays get no gradient")

# %% [markdown]
# The sum $x + \mathrm{branch}(x)$ hands its gradient on to both. The branch multiplies its share by $\gamma = 0$; so
# the stream keeps the gradient as it is, and nothing arrives inside of the branches.
#
# For comparison, the same network with $\gamma = 1$ everywhere. **Prediction.** Now each branch adds to the gradient
# that passes by. Does the gradient grow or shrink from the last layer to the first?

# %%
path = inspection.statistics.MAIN_PATH  # the stem's maps, and the stream behind each attention and each MLP


def along_path(model):
    """Norm of the gradient at each name of the main path, and of the gradient of each weight matrix."""
    _, at = levit_ref.run_with_gradients(model, images, path, **start_of)
    model.zero_grad()
    model.backward(loss_and_start(model(images))[1])
    weights = [np.linalg.norm(p.grad) for name, p in model.named_parameters() if name.endswith("linear.weight")]
    return {name: np.linalg.norm(g) for name, g in at.items()}, np.array(weights)


# %%
for seed in (2, 1, 0):
    compared = {}
    for gamma in (0, 1):
        fresh = levit_ref.create_model("levit_1m_32px", num_classes=10, seed=seed, dtype=np.float64)
        for name, p in fresh.named_parameters():
            if name.endswith("bn.weight") and gamma == 1:
                p.data[:] = 1
        compared[gamma] = along_path(fresh)
        norms, weights = compared[gamma]
        behind, *_, front = reversed(norms.values())
        matrices = f"{(weights > 0).sum()} of {len(weights)} weight matrices get a gradient"
        print(f"weights of seed {seed}, gamma {gamma}: grows {front / behind:6.1f} times; {matrices}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
names = [name.removeprefix("stages.").replace("downsample", "down").replace("blocks.", "") for name in norms]
for gamma, colour, mark in ((1, ORANGE, "o-"), (0, BLUE, "s-")):
    (norms, weights), label = compared[gamma], rf"$\gamma = {gamma}$" + ", as in LeViT" * (gamma == 0)
    axes[0].semilogy(list(norms.values()), mark, color=colour, ms=4, label=label)
    kept = weights > 0
    axes[1].semilogy(np.flatnonzero(kept), weights[kept], mark[0], color=colour, ms=4, label=label)
axes[0].set_xticks(range(len(names)), names, rotation=90, fontsize=8)
axes[0].set(xlabel="value, in the order of the forward pass", ylabel="norm of its gradient", title="Values")
axes[1].set(xlabel="number of the weight matrix", title="Weights (zeros are left out)")
axes[0].set_ylim(1e-2, 1e1)
axes[0].legend()
plt.show()

# %% [markdown]
# The values on the left are the stem's maps and the residual stream, after the attention (`resid_mid`) and after the
# MLP (`resid_post`) of each block. Read them from right to left, as the gradient goes. With $\gamma = 1$ it grows at
# nearly every branch that it passes, hundreds of times in all (how much depends on the draw), and the first layers are
# shaken most. With $\gamma = 0$ it is handed on unchanged within a stage (the flat pieces) and grows a little where
# attention shrinks the map and in the stem, which have no residual path. Only their weights and the head's get a
# gradient in the first step; the scales $\gamma$ get one, too, and open the branches.
#
# ## Is it right? Two forward passes for all parameters
#
# Take a random direction $u$ in the space of all parameters $\theta$ (here: four, one after another), and compare
#
# $$ \langle \nabla L, u \rangle \qquad\text{with}\qquad \frac{L(\theta + h u) - L(\theta - h u)}{2h}. $$
#
# An error in any entry of the gradient changes the left side. The right side has two errors of its own: it is a
# *finite* difference, off by about $h^2$ times a third derivative; and the loss is rounded to a relative
# $\varepsilon$, so that the difference of two nearly equal numbers, divided by a small $h$, is off by about
# $\varepsilon / h$. Numbers of 64 bits have $\varepsilon \approx 10^{-16}$, those of 32 bits $10^{-7}$.
#
# **Prediction.** Which $h$ makes the sum $h^2 + \varepsilon / h$ smallest in either precision, and how small is it
# then? And what about the kinks of hardswish, where there is no third derivative?
#
# To see the last, a twin of the network takes part that has swish in place of hardswish ([notebook
# 6](06_mlp_residual.ipynb)), which is smooth. And all of them are moved to a random point first, where no $\gamma$ is
# zero: otherwise half of the gradient would be zero, and zeros are easily right.

# %%
model.flat_data += 0.05 * rng.normal(size=model.flat_data.size)
theta = model.flat_data.copy()
directions = 0.01 * rng.normal(size=(4, theta.size))  # parameters are of the order of 0.1
smooth_config = replace(model.config, activation="silu", attention_activation="silu")  # SiLU is another name of swish
networks = {
    "32 bits": levit_ref.create_model("levit_1m_32px", num_classes=10, dtype=np.float32),
    "64 bits": model,
    "64 bits, smooth": LeViT(smooth_config, num_classes=10, image_size=32, dtype=np.float64),
}


def loss_at(network, parameters):
    network.flat_data[:] = parameters
    return float(ops.cross_entropy_forward(network(images), labels)[0])


# %%
steps, errors, slopes = 10.0 ** -np.arange(10), {}, {}
for label, network in networks.items():
    moved = [[loss_at(network, theta + h * u) - loss_at(network, theta - h * u) for u in directions] for h in steps]
    network.flat_data[:] = theta
    network.zero_grad()
    network.backward(loss_and_start(network(images))[1])
    slopes[label] = directions @ network.flat_grad  # (4,)
    off = np.array(moved) / (2 * steps[:, None]) - slopes[label]  # (steps, 4)
    errors[label] = np.linalg.norm(off, axis=1) / np.linalg.norm(slopes[label])
    best = errors[label].argmin()
    print(f"{label:16} smallest relative error {errors[label][best]:.0e} with h = {steps[best]:.0e}")

# %%
figure, ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")
for (label, error), colour, mark in zip(errors.items(), (ORANGE, BLUE, "#009E73"), ("o-", "s-", "^-"), strict=True):
    ax.loglog(steps, error, mark, color=colour, label=label)
smooth = errors["64 bits, smooth"]
ax.loglog(steps[:6], smooth[3] * (steps[:6] / steps[3]) ** 2, "--", color="#999999", label=r"$h^2$")
ax.loglog(steps[5:], 1e-15 / steps[5:], ":", color="#555555", label=r"$10^{-15} / h$")
ax.set(xlabel="step h", ylabel="relative error", title="Finite differences against a million derivatives")
ax.set_ylim(1e-11, 1e4)
ax.legend(fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# The smooth twin follows both laws. Its best step is near $\varepsilon^{1/3}$, $10^{-5}$ in 64 bits; in 32 bits it is
# $10^{-3}$. The errors there are larger than $\varepsilon^{2/3}$, since the rounding of many layers adds up. With
# hardswish the error does not fall as $h^2$: hundreds of thousands of values pass a hardswish, and those that cross a
# kink between $-h$ and $h$ add an error each. Below some step none does any more, and the error drops.
#
# So the check is made in 64 bits and with a small step. What is left there, after a million derivatives were added up,
# leaves little room for a wrong formula; in 32 bits a third of a percent would be room for many.
#
# A few single entries, from all over the network, and a pixel:


# %%
def both(array, at, formula, h=1e-5):
    """The formula, and a finite difference by moving one entry of an array in place."""
    before, moved = array[at], []
    for step in (h, -h):
        array[at] = before + step
        moved.append(loss_and_start(model(images))[0])
    array[at] = before
    return formula, (moved[0] - moved[1]) / (2 * h)


# %%
entries = {
    "stem.conv1.linear.weight": (3, 1, 0, 2),
    "stages.0.blocks.0.attn.attention_biases": (2, 9),
    "stages.1.downsample.attn_downsample.kv.linear.weight": (40, 7),
    "stages.2.blocks.1.mlp.ln2.bn.weight": (7,),  # a gamma
    "head.linear.bias": (3,),
}
parameters = dict(model.named_parameters())
model.zero_grad()
dimages = model.backward(loss_and_start(model(images))[1])
for name, at in entries.items():
    print(f"{name:53} {{:+.9f}} {{:+.9f}}".format(*both(parameters[name].data, at, parameters[name].grad[at])))
pixel = (5, 1, 16, 20)  # picture 5, green, row 16, column 20
by_backward, by_difference = both(images, pixel, dimages[pixel])
print(f"{'the pixel':53} {by_backward:+.9f} {by_difference:+.9f}")

# %% [markdown]
# ## Whose gradient is it? Batch statistics
#
# In training mode each normalisation takes mean and variance from the batch, all its pictures together.
#
# **Prediction.** Take the logit of picture 0 alone, and differentiate it with respect to the pixels of picture 1. What
# comes out in training mode? In evaluation mode, where the statistics are constants?

# %%
coupling = {}
for mode in (True, False):
    model.train(mode)
    rows = []
    for i in range(8):
        start = np.zeros((8, 10))
        start[i, labels[i]] = 1  # the right logit of picture i, and nothing else
        _, g = levit_ref.run_with_gradients(model, images, "images", of=lambda logits, start=start: start)
        rows.append(np.linalg.norm(g["images"].reshape(8, -1), axis=1))
    coupling[mode] = np.array(rows)  # (8, 8): logit of picture i, pixels of picture j
    others = coupling[mode][~np.eye(8, dtype=bool)]
    print(f"training mode {mode!s:5}: own {np.diag(coupling[mode]).mean():.4f}, others on average {others.mean():.4g}")

# %%
model.train()
logits = []
for step in (1e-5, -1e-5):
    moved = images.copy()
    moved[1, 1, 16, 20] += step
    logits.append(model(moved)[0, labels[0]])
start = np.zeros((8, 10))
start[0, labels[0]] = 1
_, g = levit_ref.run_with_gradients(model, images, "images", of=lambda logits: start)
print(f"a pixel of picture 1 moves a logit of picture 0 by {(logits[0] - logits[1]) / 2e-5:+.9f} (finite difference)")
print(f"                                                 {g['images'][1, 1, 16, 20]:+.9f} (gradient)")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
for ax, (mode, title) in zip(axes, ((True, "training mode"), (False, "evaluation mode")), strict=True):
    image = ax.imshow(coupling[mode], cmap="viridis", vmin=0)
    ax.set(xlabel="pixels of picture", ylabel="logit of picture", title=title)
    figure.colorbar(image, ax=ax, label="norm of the gradient", shrink=0.85)
plt.show()

# %% [markdown]
# In training a picture's logit depends on its neighbours in the batch: each has a share of one eighth in every mean
# and variance. Picture 5, to whose pixels the network is most sensitive, disturbs all others (the bright column). That
# is no error: the loss of the batch is what is minimised, and its gradient is right. But "the gradient of this
# picture" only has a meaning in evaluation mode.
#
# ## An application: what did the network look at?
#
# The gradient of a logit with respect to the pixels says which pixels would change the decision. Drawn as a picture it
# is called a *saliency map* (Simonyan et al. 2014). To see whether it tells the truth we need a task where the truth
# is known: into each picture of `shapes` we put a square of 8 x 8 pixels with stripes. They lie (class 1) or stand
# (class 0); the rest means nothing.


# %%
def stamped(split, count):
    """Images, classes, where the square is, and the pictures as bytes."""
    pictures, classes = make_shapes(split, count).images.copy(), rng.integers(0, 2, count)
    where = np.zeros((count, 32, 32), bool)
    stripes = np.repeat([0, 255, 0, 255], 2)
    for picture, lies, mask in zip(pictures, classes, where, strict=True):
        row, column = rng.integers(0, 25, 2)
        picture[:, row : row + 8, column : column + 8] = stripes[:, None] if lies else stripes
        mask[row : row + 8, column : column + 8] = True
    return ((pictures / 255 - 0.5) / 0.25).astype(np.float32), classes, where, pictures


# %%
rng = np.random.default_rng(1)
x, classes, _, _ = stamped("train", 2000)
seen, truth, square, pictures = stamped("test", 200)
network = levit_ref.create_model("levit_250k_32px", num_classes=2)
untrained = inspection.input_gradient(network, seen).saliency  # (200, 32, 32)
optimizer = AdamW(network.flat_data, network.flat_grad, np.zeros(network.flat_data.size, bool))
for step in range(60):
    batch = rng.choice(2000, 32, replace=False)
    network.zero_grad()
    _, saved = ops.cross_entropy_forward(network(x[batch]), classes[batch])
    network.backward(ops.cross_entropy_backward(1.0, saved))
    optimizer.step(2e-3 * (1 - step / 60))
network.eval()  # from here on
print(f"right for {(network(seen).argmax(axis=1) == truth).mean():.1%} of new pictures")

# %% [markdown]
# It has learned the task ([notebook 9](09_training.ipynb) explains how).
#
# **Prediction.** The square has 64 of 1024 pixels, 6 %. What share of the saliency lies inside it: before training,
# and after?

# %%
saliency = inspection.input_gradient(network, seen).saliency  # largest absolute gradient of the three colours
for label, values in (("untrained", untrained), ("trained", saliency)):
    shares = [(values * square)[truth == k].sum() / values[truth == k].sum() for k in (0, 1)]
    brightest = np.mean([mask.ravel()[v.argmax()] for v, mask in zip(values, square, strict=True)])
    print(f"{label:9}: inside the square {shares[0]:.0%} where stripes stand, {shares[1]:.0%} where they lie;", end=" ")
    print(f"the brightest pixel in {brightest:.0%} of the pictures")

# %%
figure, axes = plt.subplots(2, 5, figsize=(10, 4.2), layout="constrained")
for i, (above, below) in enumerate(axes.T):
    above.imshow(pictures[i].transpose(1, 2, 0))
    image = below.imshow(saliency[i] / saliency[i].max(), cmap="viridis", vmin=0)
    row, column = np.argwhere(square[i])[0]
    below.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 8, 8, fill=False, ec=ORANGE, lw=1.5))
    above.set_title("lying" if truth[i] else "standing", fontsize=10)
    for ax in (above, below):
        ax.set(xticks=[0, 31], yticks=[0, 31])
axes[0, 0].set_ylabel("row (pixels)")
axes[1, 0].set(ylabel="row (pixels)", xlabel="column (pixels)")
figure.colorbar(image, ax=axes, label="saliency, relative to its largest", shrink=0.8)
plt.show()

# %% [markdown]
# The frame is where the square is. Two warnings come with these numbers.
#
# The brightest pixel lies in the square in half of the pictures *before* any training: strong contrasts draw gradient
# with any weights. A saliency map that looks convincing proves nothing by itself; the untrained network is the least
# it has to be compared with.
#
# And after training the map points at lying stripes, but hardly at standing ones, although the network is right for
# both.
#
# **Prediction.** What could it have learned instead of what standing stripes look like? What will it say to pictures
# without any square?

# %%
bare = ((make_shapes("test", 200).images / 255 - 0.5) / 0.25).astype(np.float32)
for label, some in (("lying", seen[truth == 1]), ("standing", seen[truth == 0]), ("no square", bare)):
    logits = network(some)
    called, lead = (logits[:, 1] > logits[:, 0]).mean(), (logits[:, 1] - logits[:, 0]).mean()
    print(f"{label:9}: called lying {called:4.0%}, the logit of lying leads by {lead:+.1f} on average")

# %% [markdown]
# It looks for lying stripes, and calls everything else standing, as surely as if it had seen them. Where a decision
# rests on something that is absent, there is no pixel to point at. The map had told the truth, once it was taken as a
# question and not as an answer.
#
# A gradient is a promise for small steps only. **Prediction.** Move every pixel by $h$ in the direction of its
# gradient's sign. The logit should rise by $h \sum |\mathrm{gradient}|$. Up to which $h$ does it keep the promise?
# (Pixels lie between -2 and 2.)

# %%
one, cls = seen[truth == 1][:1], truth[truth == 1][:1]
g = inspection.input_gradient(network, one, cls).gradient
before = network(one)[0, cls[0]]
for h in (0.001, 0.01, 0.1, 1.0):
    rise = network(one + np.float32(h) * np.sign(g))[0, cls[0]] - before
    print(f"h = {h:5}: the logit rises by {rise:8.4f}, promised were {h * np.abs(g).sum():8.4f}")

# %% [markdown]
# To a few percent up to 0.1; at 1 it is far off.
#
# **Limitation.** So saliency is a first-order statement about one picture: what would change the logit, not what made
# it. And that a gradient agrees with finite differences says that backward fits forward; it does not say that forward
# is right. For that one needs another implementation: the package's tests compare with PyTorch and with the LeViT of
# transformers.
#
# ## The same number by four routes
#
# The gradient of one pixel: by `model.backward`, by `run_with_gradients`, by a finite difference, and by hand from the
# gradient after the first convolution: output channel $o$ reads the pixel at nine places, each time with another of
# its weights.

# %% tags=["final-check"]
b, colour, row, column = pixel
_, grads = levit_ref.run_with_gradients(model, images, ["images", "stem.conv1.linear"], **start_of)
by_name = grads["images"][pixel]
behind = grads["stem.conv1.linear"][b]  # (32, 32, 32)
weight = parameters["stem.conv1.linear.weight"].data  # (32, 3, 3, 3)
by_hand = 0.0
for o, dy, dx in np.ndindex(32, 3, 3):  # output (row + 1 - dy, column + 1 - dx) read the pixel with weight (dy, dx)
    by_hand += weight[o, colour, dy, dx] * behind[o, row + 1 - dy, column + 1 - dx]
print(by_backward, by_name, by_hand, by_difference)
assert np.allclose([by_name, by_hand], by_backward, rtol=1e-9)
assert np.isclose(by_difference, by_backward, rtol=1e-5)
assert errors["64 bits"].min() < 1e-7

# %% [markdown]
# **Next.** [Training](09_training.ipynb): what an optimiser makes of the gradient, step by step.
#
# ## Exercises
#
# **Exercise 1.** Derive the gradient of the head's bias with pen and paper (the logits are $W z + b$), and compare.
# What is the sum of its ten entries?

# %% tags=["solution"] jupyter={"source_hidden": true}
p = ops.softmax_forward(model(images))[0]  # (8, 10)
by_pen = (p - np.eye(10)[labels]).mean(axis=0)  # the bias is added to every picture's logits, so gradients add up
print("differs by", np.abs(by_pen - parameters["head.linear.bias"].grad).max(), " sum", by_pen.sum())
assert np.allclose(by_pen, parameters["head.linear.bias"].grad)
assert abs(by_pen.sum()) < 1e-12  # the same number for all ten classes changes no probability

# %% [markdown]
# **Exercise 2.** A check is worth something if it can fail. Forget the gradient of one bias table (set it to zero in a
# copy of the gradient). By how much does the check along the first direction fail then, compared with the error that
# it has otherwise?

# %% tags=["solution"] jupyter={"source_hidden": true}
gradient, table = model.flat_grad.copy(), parameters["stages.0.blocks.0.attn.attention_biases"]
table.grad[...] = 0  # a view into model.flat_grad
wrong = abs(directions[0] @ model.flat_grad / slopes["64 bits"][0] - 1)
model.flat_grad[:] = gradient
print(f"relative error {wrong:.1e}, with the right gradient {errors['64 bits'].min():.1e}")
assert wrong > 100 * errors["64 bits"].min()

# %% [markdown]
# **Exercise 3.** Show every picture twice in the batch, with its label twice. What happens to the loss and to the
# gradient of the parameters in training mode? Think of the batch statistics, then compute.

# %% tags=["solution"] jupyter={"source_hidden": true}
model.zero_grad()
loss, saved = ops.cross_entropy_forward(model(np.tile(images, (2, 1, 1, 1))), np.tile(labels, 2))
model.backward(ops.cross_entropy_backward(1.0, saved))
print("loss", loss, "gradient differs by", np.abs(model.flat_grad - gradient).max())
assert np.allclose(model.flat_grad, gradient)  # means and variances are the same, and the loss is a mean
