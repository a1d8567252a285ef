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
# # 5. Shrinking attention
#
# **Question.** Between two stages LeViT's map of 14 x 14 tokens becomes one of 7 x 7, and the tokens become wider: 128
# channels turn into 256. A convolutional network would average neighbours here (*pooling*), or let a convolution skip
# every second place. What does LeViT do, and why not that?
#
# At the end you can
# - write shrinking attention: a quarter of the tokens ask, all of them answer;
# - tell which entry of the bias table a query and a key read when they stand on maps of different resolution;
# - count what it costs, and what that buys;
# - derive its backward pass, in which one token receives gradient along up to three paths, and check it;
# - say in what it is more than pooling, and in what it is less.

# %%
import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import ops
from levit_ref.inspection.cost import component_costs

BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
rng = np.random.default_rng(0)
model = levit_ref.create_model("levit_128s", dtype=np.float64)
shrink = model.stages[1].downsample.attn_downsample  # from 14 x 14 to 7 x 7, weights still random
shrink.attention_biases.data[:] = rng.normal(size=shrink.attention_biases.shape)  # it would start at zero
x = rng.normal(size=(2, 196, 128))  # (B, N, C): tokens of two pictures, row by row of a 14 x 14 map
print(x.shape, "->", shrink(x).shape)

# %% [markdown]
# ## Who asks
#
# In attention ([notebook 4](04_attention.ipynb)) there are as many results as queries. Nothing says that there must be
# as many queries as keys. So to shrink the map, let fewer tokens ask: every second row and every second column, a
# quarter of them. This step of 2 is called the *stride*. Keys and values are still made from all tokens.
#
# **Prediction.** The queries are numbered row by row on their own map of 7 x 7. On which of the 196 tokens does query
# 8 stand?

