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
# # 7. The whole network: one photograph
#
# **Question.** Notebooks 2 to 6 built the parts. Here is a trained network made of them, and one photograph. What
# becomes of its pixels, step by step, until ten numbers are left? And which of the steps made the decision?
#
# At the end you can
# - record any value between the pixels and the answer by its name, and lay it out as a picture;
# - follow the residual stream through the blocks, and say what each of them adds;
# - split a logit exactly into the shares of tokens and of blocks, and say what such a share does not mean;
# - switch a part off, or put values of another picture in its place, and read what that does to the answer;
# - say what the probabilities of a classifier mean for a picture that shows none of its classes.

# %%
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.cbook import get_sample_data

import levit_ref
from levit_ref import inspection, ops
from levit_ref.preprocessing import read_picture

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"

# %%
name = "levit_1m_32px-cifar10"
checkpoint = levit_ref.load_checkpoint(name)  # comes with the package
model, about = checkpoint.model, checkpoint.about  # the network, in evaluation mode, and what is known about it
file = get_sample_data("grace_hopper.jpg", asfileobj=False)  # comes with matplotlib
images = levit_ref.prepare_images(file, about)  # what the network takes: (1, 3, 32, 32), normalised
picture = read_picture(file, about.preprocessing)  # the same before normalisation, for our eyes: (3, 32, 32), bytes
print(f"{model.flat_data.size:,} parameters, trained on {about.dataset}", end="; ")
print(f"right for {about.accuracy:.1%} of its test pictures")
print("classes:", *about.class_names)

# %% [markdown]
# CIFAR-10 is a set of 60,000 pictures of 32 x 32 pixels, each of which shows a thing of one of ten classes; 10,000 of
# them are kept for the test. How such a network is trained is the matter of [notebook 9](09_training.ipynb). Here its
# weights are given.
#
# The photograph is the portrait of Rear Admiral Grace Hopper, a pioneer of the compiler. A person is none of the ten
# classes. We show it all the same, and come back to what that means.
#
# ## The picture as numbers
#
# `prepare_images` scales a picture until it just covers 32 x 32 pixels and cuts out the middle. Then, for each of the
# colours red, green and blue, it subtracts the mean of that colour in the training pictures and divides by its
# standard deviation.
#
# **Prediction.** The file has 600 x 512 pixels. How many of its numbers are left, one of ten, of a hundred, of a
# thousand? And which values can a normalised red have, if its mean is 0.49 and its standard deviation 0.25 on a scale
# from 0 to 1?

# %%
photograph = plt.imread(file)  # (600, 512, 3), bytes
how = about.preprocessing
mean, std = (np.array(values)[:, None, None] for values in (how.mean, how.std))  # (3, 1, 1)
print(f"{photograph.size:,} numbers in the file, {images.size:,} for the network", end=": ")
print(f"1 of {photograph.size / images.size:.0f}")
print("normalised by hand, differs by", np.abs((picture / 255 - mean) / std - images[0]).max())
print(f"red can go from {(0 - mean[0, 0, 0]) / std[0, 0, 0]:.2f} to {(1 - mean[0, 0, 0]) / std[0, 0, 0]:.2f}", end=", ")
print(f"here from {images[0, 0].min():.2f} to {images[0, 0].max():.2f}")

# %%
figure, axes = plt.subplots(1, 5, figsize=(10, 2.5), layout="constrained")
axes[0].imshow(photograph)
axes[1].imshow(picture.transpose(1, 2, 0))
for ax, values in zip(axes[2:], images[0], strict=True):
    drawn = ax.imshow(values, cmap="gray", vmin=-2.2, vmax=2.2)
for ax, title in zip(axes, ("the file", "32 x 32", "red", "green", "blue"), strict=True):
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("column")
axes[0].set_ylabel("row")
figure.colorbar(drawn, ax=axes, label="normalised value", shrink=0.9)
plt.show()

# %% [markdown]
# (The differences that are printed here and below are those of rounding: the network computes with 32-bit numbers,
# which have seven digits.)
#
# ## Every value has a name
#
# The network is a chain of steps, and each result has a name. `activation_specs` lists the names in the order of the
# steps; `run_with_activations` runs the network and keeps what it is asked for. Asked for `"*"`, it keeps everything.
#
# **Prediction.** The network makes 10 numbers of 3072. How many does it make on the way, fewer than 3072, about ten
# times, or more than a hundred times as many?

