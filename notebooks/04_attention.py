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
# # 4. Attention with a learned position bias
#
# **Question.** After the stem a picture is a set of tokens, each of which knows only its own patch. How do they exchange what
# they know, and how do they know where they are?
#
# At the end you can
# - compute attention by hand, and say what queries, keys and values are for;
# - build LeViT's table of position biases, and say what it can and cannot express;
# - derive the gradients of all of it, line by line, and check them;
# - read from a trained table which neighbours a head looks at.

# %%
import matplotlib.pyplot as plt
import numpy as np

from levit_ref import ops

rng = np.random.default_rng(0)
H = W = 6  # rows and columns of the map
N, D, E = H * W, 8, 16  # tokens, channels of queries and keys, channels of values
q, k = rng.normal(size=(2, 1, 1, N, D))  # (B, heads, N, D): one picture, one head
v = rng.normal(size=(1, 1, N, E))

# %% [markdown]
# ## Attention is a weighted mean
#
# Each token has three vectors, made from it by a linear layer: a *query* (what it asks for), a *key* (what it offers) and a
# *value* (what it hands out). Token $i$ receives
#
# $$ c_i = \sum_j p_{ij}\, v_j, \qquad p_{ij} = \frac{e^{s_{ij}}}{\sum_l e^{s_{il}}}, \qquad
# s_{ij} = \frac{q_i \cdot k_j}{\sqrt{D}} + b_{ij}. $$
#
# The weights $p_{ij}$ of one query add up to 1. For one query, without the bias $b$:


# %%
def attend_one(i, bias=0.0):
    """What token i receives."""
    scores = k[0, 0] @ q[0, 0, i] / np.sqrt(D) + bias  # (N,)
    weights = np.exp(scores - scores.max())
    return (weights / weights.sum()) @ v[0, 0]


context, saved = ops.attention_forward(q, k, v, scale=D**-0.5)
print("differs from levit_ref.ops by", np.abs(context[0, 0, 7] - attend_one(7)).max())

# %% [markdown]
# The division by $\sqrt D$ keeps the scores in a range where the softmax still has a slope: a product of $D$ independent pairs
# of numbers with variance 1 has variance $D$.
#
# **Prediction.** Shuffle the tokens: put token $\pi(i)$ in place $i$, in queries, keys and values alike. What happens to the
# result?

# %%
shuffle = rng.permutation(N)
shuffled, _ = ops.attention_forward(q[:, :, shuffle], k[:, :, shuffle], v[:, :, shuffle], scale=D**-0.5)
print("equal to the shuffled result:", np.allclose(shuffled, context[:, :, shuffle]))

# %% [markdown]
# It is shuffled in the same way, and nothing else changes. To this formula a picture is a bag of patches: it cannot tell a face
# from a face cut into squares and rearranged. Something has to tell it where the tokens are.
#
# ## A bias for each offset
#
# ViT adds a vector for its position to each token. LeViT adds a number to each *score* instead (paper, section 4.2):
# $b_{ij}$ depends on how many rows and columns lie between the two tokens, whatever the direction,
#
# $$ b_{ij} = t\big[\,|r_i - r_j|,\; |c_i - c_j|\,\big], $$
#
# and the table $t$ is learned, one for each head of each layer.
#
# **Prediction.** The first stage of LeViT has a map of 14 x 14 tokens. How many pairs of tokens are there, and how many numbers
# does a head's table hold?

# %%
for size in (6, 14):
    index = ops.position_bias_index((size, size))  # (N, N): which entry of the table a pair reads
    print(f"{size} x {size} tokens: {index.size} pairs, {index.max() + 1} offsets")

# %% [markdown]
# As many offsets as tokens. The index is a matrix of whole numbers; each row of it, laid out as the map, shows which entry
# of the table one query reads for each key.