# %%
numbers = np.arange(196.0).reshape(1, 196, 1)  # one picture whose only channel is the number of the token
standing, _ = ops.subsample_forward(numbers, resolution=14, stride=2)  # (1, 49, 1)
kept = standing.ravel().astype(int)  # (49,)
print("query 8 stands on token", kept[8], "= row", kept[8] // 14, "and column", kept[8] % 14)
print("the last query stands in row", kept[-1] // 14, "and column", kept[-1] % 14)

# %% [markdown]
# Query 8 has row 1 and column 1 on the small map, hence row 2 and column 2 on the large one: token
# $2 \cdot 14 + 2 = 30$. The first query stands in the corner of the map and the last one does not: no query stands in
# the last row or column.
#
# ## A bias between two maps
#
# The bias of notebook 4 is a number for each offset: how many rows and columns lie between query and key, counted on
# the keys' map. A query in row $r_i$ and column $c_i$ of the small map stands at $(2 r_i,\, 2 c_i)$ there:
#
# $$ b_{ij} = t\big[\,|2 r_i - r_j|,\; |2 c_i - c_j|\,\big]. $$
#
# On a small example that can be printed, 6 x 6 keys and 3 x 3 queries:

# %%
index = ops.position_bias_index((6, 6), stride=2)  # (9, 36): which entry of the table a query and a key read
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, query in zip(axes, (0, 4, 8), strict=True):
    entries, (row, column) = index[query].reshape(6, 6), np.array(divmod(query, 3)) * 2
    ax.imshow(entries, cmap="cividis", vmin=0, vmax=35)
    for r, c in np.ndindex(6, 6):
        ax.text(c, r, entries[r, c], ha="center", va="center", color="w" if entries[r, c] < 18 else "k", fontsize=8)
    for r, c in np.ndindex(3, 3):
        ax.add_patch(plt.Rectangle((2 * c - 0.46, 2 * r - 0.46), 0.92, 0.92, fill=False, ec="w", lw=1, ls=":"))
    ax.add_patch(plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, ec=ORANGE, lw=3))
    ax.set(xlabel="column of the key", ylabel="row of the key", title=f"Entries that query {query} reads")
plt.show()

# %% [markdown]
# Dotted squares are the tokens that ask, the frame is the one whose row of the index is shown.
#
# **Prediction.** With 49 queries instead of 196 there are a quarter as many pairs. Each pair reads one of 196 entries.
# Does every entry lose three quarters of its readers, or do some lose all of them?

# %%
readers = {s: np.bincount(ops.position_bias_index((14, 14), stride=s).ravel(), minlength=196) for s in (1, 2)}
print("pairs:", readers[1].sum(), "->", readers[2].sum())
print("shares of their readers that the entries keep:", *np.unique(readers[2] / readers[1]))
along = [sum(abs(2 * r - k) == d for r in range(7) for k in range(14)) for d in range(14)]
print("rows of queries and keys that are 0, 1, 2, ... apart:", *along)
print("rows times columns give the same counts:", np.array_equal(np.outer(along, along).ravel(), readers[2]))

# %% [markdown]
# Exactly a quarter each. Along one axis of ordinary attention, 14 pairs are 0 rows apart and $2\,(14 - d)$ pairs are
# $d$ rows apart; of each kind half have their query in an even row. So the table is as large as that of the stage
# before, and all of it is used.
#
# ## Four times as wide
#
# An ordinary head of LeViT has $D = 16$ channels in its keys and $2D$ in its values; a shrinking head has $4D = 64$ in
# its values, and there are $C / D = 8$ heads instead of 4 (paper, section 4.2 and figure 5).
#
# **Prediction.** 196 tokens of 128 channels come in. How many numbers are that? How many numbers do all heads together
# hand to the queries, before the last linear layer makes 256 channels of them?

# %%
names = ["q", "k", "v", "context", "probs"]
prefix = "stages.1.downsample.attn_downsample."
shapes = {spec.name.removeprefix(prefix): spec.shape for spec in model.activation_specs()}
for name in names:
    print(f"{name:8} {shapes[name]}")
print("numbers in:", 196 * 128, " handed to the queries:", np.prod(shapes["context"]), " out:", 49 * 256)

# %% [markdown]
# $\tfrac{N}{4} \cdot \tfrac{C}{D} \cdot 4D = N C$: as many as came in. With the narrow values of an ordinary head,
# half of them would be lost before the last layer has had a chance to choose. That layer then halves them: 49 tokens,
# but 256 channels. (Counting numbers gives an upper bound only: a mean of values is not the values.)
#
# Something else is missing: the residual sum. Ordinary attention is added to its input; here the input has 196 x 128
# numbers and the output 49 x 256, and they cannot be added. Everything that later layers will know has to pass through
# the heads. So the last normalisation starts with the scale $\gamma = 1$ here, and not 0 as in a residual branch.
#
# ## What it costs
#
# **Prediction.** An ordinary attention of the stage before needs 17.2 million multiply-adds. Only a quarter of the
# tokens ask here. Is shrinking attention cheaper or dearer?

# %%
N, C, heads, D, E, C_out = 196, 128, 8, 16, 64, 256


def multiply_adds(N_q):
    """Of the four parts, for N_q queries; a softmax counts as one for each pair, as in the paper's code."""
    keys_values, queries = N * C * heads * (D + E), N_q * C * heads * D
    return np.array([keys_values, queries, heads * N_q * N * (D + 1 + E), N_q * heads * E * C_out])


costs = {cost.name: cost.macs for cost in component_costs(model)}
print(f"ordinary attention {costs['stages.0.blocks.0.attn'] / 1e6:.1f} million")
print(f"shrinking attention {costs[prefix[:-1]] / 1e6:.1f} million, by the formula {multiply_adds(49).sum() / 1e6:.1f}")
print(f"with 196 queries of the same kind it would be {multiply_adds(196).sum() / 1e6:.1f}")
assert multiply_adds(49).sum() == costs[prefix[:-1]]

# %%
figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
left, parts = np.zeros(2), np.array([multiply_adds(196), multiply_adds(49)]) / 1e6  # (2, 4)
labels = ("keys and values", "queries", "scores, softmax, context", "last linear layer")
for part, label, colour in zip(parts.T, labels, (BLUE, "#56B4E9", ORANGE, GREEN), strict=True):
    ax.barh(["all 196 ask", "49 ask"], part, left=left, color=colour, label=label)
    left += part
ax.set(xlabel="million multiply-adds", title="What it saves that only a quarter asks", xlim=(0, 72))
ax.legend(fontsize=8, loc="upper right")
plt.show()

# %% [markdown]
# Dearer, and the dearest attention of the network: all tokens still need keys and wide values, more than half of the
# bill. But asking with all of them, only to throw three quarters of the results away, would cost more than twice as
# much.
#
# ## One head, in matrices
#
# Write the choice of the queries as a matrix $R$ of zeros and ones with 49 rows and 196 columns: row $i$ has its 1 at
# the token on which query $i$ stands, so that $R X$ is the rows of $X$ that ask. Then with tokens $X$ as rows, weights
# $W$ and bias $B$,
#
# $$ Q = R X W_q^T, \quad K = X W_k^T, \quad V = X W_v^T, \qquad
# S = \frac{Q K^T}{\sqrt D} + B, \qquad P = \mathrm{softmax}(S), \qquad A = P V. $$
#
# $S$ and $P$ have 49 rows and 196 columns. In the network a batch normalisation follows each product; at inference it
# is part of $W$ ([notebook 3](03_batch_norm.ipynb)).

# %%
X, table = x[0], shrink.attention_biases.data[0]  # (196, 128), (196,)
Wq, Wk, Wv = (rng.normal(size=(width, C)) / C**0.5 for width in (D, D, E))
R = np.eye(N)[kept]  # (49, 196)
index = ops.position_bias_index((14, 14), stride=2)  # (49, 196)


def forward(X):
    """One shrinking head: what the queries receive, and what backward needs."""
    Q, K, V = R @ X @ Wq.T, X @ Wk.T, X @ Wv.T
    scores = Q @ K.T / np.sqrt(D) + table[index]
    P = np.exp(scores - scores.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    return P @ V, (Q, K, V, P)


# %%
A, (Q, K, V, P) = forward(X)
bias, saved_bias = ops.position_bias_forward(table[None], index)
theirs, saved = ops.attention_forward(Q[None, None], K[None, None], V[None, None], bias, scale=D**-0.5)
print("P:", P.shape, " A:", A.shape, " differs from levit_ref.ops by", np.abs(A - theirs[0, 0]).max())

# %% [markdown]
# ## Backward
#
# As in notebook 4, $\dot M$ is the gradient $\partial L / \partial M$ of a loss. That $P$ is no longer square changes
# none of the four lines of that notebook: $\dot P = \dot A V^T$, in each row
# $\dot s_j = p_j \big(\dot p_j - \sum_l \dot p_l\, p_l\big)$, and
#
# $$ \dot V = P^T \dot A, \qquad \dot Q = \dot S K / \sqrt D, \qquad \dot K = \dot S^T Q / \sqrt D. $$
#
# New is how the three come together, since the same $X$ is read three times and gradients of several uses add up. A
# product $Y = X W^T$ sends back $\dot Y W$, and a matrix in front, $Y = R X$, sends back $R^T \dot Y$:
#
# $$ \dot X = \dot V W_v + \dot K W_k + R^T \dot Q\, W_q . $$
#
# $R^T$ puts the rows of the 49 queries back on their places among 196 and leaves zeros between them. Taking every
# second token forward means *writing into zeros* backward.
#
# **Prediction.** So what share of the tokens receives gradient through the queries?


# %%
def backward(dA, saved):
    """The three terms of the gradient of X, and the gradient of the table."""
    Q, K, V, P = saved
    dP, dV = dA @ V.T, P.T @ dA
    dscores = P * (dP - (dP * P).sum(axis=1, keepdims=True))
    dQ, dK = dscores @ K / np.sqrt(D), dscores.T @ Q / np.sqrt(D)
    return (dV @ Wv, dK @ Wk, R.T @ dQ @ Wq), np.bincount(index.ravel(), weights=dscores.ravel())


dA = rng.normal(size=A.shape)  # as if a loss had this gradient
terms, dtable = backward(dA, (Q, K, V, P))
dX = sum(terms)
reached = [np.any(term, axis=1).sum() for term in terms]
print("tokens that receive gradient through values, keys, queries:", *reached)

# %%
dq, dk, dv, dbias = ops.attention_backward(dA[None, None], saved)
_, saved_sub = ops.subsample_forward(X[None], resolution=14, stride=2)
theirs = dv[0, 0] @ Wv + dk[0, 0] @ Wk + ops.subsample_backward((dq[0, 0] @ Wq)[None], saved_sub)[0]
print("dX differs from levit_ref.ops by", np.abs(dX - theirs).max())
print("table differs from levit_ref.ops by", np.abs(dtable - ops.position_bias_backward(dbias, saved_bias)[0]).max())
h, token, channel = 1e-5, 30, 5
for at in (token, token + 1):
    step = np.zeros_like(X)
    step[at, channel] = h
    finite_difference = ((dA * forward(X + step)[0]).sum() - (dA * forward(X - step)[0]).sum()) / (2 * h)
    print(f"token {at}: formula {dX[at, channel]:.9f}, finite difference {finite_difference:.9f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
norms = [np.linalg.norm(term, axis=1).reshape(14, 14) for term in terms]
for ax, norm, way in zip(axes, norms, ("values", "keys", "queries"), strict=True):
    image = ax.imshow(norm, cmap="viridis", vmin=0, vmax=max(n.max() for n in norms))
    ax.set(xlabel="column of the token", ylabel="row of the token", title=f"through the {way}")
    print(f"{way:8} carry {(norm**2).sum() / sum((n**2).sum() for n in norms):.0%} of the sum of squares")
figure.colorbar(image, ax=axes, label="norm of the token's gradient", shrink=0.9)
plt.show()

# %% [markdown]
# A quarter of the tokens. With these random weights those receive most of their gradient through their query. The
# others are not lost: they are heard through their keys and values, and what made them learns through those.
#
# ## What pooling does, and what this does
#
# *Mean pooling* replaces each window of 2 x 2 tokens by its mean. That is a shrinking attention, too, with a $P$ of
# four quarters in each row. But there the weights are given, and here each query computes them, from all tokens.
#
# **Prediction.** Move one token, in row 5 and column 9, a little. How many of the 49 results change under mean
# pooling? Under shrinking attention?


# %%
def pool(X):
    """Mean over windows of 2 x 2."""
    return X.reshape(7, 2, 7, 2, -1).mean(axis=(1, 3)).reshape(49, -1)


moved = X.copy()
moved[5 * 14 + 9] += 0.1
change = {
    "mean pooling": np.linalg.norm(pool(moved) - pool(X), axis=1),
    "shrinking attention": np.linalg.norm(forward(moved)[0] - A, axis=1),
}
print({name: int((distance > 0).sum()) for name, distance in change.items()})

# %% [markdown]
# One, and all. A query can find what it needs anywhere on the map, and where it looks depends on what is there.
#
# Can it also pool, if that is best? Give it no queries, so that only the bias counts, and a table that is 0 for the
# offsets of the window and very negative elsewhere.
#
# **Prediction.** Which windows can a table make: 2 x 2, 3 x 3, both? (The table sees $|\Delta r|$ and $|\Delta c|$.)

# %%
window = np.full((14, 14), -1e9)
window[:2, :2] = 0  # zero or one row apart, zero or one column apart
seen = ops.softmax_forward(window.ravel()[index])[0]  # (49, 196): what P becomes without queries
pooled_3x3 = np.zeros((49, C))
padded = np.pad(X.reshape(14, 14, C), ((1, 0), (1, 0), (0, 0)), constant_values=np.nan)  # a row and a column of nothing
for i, (r, c) in enumerate(np.ndindex(7, 7)):
    pooled_3x3[i] = np.nanmean(padded[2 * r : 2 * r + 3, 2 * c : 2 * c + 3].reshape(9, C), axis=0)
print("differs from the mean over 3 x 3 by", np.abs(seen @ X - pooled_3x3).max())
print("differs from the mean over 2 x 2 by", np.abs(seen @ X - pool(X)).max())

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.8), layout="constrained")
rows = {"mean over 2 x 2": np.kron(np.eye(7)[3], [0.5, 0.5]), "table with a window": seen[24], "a random head": P[24]}
rows["mean over 2 x 2"] = np.outer(rows["mean over 2 x 2"], rows["mean over 2 x 2"]).ravel()  # of row and column 3
for ax, (name, weights) in zip(axes, rows.items(), strict=True):
    image = ax.imshow(weights.reshape(14, 14), cmap="viridis", vmin=0)
    ax.add_patch(plt.Rectangle((5.5, 5.5), 1, 1, fill=False, ec=ORANGE, lw=2))
    ax.set(xlabel="column of the key", ylabel="row of the key", title=name)
    figure.colorbar(image, ax=ax, label="weight", orientation="horizontal", shrink=0.9).locator = plt.MaxNLocator(5)
plt.show()

# %% [markdown]
# (The figure shows whom the query in the middle, framed, listens to. The scales of the colours differ.)
#
# A window of 3 x 3 around each query, yes; one of 2 x 2, no: it would need the neighbour below and not the one above,
# and absolute offsets cannot tell them apart. So this is the one way in which it is less than pooling. Pooling over
# overlapping windows is a special case of it, and it can be anything between that and a search through the whole map.
#
# **Limitation.** That it *can* do more says nothing about whether training finds it, or whether it is worth 29.5
# million multiply-adds; that takes an experiment. The grid of queries is fixed as well: if the picture moves by one
# token, other tokens ask. And what no query asks for is gone, since there is no residual sum to keep it.
#
# ## The same number by three routes
#
# One output channel of one token, at inference, with all heads, the hardswish and the last linear layer: by the
# module, by matrices with the normalisations folded in, and by a loop over tokens for each head.

# %%
shrink.eval()  # its running statistics are those of the pass in the first cell


def fold(layer):
    """Weight and shift of a linear layer with the normalisation after it, as in notebook 3."""
    s = layer.bn.weight.data / np.sqrt(layer.bn.running_var.data + layer.bn.eps)
    return s[:, None] * layer.linear.weight.data, layer.bn.bias.data - s * layer.bn.running_mean.data


(Wq, bq), (Wkv, bkv), (Wo, bo) = fold(shrink.q.ln), fold(shrink.kv), fold(shrink.proj.ln)
kv = (X @ Wkv.T + bkv).reshape(N, heads, D + E).transpose(1, 0, 2)  # (heads, 196, 80): of each head 16 keys, 64 values
k, v, q = kv[..., :D], kv[..., D:], (X[kept] @ Wq.T + bq).reshape(49, heads, D).transpose(1, 0, 2)
P = ops.softmax_forward(q @ k.swapaxes(1, 2) / np.sqrt(D) + shrink.attention_biases.data[:, index])[0]
side_by_side = (P @ v).transpose(1, 0, 2).reshape(49, heads * E)
by_matrices = (ops.hardswish_forward(side_by_side)[0] @ Wo.T + bo)[8, 3]

# %% tags=["final-check"]
by_module = shrink(x)[0, 8, 3]
by_loop = bo[3]
for head in range(heads):
    query, entries = Wq[head * D : (head + 1) * D] @ X[30] + bq[head * D : (head + 1) * D], np.zeros(N)
    for j in range(N):
        apart = abs(2 - j // 14) * 14 + abs(2 - j % 14)  # query 8 stands in row 2 and column 2
        entries[j] = query @ k[head, j] / 4 + shrink.attention_biases.data[head, apart]
    weights = np.exp(entries) / np.exp(entries).sum()
    received = sum(w * value for w, value in zip(weights, v[head], strict=True))
    by_loop += Wo[3, head * E : (head + 1) * E] @ (received * np.clip(received + 3, 0, 6) / 6)
print(by_module, by_matrices, by_loop)
assert np.allclose([by_matrices, by_loop], by_module, rtol=1e-9)
assert np.isclose(finite_difference, dX[token + 1, channel], rtol=1e-6)

# %% [markdown]
# **Next.** [Hardswish, MLP, residual sums](06_mlp_residual.ipynb): what happens to the tokens between two attentions.
#
# ## Exercises
#
# **Exercise 1.** The second shrinking attention goes from 7 x 7 tokens of 256 channels to 4 x 4 of 384 (7 is odd, so
# the queries stand in rows 0, 2, 4, 6). How many heads has it? Do the queries still receive exactly as many numbers as
# came in? How many multiply-adds does it need?

# %% tags=["solution"] jupyter={"source_hidden": true}
N, C, N_q, C_out = 49, 256, 16, 384
heads = C // D
print(heads, "heads;", N * C, "numbers in,", N_q * heads * E, "received: more, since 16 is more than a quarter of 49")
total = N * C * heads * (D + E) + N_q * C * heads * D + heads * N_q * N * (D + 1 + E) + N_q * heads * E * C_out
print(total, "multiply-adds")
assert total == costs["stages.2.downsample.attn_downsample"]

# %% [markdown]
# **Exercise 2.** On that map of 7 x 7, does every entry of the table keep the same share of its readers? Which entries
# keep all of them? Work it out for one axis first.

# %% tags=["solution"] jupyter={"source_hidden": true}
counts = {s: np.bincount(ops.position_bias_index((7, 7), stride=s).ravel()).reshape(7, 7) for s in (1, 2)}
share = counts[2] / counts[1]
apart = {s: [sum(abs(q - k) == d for q in range(0, 7, s) for k in range(7)) for d in range(7)] for s in (1, 2)}
print("one axis, 0 to 6 apart:", *(f"{kept}/{of}" for kept, of in zip(apart[2], apart[1], strict=True)))
print("entries that keep all their readers:", np.argwhere(share == 1).tolist())
assert np.argwhere(share == 1).tolist() == [[6, 6]]  # 6 apart means row 0 and row 6, and both of them ask

# %% [markdown]
# **Exercise 3.** Build a head by hand that hands *every* query the value of the token whose channel 0 is the largest,
# wherever on the map that is. What must $W_q$ and $W_k$ read? (Pooling cannot do this. A constant is needed for the
# query: let channel 1 of every token be 1.)

# %% tags=["solution"] jupyter={"source_hidden": true}
tokens = rng.normal(size=(1, 1, 196, 8))
tokens[..., 1] = 1
q = 1e3 * tokens[:, :, kept, 1:2]  # W_q reads the constant: every query asks for the same, and asks loudly
k = tokens[..., 0:1]  # W_k reads channel 0
found, _ = ops.attention_forward(q, k, tokens, scale=1.0)
largest = tokens[0, 0, tokens[0, 0, :, 0].argmax()]
print("every query received the largest token:", np.allclose(found[0, 0], largest))
assert np.allclose(found[0, 0], largest)