# %%
specs = model.activation_specs()
logits, acts = levit_ref.run_with_activations(model, images, "*")
numbers = sum(value.size for value in acts.values())
print(f"{len(specs)} names, {numbers:,} numbers: {numbers / images.size:.0f} times the picture")
print(f"{acts.nbytes:,} bytes recorded, {sum(spec.nbytes for spec in specs):,} announced")
print("recording changes nothing:", np.array_equal(logits, model(images)))
print(f"\n{'stages.0.blocks.0.':22}{'axes':18} shape")
for spec in specs:
    if spec.name.startswith("stages.0.blocks.0."):
        print(f"{spec.name.removeprefix('stages.0.blocks.0.'):22}{' '.join(spec.axes):18} {spec.shape}")

# %% [markdown]
# That is one of the six blocks, and everything in it has been met before: `qkv` makes queries, keys and values
# ([notebook 4](04_attention.ipynb)), `proj` brings what the heads found back to the stream; `.linear` is the value
# after a matrix product, `.bn` after the batch normalisation that follows it. `attn` and `mlp` are what the two
# halves of the block add. Axes: `B` pictures, `N` tokens, `C` channels; `D` key channels and `E` value channels of a
# head.
#
# To keep only some values, give their names; `*` in a name stands for anything. And `stop_after` names the last value
# that is needed, so that the rest is not computed:

# %%
nothing, some = levit_ref.run_with_activations(model, images, ["stem.act*", "stem.tokens"], stop_after="stem.tokens")
for name, value in some.items():
    print(f"{name:12} {value.shape!s:17} same as before: {np.array_equal(value, acts[name])}")
print("logits:", nothing)

# %% [markdown]
# ## The stem: maps of the picture
#
# For small pictures the stem has three convolutions ([notebook 2](02_convolution_stem.ipynb)); the first one keeps 32
# x 32 places, each of the others halves rows and columns. One number of the first is a sum of 27 products. A
# normalisation and hardswish follow ([notebook 6](06_mlp_residual.ipynb)); after the third convolution, the
# normalisation only.
#
# **Prediction.** What is the smallest number that can come out of hardswish, whatever the picture and the weights?

# %%
weight = model.stem.conv1.linear.weight.data  # (32, 3, 3, 3): output, input, row, column
window = images[0, :, 11:14, 15:18]  # the pixels around row 12, column 16
print("sum of 27 products", (weight[5] * window).sum(), " recorded", acts["stem.conv1.linear"][0, 5, 12, 16])
smallest = min(acts["stem.act1"].min(), acts["stem.act2"].min())
print(f"after hardswish, the smallest here is {smallest:.6f}, the smallest possible -3/8 = {-3 / 8}")

# %% [markdown]
# `as_grid` lays a value out as a map with the channels last, whether it is a picture or a row of tokens. Of each map
# of the stem, here are the five channels that vary most over this photograph; each is drawn from its smallest value
# (dark) to its largest (bright).

# %%
figure, axes = plt.subplots(3, 5, figsize=(9, 5.6), layout="constrained")
for row, name in zip(axes, ("stem.act1", "stem.act2", "stem.tokens"), strict=True):
    grid = acts.as_grid(name)[0]  # (H, W, C)
    for ax, channel in zip(row, np.argsort(grid.std(axis=(0, 1)))[::-1][:5], strict=True):
        ax.imshow(grid[..., channel], cmap="viridis")
        ax.set_title(f"channel {channel}: {grid[..., channel].min():.1f} to {grid[..., channel].max():.1f}", fontsize=8)
        ax.set_xlabel("column", fontsize=8)
    row[0].set_ylabel(f"{name}\nrow")
plt.show()
print("token 28 is row 3, column 4:", np.array_equal(acts.as_grid("stem.tokens")[0, 3, 4], acts["stem.tokens"][0, 28]))

# %% [markdown]
# The maps of the first row are as fine as the picture; each of their numbers has seen 3 x 3 pixels, enough for an edge
# or a colour. In the last row there are 64 places, the tokens, each with a list of 64 numbers that summarises 9 x 9
# pixels.
#
# ## The residual stream
#
# From here on a matrix of tokens runs through the blocks, and each block adds to it: first what attention found, then
# what the MLP makes of each token ([notebook 6](06_mlp_residual.ipynb)). We follow its size, as the *root mean square*
# of its entries, $\sqrt{\tfrac{1}{NC} \sum_{n,c} x_{nc}^2}$.
#
# **Prediction.** If the stream, the share of attention and the share of the MLP were perpendicular to each other (as
# long lists of numbers that know nothing of each other nearly are), how large would their sum be?

# %%
blocks = [f"stages.{i}.blocks.{j}" for i, depth in enumerate(model.config.depths) for j in range(depth)]


