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
# # 1. LeViT on one page
#
# **Question.** LeViT takes a picture and says which of 1000 things (the classes of the dataset ImageNet) is on it.
# Which parts does it have, what flows between them, and what does each part cost?
#
# At the end you can
# - name the parts of LeViT, and the shape of the numbers between each two of them;
# - count the parameters and the multiply-adds of every part with pen and paper;
# - say where the network keeps its weights, where it does its work, and why these are different places;
# - rebuild the table of the paper (Graham et al. 2021), and find the one number in it that does not come out.
#
# You need linear algebra and a little NumPy. What a transformer is, these notebooks tell.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cbook import get_sample_data

import levit_ref
from levit_ref.data import normalise
from levit_ref.evaluation.published import PUBLISHED
from levit_ref.inspection import component_costs, cost_ledger, count_macs, count_parameters
from levit_ref.preprocessing import Preprocessing, read_picture

BLUE, ORANGE = "#0072B2", "#D55E00"

# %%
picture = get_sample_data("grace_hopper.jpg", asfileobj=False)  # comes with matplotlib
photograph = read_picture(picture, Preprocessing((224, 224)))  # its middle, (3, 224, 224), bytes
model = levit_ref.create_model("levit_128s")  # the smallest of the paper's five, with fresh random weights
model.eval()
print(f"a photograph of {photograph.shape} bytes, and a network of {model.flat_data.size:,} parameters")

# %% [markdown]
# ## From a picture to a class
#
# The numbers of a picture stand on a grid, and each place of the grid has several of them: the *channels*. At first the
# grid is 224 x 224 pixels with 3 channels, red, green and blue. On the way the grid shrinks and the channels become
# more.
#
# 1. **The stem** makes of the pixels a coarse grid of 14 x 14 places with 128 channels. From here on a place is called
#    a *token*: the picture is now a matrix with 196 rows, one for each token, and 128 columns.
# 2. **Attention** lets tokens exchange what they know: each one receives a weighted mean over all of them. The weights
#    come from the tokens themselves and from how far apart they are. Several such means are taken side by side; each is
#    the work of a *head*.
# 3. **The MLP** (multi-layer perceptron) works on each token alone: a matrix product to twice the channels, a
#    function of every number that is not linear (an *activation*), and a matrix product back.
# 4. **Shrinking attention** is attention in which only every second token of each row and of each column asks. What
#    it makes is a smaller grid with more channels.
# 5. **The heads of the network** are one matrix product each, from the mean over all tokens to a score for each class,
#    the *logit*. There are two: in training one learns from the true classes, the other from what a larger network, the
#    teacher, says; the answer is their mean. (They share no more than the name with the heads of attention.)
#
# Attention with an MLP after it is a *block*. Each of the two adds what it makes to its input; the sum that grows in
# this way from block to block is the *residual stream*. Blocks on the same grid are a *stage*; LeViT has three, with
# shrinking attention between them.
#
# **Prediction.** The first stage has 14 x 14 tokens, the second 7 x 7. How many does the third one have? (Every second
# one of seven, starting with the first.)

# %%
mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the colours in ImageNet, which LeViT is trained on
images = normalise(photograph[None], mean, std)  # (1, 3, 224, 224): a batch of one picture
logits, acts = levit_ref.run_with_activations(model, images, names="*")
places = ["images", "stem.act1", "stem.act2", "stem.act3", "stem.tokens"]
places += [f"stages.{i}.blocks.{n - 1}.resid_post" for i, n in enumerate(model.config.depths)]
for name in [*places, "pooled", "logits"]:
    print(f"{name:28} {acts[name].shape!s:19} {acts[name].size:8,} numbers")
print(f"\n{len(acts)} values have a name; every second of seven: {len(range(0, 7, 2))}")

# %% [markdown]
# 4 x 4 = 16. The first axis is the batch: several pictures can go through at once, here one. The names are those of the
# code, which counts stages and blocks from 0: `stem.act1` is what the stem's first convolution hands on, `resid_post`
# the residual stream after a block, `pooled` the mean over the tokens. The weights are random, so the logits mean
# nothing yet; but shapes and costs do not depend on what the weights are.
#
# Tokens keep their place on the picture, and every stage keeps every second one of each axis. On the left, where they
# stand; on the right, how many numbers there are:

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", width_ratios=(1, 1.1))
left.imshow(photograph.mean(axis=0), cmap="gray", alpha=0.5)
for i, (size, colour) in enumerate(((6, BLUE), (40, ORANGE), (150, "black"))):
    grid = model.stages[i].grid
    rows, columns = np.array([grid.centre(token) for token in np.ndindex(grid.rows, grid.columns)]).T
    label = f"stage {i}: {grid.rows} x {grid.columns} tokens"
    left.scatter(columns, rows, s=size, c=colour if i == 0 else "none", ec=colour, clip_on=False, label=label, zorder=3)