# %%
index = ops.position_bias_index((H, W))
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
for ax, query in zip(axes, (0, 14, 35), strict=True):
    entries = index[query].reshape(H, W)
    ax.imshow(entries, cmap="cividis")
    for r, c in np.ndindex(H, W):
        ax.text(c, r, entries[r, c], ha="center", va="center", color="w" if entries[r, c] < 18 else "k", fontsize=8)
    ax.add_patch(plt.Rectangle((query % W - 0.5, query // W - 0.5), 1, 1, fill=False, ec="#D55E00", lw=3))
    ax.set(xlabel="column", ylabel="row", title=f"Entries that token {query} reads")
plt.show()

# %% [markdown]
# The query itself (framed) always reads entry 0. Its left and its right neighbour read the same entry. With a bias, shuffling
# the tokens does change the result:

# %%
table = rng.normal(size=(1, N))  # (heads, offsets)
bias, saved_bias = ops.position_bias_forward(table, index)  # (heads, N, N)
context, saved = ops.attention_forward(q, k, v, bias, scale=D**-0.5)
shuffled, _ = ops.attention_forward(q[:, :, shuffle], k[:, :, shuffle], v[:, :, shuffle], bias, scale=D**-0.5)
print("equal to the shuffled result:", np.allclose(shuffled, context[:, :, shuffle]))

# %% [markdown]
# ## Backward, line by line
#
# Let a loss $L$ have the gradient $\dot c = \partial L/\partial c$, and write $\dot x$ for $\partial L / \partial x$ of anything. With
# matrices of rows, the forward pass is $S = QK^T/\sqrt D + B$, $P = \mathrm{softmax}(S)$, $C = PV$. Backwards:
#
# 1. $C = PV$ is linear in both: $\dot P = \dot C V^T$ and $\dot V = P^T \dot C$.
# 2. The softmax of a row: $\partial p_j / \partial s_l = p_j (\delta_{jl} - p_l)$, so
#    $\dot s_j = p_j \big(\dot p_j - \sum_l \dot p_l\, p_l\big)$.
# 3. The sum: $\dot B = \dot S$.
# 4. The products: $\dot Q = \dot S K / \sqrt D$ and $\dot K = \dot S^T Q / \sqrt D$.
#
# **Prediction.** Each row of $\dot S$ has a sum that can be known without any computation. Which?


# %%
def backward(dC, Q, K, V, P):
    """Gradients of Q, K, V and of the bias, for matrices of one head."""
    dP, dV = dC @ V.T, P.T @ dC
    dS = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    return dS @ K / np.sqrt(D), dS.T @ Q / np.sqrt(D), dV, dS


dcontext = rng.normal(size=context.shape)
mine = backward(dcontext[0, 0], q[0, 0], k[0, 0], v[0, 0], saved.probs[0, 0])
print("sums of the rows of dS, at most", np.abs(mine[3].sum(axis=1)).max())
for name, a, b in zip(("dq", "dk", "dv", "dbias"), mine, ops.attention_backward(dcontext, saved), strict=True):
    print(f"{name:6} differs from levit_ref.ops by {np.abs(a - b).max():.1e}")

# %% [markdown]
# Zero: adding the same number to all scores of a query changes nothing, so the loss cannot depend on it.
#
# The last step goes from the bias of pairs to the table. An entry that many pairs read receives the sum of what flows into all
# of them. Reading is a *gather*, its gradient a *scatter-add*:

# %%
dtable = np.zeros(N)
np.add.at(dtable, index, mine[3])  # dtable[index[i, j]] += dS[i, j]
print("differs from levit_ref.ops by", np.abs(dtable - ops.position_bias_backward(mine[3][None], saved_bias)[0]).max())


def loss(values):
    pairs, _ = ops.position_bias_forward(values, index)
    return (dcontext * ops.attention_forward(q, k, v, pairs, scale=D**-0.5)[0]).sum()


h, entry = 1e-5, 8
change = h * np.eye(N)[[entry]]
finite_difference = (loss(table + change) - loss(table - change)) / (2 * h)
print(f"formula {dtable[entry]:.9f}, finite difference {finite_difference:.9f}")

# %% [markdown]
# ## What a head can learn with nothing but a bias
#
# Give a head no content at all, queries of zeros, and ask it to hand every token the mean of the tokens two columns to the left
# and to the right. All it can move is the table.
#
# **Prediction.** Rows and columns are numbered from 0, so offset $(\Delta r, \Delta c)$ is entry $6\,\Delta r + \Delta c$. Which
# entry will be the largest?

# %%
pictures = rng.normal(size=(64, H, W, E))
left, right = np.roll(pictures, 2, axis=2), np.roll(pictures, -2, axis=2)
inside = np.zeros((H, W), bool)
inside[:, 2:-2] = True  # where both neighbours exist
target = ((left + right) / 2).reshape(64, 1, N, E)
values, mask = pictures.reshape(64, 1, N, E), inside.reshape(1, 1, N, 1)
nothing = np.zeros((64, 1, N, D))

# %%
learned, losses = np.zeros((1, N)), []
for _ in range(150):
    pairs, saved_bias = ops.position_bias_forward(learned, index)
    c, saved = ops.attention_forward(nothing, nothing, values, pairs, scale=1.0)
    error = (c - target) * mask
    losses.append((error**2).sum() / mask.sum() / 64 / E)
    dpairs = ops.attention_backward(2 * error / mask.sum() / 64 / E, saved)[3]
    learned -= 20 * ops.position_bias_backward(dpairs, saved_bias)
print(f"loss {losses[0]:.3f} -> {losses[-1]:.4f}; the largest entry is {learned.argmax()}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
axes[0].semilogy(losses, color="#0072B2")
axes[0].set(xlabel="step", ylabel="mean squared error", title="Learning the table")
image = axes[1].imshow(learned.reshape(H, W), cmap="cividis")
axes[1].set(xlabel="columns apart", ylabel="rows apart", title="The learned table")
figure.colorbar(image, ax=axes[1], label="bias")
plt.show()

# %% [markdown]
# Entry 2: no rows and two columns apart. A trained LeViT has tables of this kind too: heads that look at neighbours, at rows, at
# everything far away. It saves the keys the work of encoding positions, so LeViT makes them small: $D = 16$, half of the values'
# width (paper, section 4.2).
#
# **Limitation.** Absolute offsets cannot tell left from right: the head learned *both* neighbours because it cannot learn one
# of them. And a table belongs to one size of the map; for another picture size there are other offsets.
#
# ## The same number by three routes
#
# One value of the result with the random table: by the package, by one query's loop, and by one formula for all.

# %% tags=["final-check"]
by_package = context[0, 0, 14, 3]
by_one_query = attend_one(14, table[0, index[14]])[3]
scores = np.einsum("bhid,bhjd->bhij", q, k) / np.sqrt(D) + table[0, index]
weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
by_formula = np.einsum("bhij,bhje->bhie", weights, v)[0, 0, 14, 3]
print(by_package, by_one_query, by_formula)
assert np.allclose([by_one_query, by_formula], by_package, rtol=1e-12)
assert np.isclose(finite_difference, dtable[entry], rtol=1e-6)

# %% [markdown]
# **Next.** [Shrinking attention](05_shrinking_attention.ipynb): how 196 tokens become 49.
#
# ## Exercises
#
# **Exercise 1.** Which offset do the most pairs of the 6 x 6 map read, and how many are they? Count on paper first: an offset
# of $\Delta$ columns fits $6 - \Delta$ times into a row, in two directions.

# %% tags=["solution"] jupyter={"source_hidden": true}
counts = np.bincount(index.ravel())
print("entry", counts.argmax(), "is read by", counts.max(), "pairs")
assert counts[1 * W + 1] == (2 * 5) * (2 * 5) == counts.max()  # one row and one column apart

# %% [markdown]
# **Exercise 2.** Make a table with which every token sees only itself and its direct neighbours, diagonals included (local
# attention in a window of 3 x 3). How many keys does a token in a corner still see?

# %% tags=["solution"] jupyter={"source_hidden": true}
window = np.full((1, H, W), -1e9)
window[:, :2, :2] = 0
pairs, _ = ops.position_bias_forward(window.reshape(1, N), index)
_, saved = ops.attention_forward(q, k, v, pairs, scale=D**-0.5)
seen = (saved.probs[0, 0] > 0).sum(axis=1).reshape(H, W)
print(seen)
assert seen[0, 0] == 4 and seen[2, 2] == 9

# %% [markdown]
# **Exercise 3.** If all biases of a head get the same constant added, what changes in its output? And in the gradient of the
# table: what is its sum?

# %% tags=["solution"] jupyter={"source_hidden": true}
more, _ = ops.attention_forward(q, k, v, bias + 7, scale=D**-0.5)
print("output changes by", np.abs(more - context).max(), "and the gradient adds up to", dtable.sum())
assert np.allclose(more, context) and abs(dtable.sum()) < 1e-12