def rms(x):
    return np.sqrt(np.mean(x.astype(np.float64) ** 2))


sizes = []
print("block               before  attention  MLP    after   perpendicular   sum differs by")
for block in blocks:
    parts = [acts[f"{block}.{part}"] for part in ("resid_pre", "attn", "mlp")]
    post = acts[f"{block}.resid_post"]
    sizes.append([rms(x) for x in [*parts, post]])
    print("{}   {:6.3f}   {:6.3f}   {:6.3f}   {:6.3f}".format(block, *sizes[-1]), end="")
    print(f"   {np.hypot.reduce(sizes[-1][:3]):6.3f}          {np.abs(sum(parts) - post).max():.0e}")

# %%
figure, ax = plt.subplots(figsize=(8, 3.2), layout="constrained")
before, attention, mlp, _ = np.array(sizes).T
ax.semilogy(before, "o-", color=GREY, label="stream before the block")
ax.semilogy(attention, "s", color=BLUE, label="what attention adds")
ax.semilogy(mlp, "D", color=ORANGE, label="what the MLP adds")
ax.set_xticks(range(len(blocks)), [block.removeprefix("stages.") for block in blocks])
ax.set(xlabel="block (stage.blocks.number)", ylabel="root mean square", title="The residual stream and what is added")
ax.grid(alpha=0.4)
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# Perpendicular pieces add as the sides of a right triangle do, $\sqrt{a^2 + b^2 + c^2}$: the column `perpendicular`.
# Where the stream after a block is larger than that, the pieces pull the same way, and strengthen what is there;
# where it is smaller, they pull against each other, and something is taken away. (Between two stages stands shrinking
# attention, which begins a new stream: there the size can jump. The scale of the figure is logarithmic.)
#
# ## Where a token looks
#
# We choose the token that stands nearest to the middle of the face, around pixel row 12 and column 17. In a layer of
# the first stage it has 64 keys to look at, in each of 4 heads.
#
# **Prediction.** If a head looked at all tokens alike, how large would each weight be? Look for a head near that in
# the figure, and for one that is far from it.

# %%
layer = "stages.0.blocks.1.attn"
grid = model.stages[0].grid
token = grid.nearest((12, 17))
maps = inspection.attention_maps(acts, layer, token)  # maps.maps: (1, heads, 8, 8)
print(f"token {token} stands on pixel {grid.centre(token)}; all alike would be 1/64 = {1 / 64:.3f}")
inspection.draw_attention_maps(picture, maps)

# %%
t = grid.index(token)
q, k, bias = acts[f"{layer}.q"][0, :, t], acts[f"{layer}.k"][0], acts[f"{layer}.bias"][:, t]
content = np.einsum("hd,hjd->hj", q, k) / np.sqrt(model.config.key_dim)  # (heads, 64)
weights = np.exp(content + bias - (content + bias).max(axis=1, keepdims=True))
weights /= weights.sum(axis=1, keepdims=True)
print("by hand from q, k and the bias, differs by", np.abs(weights.reshape(maps.maps[0].shape) - maps.maps[0]).max())
print("each map sums to", *maps.maps[0].sum(axis=(1, 2)).round(6))
for head in range(len(q)):
    print(f"head {head}: spread of q k / 4 over the keys {content[head].std():.2f}, of the bias {bias[head].std():.2f}")

# %% [markdown]
# A score is the sum of a product of query and key, which depends on the picture, and of a bias, which depends on the
# places only. What is the same for all keys cancels in the softmax; so of the two, the one with the larger spread (the
# standard deviation over the keys) has more to say about where the head looks.
#
# There is a direct test: show another picture, and see whether the head looks elsewhere. This one comes with
# matplotlib, too, a present with a bow. The same token, the same heads:

# %%
present = get_sample_data("Minduka_Present_Blue_Pack.png", asfileobj=False)
others = levit_ref.prepare_images(present, about)
other_picture = read_picture(present, about.preprocessing)
_, other = levit_ref.run_with_activations(model, others, "*")
inspection.draw_attention_maps(other_picture, inspection.attention_maps(other, layer, token))

# %% [markdown]
# As the distance of two rows of weights we take half the sum of their absolute differences: 0 if they are the same, 1
# if they have no key in common.
#
# **Prediction.** What is the distance in a head whose queries are all zero?