left.set(xlabel="pixel column", ylabel="pixel row")
left.set_title("Where the tokens stand", pad=12)
left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8, ncols=3, columnspacing=0.6, handletextpad=0.1)
right.barh(range(len(places)), [acts[name].size for name in places], color=BLUE)
right.set_yticks(range(len(places)), [name.removesuffix(".resid_post") for name in places], fontsize=8)
right.set(xlabel="numbers", title="From pixels to the last stage", ylim=(len(places) - 0.4, -0.6))
plt.show()

# %% [markdown]
# ## Parameters
#
# A linear layer multiplies a token $x$, a row of $C_{in}$ numbers, by a matrix $W$ of $C_{out} \times C_{in}$ weights:
# $y = x W^T$. LeViT puts a *batch normalisation* after it, which scales and shifts each of the $C_{out}$ results
# ([notebook 3](03_batch_norm.ipynb)). So the two have $C_{in} C_{out} + 2\, C_{out}$ parameters.
#
# In attention ([notebook 4](04_attention.ipynb)) one such layer makes three vectors for each token and each of $h$
# heads: a query and a key of $D$ channels, and a value of $E$ channels. A second one brings the $h\,E$ channels that
# come out back to $C$. And each head has a table with one number for each *offset*, so many rows and so many columns
# apart: $N$ numbers for $N$ tokens.
#
# **Prediction.** The blocks of the first stage have $C = 128$, $h = 4$, $D = 16$, $E = 32$, $N = 196$. Which half has
# more parameters, attention or the MLP? Estimate both.


# %%
def linear(N, C_in, C_out):
    """Parameters and multiply-adds of a linear layer for N tokens, with its normalisation."""
    return np.array([C_in * C_out + 2 * C_out, N * C_in * C_out])


C, h, D, E, N = 128, 4, 16, 32, 196
attention_parameters = linear(N, C, h * (D + D + E))[0] + linear(N, h * E, C)[0] + h * N
mlp_parameters = linear(N, C, 2 * C)[0] + linear(N, 2 * C, C)[0]
block = model.stages[0].blocks[0]
for name, by_hand, part in ("attention", attention_parameters, block.attn), ("MLP", mlp_parameters, block.mlp):
    print(f"{name:10} by hand {by_hand:,}, in memory {count_parameters(part):,}")

# %% [markdown]
# ## Multiply-adds
#
# The work of a network is counted in multiply-adds: one product, added to a sum. A matrix product of $N \times C_{in}$
# by $C_{in} \times C_{out}$ takes $N\, C_{in}\, C_{out}$ of them. Hence a rule that explains most of what follows: **a
# weight works once for each token.** 128 x 256 weights on 196 tokens are 6.4 million multiply-adds; on 16 tokens half a
# million.
#
# Two products in attention have no weights, since both factors are tokens: $N_q$ queries times $N$ keys take $N_q N D$,
# and the weighted means of the values $N_q N E$, for each head. The paper's count adds one for each of the $N_q N$
# weights, and leaves out normalisations, biases and activations, which are few.
#
# Here is attention for both kinds: the usual one has $N_q = N$ and $C_{out} = C$.


# %%
def attention(N, N_q, C, C_out, h, D, E):
    """Parameters and multiply-adds: keys and values of N tokens, queries of N_q of them, C_out channels at the end."""
    products = linear(N, C, h * (D + E)) + linear(N_q, C, h * D) + linear(N_q, h * E, C_out)
    return products + np.array([h * N, h * N_q * N * (D + E + 1)])


def mlp(N, C):
    return linear(N, C, 2 * C) + linear(N, 2 * C, C)


costs = {cost.name: cost for cost in component_costs(model)}  # how the package counts
print("attention", attention(N, N, C, C, h, D, E), "MLP", mlp(N, C))
for name in ("stages.0.blocks.0.attn", "stages.0.blocks.0.mlp"):
    print(f"{name:23} {costs[name].parameters:,} parameters, {costs[name].macs:,} multiply-adds")

# %% [markdown]
# Fewer parameters in attention, and more work: 7.5 of its 17.2 million multiply-adds are the products between tokens,
# which need no weights.
#
# **Prediction.** The stem has 1.3 % of the parameters of the network. Is its share of the multiply-adds smaller, about
# the same, or larger? And that of the last stage, which has 64 % of the parameters?