# %%
layers = inspection.attention_layers(model)  # by name: six in blocks, two that shrink
for name, at in layers.items():
    distance = np.abs(acts[f"{name}.probs"] - other[f"{name}.probs"]).sum(axis=-1).mean(axis=-1)[0] / 2  # (heads,)
    print(f"{at.label:10} {at.queries.tokens:2} tokens look at {at.keys.tokens:2}:", *(f"{d:.2f}" for d in distance))
name, found = f"{layer}.probs", []
for x in (images, others):
    found.append(levit_ref.run_with_activations(model, x, name, edits=inspection.switch_off(f"{layer}.q"))[1][name])
print("without queries:", np.abs(found[0] - found[1]).max())

# %% [markdown]
# One number for each head, the mean over its queries. A small one: the head looks at the same places in both pictures,
# as one does that goes by position, or that looks at everything alike. A large one: it follows what is in the picture.
# Without queries only the bias is left, and the distance is 0. This last check is our first *edit*: `switch_off` put
# zeros in the place of a value, and the network went on from there.
#
# ## From 64 tokens to 4
#
# Two shrinking attentions ([notebook 5](05_shrinking_attention.ipynb)) make 4 x 4 of 8 x 8 tokens, and 2 x 2 of those,
# with more channels each time.
#
# **Prediction.** The stages have 64, 96 and 144 channels. Does the last one still hold more numbers than the picture?

# %%
stages = [f"stages.{i}.blocks.{depth - 1}.resid_post" for i, depth in enumerate(model.config.depths)]  # last blocks
for name in ["images", "stem.tokens", *stages, "pooled", "logits"]:
    print(f"{name:28} {acts[name].shape!s:16} {acts[name].size:5} numbers")

# %% [markdown]
# Fewer: 576, and after pooling 144. In the first stage there were more than in the picture.
#
# What do the tokens have in common on this way? As a measure take the cosine of the angle between two of them: 1 if
# they point the same way, 0 if they are perpendicular, -1 if they are opposite. The figure compares all tokens with
# the one that stands nearest to the middle of the face (ringed).

# %%
figure, axes = plt.subplots(1, 4, figsize=(9, 2.8), layout="constrained")
for ax, name, stage in zip(axes, ["stem.tokens", *stages], (0, 0, 1, 2), strict=True):
    grid, tokens = model.stages[stage].grid, acts[name][0]
    chosen = grid.nearest((12, 17))
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)  # (N, C)
    cosines = (unit @ unit[grid.index(chosen)]).reshape(grid.rows, grid.columns)
    drawn = ax.imshow(cosines, extent=grid.extent, cmap="PuOr_r", vmin=-1, vmax=1)
    ax.plot(*grid.centre(chosen)[::-1], "o", ms=8, mfc="none", mec="black", mew=2)
    ax.set(title=name.removesuffix(".resid_post"), xlabel="pixel column")
axes[0].set_ylabel("pixel row")
figure.colorbar(drawn, ax=axes, label="cosine", shrink=0.9)
plt.show()

# %% [markdown]
# At first a token knows its own few pixels, and can only be like those that look like it; after a stage it has heard
# of all others. Nothing forces the tokens apart then: all that the head will see of the last ones is their mean. (A
# token is drawn as a square around the pixel on which it stands. The first one of each row and column stands on pixel
# 0 in every stage, so the maps begin above and left of the picture.)
#
# ## Ten numbers
#
# The *pooled* features are the mean over the last tokens. The head of the network (not one of attention's) normalises
# them and multiplies them by a matrix, which gives the logits; the softmax makes probabilities of them:
#
# $$ z = \frac1N \sum_n x_n, \qquad \mathrm{logit}_k = w_k \cdot \Big( \gamma\, \frac{z - \mu}{\sqrt{v + \epsilon}} +
# \beta \Big) + b_k, \qquad p_k = \frac{e^{\mathrm{logit}_k}}{\sum_l e^{\mathrm{logit}_l}}, $$
#
# with the running statistics $\mu$ and $v$ of the normalisation ([notebook 3](03_batch_norm.ipynb)).
#
# **Prediction.** No class of its training was a person. Will its largest probability be near 1/10? Write down a
# number, and the class that you expect.

# %%
norm, linear = model.head.bn, model.head.linear
W, b = linear.weight.data.astype(np.float64), linear.bias.data  # (10, 144), (10,)
last = acts[stages[-1]][0].astype(np.float64)  # (4, 144): the last tokens
z = last.mean(axis=0)
scale = norm.weight.data / np.sqrt(norm.running_var.data + norm.eps)
by_hand = W @ (scale * (z - norm.running_mean.data) + norm.bias.data) + b
p = np.exp(by_hand - by_hand.max()) / np.exp(by_hand - by_hand.max()).sum()
print("pooled differs by", np.abs(z - acts["pooled"][0]).max(), " logits by", np.abs(by_hand - logits[0]).max())
first, second = np.argsort(p)[::-1][:2]  # the two most probable classes, from here on
for rank, k in (("first", first), ("second", second)):
    print(f"{rank}: {about.class_names[k]}, logit {by_hand[k]:.2f}, probability {p[k]:.1%}")

# %%
grey = levit_ref.prepare_images(np.full((32, 32, 3), 128, np.uint8), about)
shown = {"the photograph": images, "the present": others, "nothing but grey": grey}
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", sharey=True, sharex=True)
for ax, (title, x) in zip(axes, shown.items(), strict=True):
    probabilities = ops.softmax_forward(model(x))[0][0]
    ax.barh(about.class_names, probabilities, color=BLUE)
    ax.set(xlabel="probability", title=title)
    print(f"{title:17} sum {probabilities.sum():.6f}, first {about.class_names[probabilities.argmax()]}", end=" ")
    print(f"with {probabilities.max():.1%}")
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# None of the three shows one of the ten things, and each time the probabilities add up to 1. They have to, by their
# formula. There is no eleventh answer, and no picture of the training had "none of these" for its class. So a
# probability here says how the ten compare with each other, and not whether any of them is there. What is left are
# ratios,
#
# $$ \ln \frac{p_k}{p_l} = \mathrm{logit}_k - \mathrm{logit}_l : $$
#
# adding the same number to all logits changes no probability, so only differences of logits mean something. From here
# on we follow one of them, the **lead** of the first class over the second.
#
# ## Where the lead comes from
#
# Everything after the last block is affine in the tokens: a mean, a scaling and shifting, a matrix. (*Affine* is
# linear with a constant.) So the lead splits exactly. With $s = \gamma / \sqrt{v + \epsilon}$ and $u = s \odot (w_1 -
# w_2)$, where 1 and 2 are the first and the second class and $\odot$ multiplies entry by entry,
#
# $$ \mathrm{lead} = c + \sum_n \frac{u \cdot x_n}{N}, \qquad
# c = (w_1 - w_2) \cdot (\beta - s \odot \mu) + b_1 - b_2 . $$
#
# And each last token is a sum itself: what the shrinking attention and its MLP started the stream with, and what four
# half-blocks (an attention or an MLP) added to it. So there is one share for each of 4 tokens and 6 sources.
#
# **Prediction.** Which of these numbers are the same for every picture?

# %%
w = W[first] - W[second]
u, constant = scale * w, w @ (norm.bias.data - scale * norm.running_mean.data) + b[first] - b[second]
sources = ["downsample.resid_mid", "downsample.mlp", "blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp"]


def shares_of(values):
    """Shares of the lead: sources, tokens."""
    return np.array([values[f"stages.2.{source}"][0].astype(np.float64) @ u / len(last) for source in sources])


# %%
shares = shares_of(acts)  # (6, 4)
print("ln of the ratio of the probabilities:", np.log(p[first] / p[second]))
for title, values in (("photograph", acts), ("present", other)):
    tokens = shares_of(values).sum()
    by_model = values["logits"][0, first] - values["logits"][0, second]
    print(f"{title:10} constant {constant:+.3f}, tokens {tokens:+.3f}", end=", ")
    print(f"together {constant + tokens:+.6f}, by the model {by_model:+.6f}")

# %%
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
table = np.block([[shares, shares.sum(axis=1, keepdims=True)], [shares.sum(axis=0), shares.sum()]])  # with sums
bound = np.abs(table).max()
drawn = ax.imshow(table, cmap="PuOr_r", vmin=-bound, vmax=bound, aspect="auto")
for (row, column), value in np.ndenumerate(table):
    ax.text(column, row, f"{value:+.2f}", ha="center", va="center", color="w" if abs(value) > 0.6 * bound else "k")
ax.set_xticks(range(5), ["upper\nleft", "upper\nright", "lower\nleft", "lower\nright", "all\ntokens"])
ax.set_yticks(range(7), [*sources, "all sources"])
ax.set(xlabel="last token", ylabel="what added it (stage 2)")
ax.set_title(f"Lead of {about.class_names[first]} over {about.class_names[second]}")
figure.colorbar(drawn, ax=ax, label="share")
plt.show()