# %%
parts = {"stem": [0, 0], "stages.0": [0, 0], "stages.1": [0, 0], "stages.2": [0, 0], "head": [0, 0]}
for name, cost in costs.items():
    part = next(part for part in parts if name.startswith(part))  # head_dist counts as a head
    parts[part][0] += cost.parameters
    parts[part][1] += cost.macs
P, M = np.sum(list(parts.values()), axis=0)
print(f"{'':10}{'parameters':>11}       {'multiply-adds':>14}        uses of a parameter")
for part, (p, m) in parts.items():
    print(f"{part:10}{p:11,} {p / P:6.1%}{m:14,} {m / M:6.1%} {m / p:14.1f}")

# %% [markdown]
# And component by component. In names, `downsample` is a shrinking attention with its MLP, `attn` and `mlp` are the two
# halves of a block, and `head_dist` is the second head.

# %%
figure, ax = plt.subplots(figsize=(9, 6.2), layout="constrained")
names = list(costs)
rows = np.arange(len(names))
ax.barh(rows - 0.2, [100 * costs[n].parameters / P for n in names], 0.4, color=ORANGE, label="parameters")
ax.barh(rows + 0.2, [100 * costs[n].macs / M for n in names], 0.4, color=BLUE, label="multiply-adds")
ax.set_yticks(rows, names, fontsize=8)
ax.set(xlabel="percent of the whole network", title="What each component of LeViT-128S costs", ylim=(len(names), -1))
ax.grid(axis="x", alpha=0.4)
ax.legend(loc="lower right", bbox_to_anchor=(1, 0.45))
plt.show()

# %% [markdown]
# A convolution of the stem applies the same few weights at each of its 12,544 to 196 places; a weight of the last stage
# meets 16 tokens. So the work is spread rather evenly over the network while three of four parameters sit in its last
# third. This is what the *pyramid* buys: many channels where there are few tokens. (The paper draws this figure for
# LeViT-256, beside a diagram of the network. The package counts a shrinking attention with the stage that it leads
# into.)
#
# ## The paper's table
#
# All five variants differ in a few numbers only: channels $C$, heads $h$ and blocks of each stage, and $D$. Values have
# $E = 2D$ channels, where attention shrinks $4D$; and it has $C/D$ heads there. The stem's four convolutions halve the
# side of the grid and end with $C/8$, $C/4$, $C/2$, $C$ channels; each of their results is a sum over 3 x 3 places and
# all channels, hence $9\, C_{in}$ products ([notebook 2](02_convolution_stem.ipynb)).


# %%
def stem_and_heads(c):
    """Parameters and multiply-adds outside of the stages."""
    channels, C = [3, *(conv.channels for conv in c.stem)], c.embed_dims[-1]
    convs = zip((112, 56, 28, 14), channels[:-1], channels[1:], strict=True)
    head = np.array([2 * C + 1000 * C + 1000, 1000 * C])  # a normalisation, a product, and a bias for each class
    return sum(linear(side**2, 9 * C_in, C_out) for side, C_in, C_out in convs) + 2 * head