# %% [markdown]
# Only the constant is the same for every picture: the lead that the network would have if its last tokens were all
# zero. Orange shares speak for the first class, purple ones for the second, and the number in the lower right corner
# with the constant is the lead. (So a share is measured against zero, which is a choice: no picture makes tokens of
# zeros. The last section measures against another picture.)
#
# It is tempting to read the columns as quarters of the picture. **Prediction.** Paint the upper left quarter of the
# picture in the mean colour, which is 0 after normalisation. How many of the four tokens change their share?

# %%
painted = images.copy()
painted[:, :, :16, :16] = 0
_, without = levit_ref.run_with_activations(model, painted, "stages.2.*")
change = (shares_of(without) - shares).sum(axis=0)  # (4,)
print("change of the four shares:", *(f"{value:+.3f}" for value in change), f" together {change.sum():+.3f}")

# %% [markdown]
# All of them. Through so many layers of attention every last token has heard of every part of the picture; its place
# on the map says where it asked from, and not what it knows. The split is exact, and it is a split by *tokens and
# blocks*.
#
# ## Taking something away
#
# A share says what a source put into the sum directly. It does not say what would happen without it, since later
# blocks read what earlier ones wrote. That is a question for an edit: put zeros in its place, and run.
#
# **Prediction.** For which of the four half-blocks of the last stage is the change of the lead exactly minus its
# share?


# %%
def lead_with(edits, over=second):
    """The lead of the first class over another one, for the photograph, with the network changed."""
    edited, _ = levit_ref.run_with_activations(model, images, [], edits=edits)
    return float(edited[0, first]) - float(edited[0, over])


lead = float(logits[0, first]) - float(logits[0, second])
print(f"lead {lead:+.3f}\n{'switched off':24} minus its share   change of the lead")
for source, share in zip(sources[2:], shares[2:].sum(axis=1), strict=True):
    effect = lead_with(inspection.switch_off(f"stages.2.{source}")) - lead
    print(f"stages.2.{source:15} {-share:+15.4f}   {effect:+18.4f}")

# %% [markdown]
# Only the last MLP: nothing after it reads what it wrote. For the others the change also holds what the later blocks
# then do differently, which can be larger than the share and have the other sign.
#
# Smaller and other cuts have names as well. `switch_off_head` puts zeros in the place of what a head found,
# `switch_off_block` lets a block add nothing, and `uniform_attention` lets every query look at all keys alike.
#
# **Prediction.** With uniform attention, what does each query receive? And if all heads of a layer are switched off:
# what does attention still add to the stream?

# %%
uniform, heads = inspection.uniform_attention(layer), inspection.switch_off_head(layer, range(4))
_, even = levit_ref.run_with_activations(model, images, [f"{layer}.v", f"{layer}.context"], edits=uniform)
_, empty = levit_ref.run_with_activations(model, images, layer, edits=heads)
means = even[f"{layer}.v"].mean(axis=2, keepdims=True)  # (1, heads, 1, E): over the keys
print("uniform: every query receives the mean of the values, up to", np.abs(even[f"{layer}.context"] - means).max())
bn = model.stages[0].blocks[1].attn.proj.ln.bn
shift = bn.bias.data - bn.weight.data * bn.running_mean.data / np.sqrt(bn.running_var.data + bn.eps)  # (64,)
print("no heads: every token receives the shift of the normalisation, up to", np.abs(empty[layer] - shift).max())
print(f"its root mean square {rms(empty[layer]):.3f}, with heads {rms(acts[layer]):.3f}")

# %% [markdown]
# So "a layer without its heads" is not "a layer that adds nothing": the normalisation after them still shifts. An
# edit is a precise question, and it has to be said which one.
#
# Now all heads, layers and blocks, one at a time. Below the dashed line the second class would be ahead of the first.

# %%
changes = {"one head off": [], "uniform attention": [], "block off": []}  # (place on the axis, change of the lead)
for i, (name, at) in enumerate(layers.items()):
    for h in range(acts[f"{name}.probs"].shape[1]):
        changes["one head off"].append((i - 0.3 + 0.05 * h, lead_with(inspection.switch_off_head(name, h)) - lead))
    changes["uniform attention"].append((i + 0.2, lead_with(inspection.uniform_attention(name)) - lead))
    if not at.shrinks:  # without its attention a shrinking block would have nothing to hand on
        edit = inspection.switch_off_block(name.removesuffix(".attn"))
        changes["block off"].append((i + 0.35, lead_with(edit) - lead))

# %%
figure, ax = plt.subplots(figsize=(9, 3.8), layout="constrained")
for (label, points), colour, mark in zip(changes.items(), (BLUE, ORANGE, GREEN), "oDs", strict=True):
    ax.plot(*np.transpose(points), mark, color=colour, ms=5, label=label)
ax.axhline(0, color=GREY, lw=1)
ax.axhline(-lead, color="black", lw=1, ls="--", label="here the two are equal")
ax.set_xticks(range(len(layers)), [at.label for at in layers.values()])
ax.set(xlabel="attention layer (arrows: it shrinks)", ylabel="change of the lead")
ax.set_title("One part taken away at a time")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# There is no right pattern here; the figure is a list of measurements on one photograph. Two things to look for: parts
# without which hardly anything changes, and changes that exceed the lead. They cannot be added up: two heads off at
# once do something else than the sum of both changes, because what comes after them is not linear.
#
# ## Putting something else in
#
# An edit can also put in values of another picture: *patching*. Take the residual stream of the photograph at some
# place, and overwrite it with that of the present.
#
# **Prediction.** All tokens are overwritten, at the stem, or in the middle, or after the last block. Where does the
# network see the photograph, where the present, where a mixture?

# %%
stops = [spec.name for spec in specs if spec.name.endswith(("stem.tokens", "resid_post"))]
same = []
for stop in stops:
    patched, _ = levit_ref.run_with_activations(model, images, [], edits=inspection.patch(other, stop))
    same.append(np.array_equal(patched, model(others)))
print(f"patched at one of {len(stops)} places: the logits of the present, to the last bit, at {sum(same)} of them")

# %% [markdown]
# The present, everywhere. The stream is the only way through; whoever holds all of it holds everything that follows.
#
# So we patch less: one quarter of the map at a time, 16 of 64 tokens in the first stage, 4 of 16 in the second, 1 of 4
# in the last. And we follow the lead over another class, the *rival*: the one that gains most on the first class when
# the photograph is replaced by the present.
#
# **Prediction.** Add up the effects of the four quarters. At which place is the sum exactly the effect of patching
# all?