# %%
def count(c):
    """Parameters and multiply-adds of a network."""
    total, C, D = stem_and_heads(c), c.embed_dims, c.key_dim
    for i, N in enumerate((196, 49, 16)):
        total += c.depths[i] * (attention(N, N, C[i], C[i], c.num_heads[i], D, 2 * D) + mlp(N, C[i]))
    for i, (N, N_q) in enumerate(((196, 49), (49, 16))):
        total += attention(N, N_q, C[i], C[i + 1], C[i] // D, D, 4 * D) + mlp(N_q, C[i + 1])
    return total


# %% [markdown]
# **Prediction.** The paper prints parameters to 0.1 million and multiply-adds (it calls them FLOPs) to the million: two
# numbers for each of five variants. How many of the ten come out?

# %%
print(f"{'':11}{'C':>13} {'D':>3} {'heads':>8} {'blocks':>6} {'parameters':>11} paper {'multiply-adds':>14} paper")
misses = []
for name, paper in PUBLISHED.items():
    c = levit_ref.get_config(name)
    p, m = count(c)
    C, h, blocks = ("/".join(map(str, numbers)) for numbers in (c.embed_dims, c.num_heads, c.depths))
    print(f"{name:11}{C:>13} {c.key_dim:3} {h:>8} {blocks:>6} {p:11,} {paper.parameters / 1e6:5.1f}", end="")
    print(f" {m:14,} {paper.macs / 1e6:5.0f}")
    misses += [name] if round(p / 1e6, 1) != paper.parameters / 1e6 else []
    misses += [name] if round(m / 1e6) != paper.macs / 1e6 else []
print("not a rounding of ours:", misses)

# %% [markdown]
# Nine of ten. The paper and the official repository's README print 1120 million for LeViT-256, the code of that
# repository counts 1,128,024,056, as we do. On the command line, `levit-ref summary levit_256` prints all of this.
#
# **Limitation.** Multiply-adds are not time. They leave out everything that only moves numbers: for each number that it
# makes and stores, the first convolution does 27 of them, the second 144. And one large matrix product is faster than
# the many small ones of attention. Measured on one core of the machine that built this page:

# %%
levit_ref.set_num_threads(1)
ledger = cost_ledger(model, batch_size=1, repetitions=50)
for row in ledger.rows[:8]:
    print(f"{row.name:23}{row.macs / 1e6:6.1f} M in {row.microseconds:6.0f} microseconds:", end="")
    print(f"{row.macs / row.microseconds:7,.0f} multiply-adds in one")

# %% [markdown]
# And no count says how well a network answers: the paper's accuracies are those of weights trained on ImageNet, for
# 1000 passes over its 1.3 million pictures.
#
# ## The same number by three routes
#
# The multiply-adds of LeViT-128S: as the package counts them; by our formulas; and from the shapes of what flowed when
# the photograph went through, since each number after a product is a sum with so many terms.

# %%
weights = dict(model.named_parameters())
by_shapes = 0
for name, value in acts.items():
    if name.endswith(".linear"):  # after a convolution or a linear layer
        by_shapes += value.size * weights[f"{name}.weight"].data[0].size  # the weights that make one output
    elif name.endswith(".scores"):  # a query times a key
        by_shapes += value.size * model.config.key_dim
    elif name.endswith(".probs"):  # the weights of the means, counted once each
        by_shapes += value.size
        N_k = value.shape[-1]
    elif name.endswith(".context"):  # the means over all keys
        by_shapes += value.size * N_k

# %% tags=["final-check"]
by_package = count_macs(model)
parameters, by_formulas = count(model.config)
print(f"{by_package:,} {by_formulas:,} {by_shapes:,}")
assert by_package == by_formulas == by_shapes
assert round(by_package / 1e6) == 305  # the paper's
assert parameters == model.flat_data.size == sum(cost.parameters for cost in costs.values())
assert misses == ["levit_256"]

# %% [markdown]
# **Next.** [The convolution stem](02_convolution_stem.ipynb): how pixels become the first tokens.
#
# ## Exercises
#
# **Exercise 1.** How many parameters does LeViT-128S have for the 10 classes of CIFAR-10 instead of 1000? By how many
# percent do the multiply-adds change?

# %% tags=["solution"] jupyter={"source_hidden": true}
ten = levit_ref.create_model("levit_128s", num_classes=10)
fewer = 2 * 990 * (384 + 1)  # two heads, 990 classes: a row of 384 weights and a bias for each
print(f"{model.flat_data.size - fewer:,} parameters; {1 - count_macs(ten) / M:.2%} fewer multiply-adds")
assert ten.flat_data.size == model.flat_data.size - fewer

# %% [markdown]
# **Exercise 2.** Take pictures with twice the rows and columns, 448 x 448. By which factors do these grow: the work of
# the stem, the products between tokens in the first stage, the MLPs of the last stage? Does the number of parameters
# change?

# %% tags=["solution"] jupyter={"source_hidden": true}
large = levit_ref.create_model("levit_128s", image_size=448)
large_costs = {cost.name: cost for cost in component_costs(large)}
for name in ("stem.conv1", "stages.2.blocks.0.mlp"):
    print(name, large_costs[name].macs / costs[name].macs)  # 49 tokens instead of 16 in the last stage: 28 -> 14 -> 7
between_tokens = [attention(n, n, 128, 128, 4, 16, 32)[1] - n * 128 * (256 + 128) for n in (784, 196)]
print("between tokens", between_tokens[0] / between_tokens[1])
print("parameters", large.flat_data.size - model.flat_data.size, "more: the tables of offsets")
assert large_costs["stem.conv1"].macs == 4 * costs["stem.conv1"].macs and between_tokens[0] == 16 * between_tokens[1]

# %% [markdown]
# **Exercise 3.** What would the four blocks of the last stage cost if they worked on 196 tokens instead of 16? Compare
# it with the whole network.

# %% tags=["solution"] jupyter={"source_hidden": true}
small, all_tokens = (4 * (attention(n, n, 384, 384, 8, 16, 32) + mlp(n, 384)) for n in (16, 196))
print(f"{small[1]:,} -> {all_tokens[1]:,} multiply-adds, {all_tokens[1] / M:.1f} times the whole network")
print(f"{all_tokens[0] - small[0]:,} more parameters, all in the tables of offsets")
assert all_tokens[0] - small[0] == 4 * 8 * (196 - 16) and all_tokens[1] > 2 * M