# %%
def quarters(name):
    """The numbers of the tokens in each quarter of a map: upper left, upper right, lower left, lower right."""
    height, width = acts.as_grid(name).shape[1:3]
    halves = np.arange(height * width).reshape(2, height // 2, 2, width // 2)
    return halves.transpose(0, 2, 1, 3).reshape(4, -1)


# %%
gain = other["logits"][0] - logits[0]
rival = int((gain - gain[first]).argmax())
start = lead_with({}, rival)
whole = lead_with(inspection.patch(other, "logits"), rival) - start  # what patching everything does
print(f"lead of {about.class_names[first]} over {about.class_names[rival]}: {start:+.3f}", end=", ")
print(f"for the present {start + whole:+.3f}")
effects = []
for stop in stops:
    patches = [inspection.patch(other, stop, (slice(None), tokens)) for tokens in quarters(stop)]
    effects.append([lead_with(patch, rival) - start for patch in patches])
    print(f"{stop:31}", *(f"{e:+7.3f}" for e in effects[-1]), f"  sum {sum(effects[-1]):+7.3f}, all {whole:+7.3f}")

# %%
figure, ax = plt.subplots(figsize=(9, 4), layout="constrained")
styles = {"upper left": "o-", "upper right": "s--", "lower left": "o-", "lower right": "s--"}
for values, (label, style) in zip(np.transpose(effects), styles.items(), strict=True):
    ax.plot(values, style, color=BLUE if "upper" in label else GREEN, lw=1, ms=5, label=label)
ax.plot(np.sum(effects, axis=1), "D-", color=ORANGE, label="sum of the four")
ax.axhline(whole, color="black", ls=":", label="all tokens at once")
ax.axhline(0, color=GREY, lw=1)
short = [stop.removeprefix("stages.").removesuffix(".resid_post").replace("downsample", "down") for stop in stops]
ax.set_xticks(range(len(stops)), short, rotation=20)
ax.set(xlabel="where the stream is patched", ylabel="change of the lead")
ax.set_title("A quarter of the present in the photograph")
ax.legend(fontsize=8, ncols=2)
plt.show()

# %% [markdown]
# Behind the last block. Everything that follows is affine, so the effects there are the differences of two pictures'
# shares. Further left, the distance of the orange curve from the dotted line is what the layers between make of
# quarters that do not belong together.
#
# So which of the steps made the decision? That was three questions. What did a step put into the last sum? Its share
# says it, exactly, and for the last stage only. What if it had been missing? That takes an edit. What if it had seen
# another picture? A patch. For the tokens after the last block all three come from one sum; further in front each has
# its own answer.
#
# **Limitation.** Three things that none of this says. *What the picture shows*: the network has ten answers, and a
# person is none of them; ask it about a person, and it tells which of ten things comes nearest by what it has learned.
# Its accuracy was measured on pictures of the ten things, and says nothing about others. *What matters in general*:
# every number here is about one photograph; whether a head matters takes many pictures with known classes
# (`inspection.importance` does that). *What the untouched network does*: a patched or cut network is in a state that
# never occurred in its training, and may answer with something that has no meaning otherwise.
#
# ## The same number by five routes
#
# The logit of the first class: by the model; from the pooled features with nothing but NumPy; as a sum over the
# tokens; as a sum over tokens and sources; and by running the rest of the network alone, from a recorded stream in its
# middle and with only grey at its entrance.

# %% tags=["final-check"]
by_model = logits[0, first]
from_pooled = W[first] @ (scale * (acts["pooled"][0] - norm.running_mean.data) + norm.bias.data) + b[first]
direction = scale * W[first]
fixed = W[first] @ (norm.bias.data - scale * norm.running_mean.data) + b[first]
over_tokens, over_sources = fixed, fixed
for n in range(len(last)):
    over_tokens += direction @ last[n] / len(last)
    over_sources += sum(direction @ acts[f"stages.2.{source}"][0, n] for source in sources) / len(last)
middle = inspection.patch(acts, "stages.1.blocks.0.resid_mid")
from_middle = levit_ref.run_with_activations(model, grey, [], edits=middle)[0][0, first]
print(by_model, from_pooled, over_tokens, over_sources, from_middle)
assert np.allclose([from_pooled, over_tokens, over_sources, from_middle], by_model, rtol=1e-4, atol=1e-4)
assert np.isclose(constant + shares.sum(), lead, atol=1e-4) and np.isclose(p.sum(), 1)
assert np.isclose(sum(effects[-1]), whole, atol=1e-4) and all(same)

# %% [markdown]
# **Next.** [Backward](08_backward.ipynb): the same way in the other direction, from a loss to every weight and pixel.
# To follow a picture of your own, put its path in place of `file`, or run `levit-ref inspect PICTURE -o FOLDER`, which
# draws many more figures.
#
# ## Exercises
#
# **Exercise 1.** Put in the place of the pooled features the mean of those of the photograph and of the present. Which
# logits come out? And if the mean is taken at the stem's tokens instead? First think of what lies after each place.

# %% tags=["solution"] jupyter={"source_hidden": true}
means = (logits + model(others)) / 2
for name in ("pooled", "stem.tokens"):
    half = {name: inspection.Overwrite((acts[name] + other[name]) / 2)}
    mixed, _ = levit_ref.run_with_activations(model, images, [], edits=half)
    print(f"{name:12} differs from the mean of the logits by {np.abs(mixed - means).max():.1e}")
    if name == "pooled":  # only the head comes after it, which is affine
        assert np.allclose(mixed, means, atol=1e-4)

# %% [markdown]
# **Exercise 2.** Mirror the map of the stem's tokens left to right, with an edit. Are the tokens after the first
# stage mirrored, too? What of attention and MLP could notice it? And where does the network notice?

# %% tags=["solution"] jupyter={"source_hidden": true}
mirror = np.arange(64).reshape(8, 8)[:, ::-1].ravel()
behind = "stages.0.blocks.1.resid_post"
edits = {"stem.tokens": lambda tokens: tokens[:, mirror]}
changed, mirrored = levit_ref.run_with_activations(model, images, [behind], edits=edits)
print("the first stage differs from a mirror image by", np.abs(mirrored[behind] - acts[behind][:, mirror]).max())
print("the logits differ by", np.abs(changed - logits).max())
assert np.allclose(mirrored[behind], acts[behind][:, mirror], atol=1e-4)
# The MLP takes each token alone, and the bias sees |columns apart|: neither can notice. Shrinking attention can: the
# queries stand in columns 0, 2, 4, 6, whose mirror images 7, 5, 3, 1 do not ask.

# %% [markdown]
# **Exercise 3.** What is the gradient of the first class's logit with respect to the tokens after the last block?
# Does it depend on the token, or on the picture? Derive it, then ask `run_with_gradients`.

# %% tags=["solution"] jupyter={"source_hidden": true}
name = stages[-1]
for x in (images, others):
    _, grads = levit_ref.run_with_gradients(model, x, [name], of=int(first))
    print("differs from w s / N by", np.abs(grads[name] - direction / len(last)).max())
    assert np.allclose(grads[name], direction / len(last), rtol=1e-4, atol=1e-6)
# The same for every token and every picture: after the last block the logit is affine in the tokens.
