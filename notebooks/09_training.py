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
# # 9. Training
#
# **Question.** [Notebook 8](08_backward.ipynb) gave the direction in which every parameter should move. How far should each
# one go, in which step, and on whose word? And which parts of LeViT's design does the result depend on?
#
# At the end you can
# - write the optimiser AdamW in six lines, and foretell its first step for every parameter of a network;
# - draw a learning rate's schedule, and say what its beginning and its end are for;
# - write the training loop from its parts, and get the same bits as `levit-ref train`;
# - say what the second head learns from a teacher, and measure what that is worth where labels are wrong;
# - read the record of a run on CIFAR-10, and a chart of ablations with the noise that belongs to it.

# %%
import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import levit_ref
from levit_ref import ops
from levit_ref.checkpoints import About, Checkpoint, load_checkpoint, save_checkpoint
from levit_ref.data import DATASETS, ArrayDataset, Loader, make_shapes, normalise
from levit_ref.evaluation import evaluate
from levit_ref.training import AdamW, Datasets, Progress, TrainConfig, WarmupCosine, train
from levit_ref.training.flat import decay_mask
from levit_ref.training.objective import Objective

# %%
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#999999"
RESULTS = Path("../docs/results")  # records of runs that are too long for a notebook
runs = tempfile.TemporaryDirectory()
training_set, test_set = make_shapes("train"), make_shapes("test")
print(f"{len(training_set):,} and {len(test_set):,} pictures of {', '.join(training_set.classes)}")

# %% [markdown]
# ## How far? From gradient descent to AdamW
#
# *Gradient descent* moves every parameter by the same multiple of its gradient, $\theta \leftarrow \theta - \eta g$. The
# number $\eta$ is the *learning rate*. *Adam* (Kingma & Ba 2015) keeps two moving averages for each parameter, of its
# gradient and of the gradient's square, and moves by their ratio:
#
# $$ m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad
# \theta \leftarrow \theta - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon}. $$
#
# Both averages begin at zero and are too small at first; $\hat m = m / (1 - \beta_1^t)$ and
# $\hat v = v / (1 - \beta_2^t)$ make up for it in step $t$. *AdamW* (Loshchilov & Hutter 2019) shrinks the parameter beside
# that, $\theta \leftarrow (1 - \eta\lambda)\, \theta$: *weight decay*, apart from the gradient and its scale.


# %%
def adamw_step(theta, g, m, v, t, rate, decay=0.0, beta1=0.9, beta2=0.999, eps=1e-8):
    """One step, t = 1, 2, ...: the new parameters, and both averages."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return theta * (1 - rate * decay) - rate * m_hat / (np.sqrt(v_hat) + eps), m, v


# %% [markdown]
# A first trial, with two parameters and the loss $(x^2 + 100\, y^2) / 2$: a valley, a hundred times as steep across as
# along. Gradient descent diverges if $\eta$ exceeds $2 / 100$, so it gets 0.018; Adam gets 0.1.
#
# **Prediction.** Both start at (1, 1). Which way does Adam go: down the steep side first, or else? (What happens to
# $\hat m / \sqrt{\hat v}$ when all gradients are multiplied by 100?)

# %%
steepness = np.array([1.0, 100.0])
descent, adam = [np.ones(2)], [np.ones(2)]
m, v = np.zeros(2), np.zeros(2)
for t in range(1, 61):
    descent.append(descent[-1] - 0.018 * steepness * descent[-1])
    theta, m, v = adamw_step(adam[-1], steepness * adam[-1], m, v, t, rate=0.1)
    adam.append(theta)
descent, adam = np.array(descent), np.array(adam)  # (61, 2)
print(f"descent: x is {descent[60, 0]:.4f} after 60 steps, 0.982^60 = {0.982**60:.4f}")
print("Adam: x and y differ by", np.abs(adam[:, 0] - adam[:, 1]).max(), "at most")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
x, y = np.meshgrid(np.linspace(-0.6, 1.2, 200), np.linspace(-1.1, 1.2, 200))
axes[0].contour(x, y, x**2 + 100 * y**2, levels=np.geomspace(0.1, 150, 9), colors=GREY, linewidths=0.7)
for path, colour, mark, label in ((descent, ORANGE, "s-", "gradient descent"), (adam, BLUE, "o-", "Adam")):
    axes[0].plot(*path.T, mark, color=colour, ms=3, lw=1, label=label)
    axes[1].semilogy(path**2 @ steepness / 2, color=colour, label=label)
axes[0].set(xlabel="x", ylabel="y", title="Paths in the valley")
axes[1].set(xlabel="step", ylabel="loss", title="Loss")
axes[0].legend(loc="upper left")
plt.show()

# %% [markdown]
# Adam goes straight along the diagonal: a factor on a parameter's gradient cancels, so both move alike, and the step
# has the size of $\eta$ whatever the slope. That is what a network needs whose gradients differ by orders of magnitude from
# layer to layer. (It overshoots and comes back: the average $m$ has a memory of about ten steps. And it helps only where the
# valley lies along an axis; exercise 3.)
#
# **Prediction.** So what is the first step of a fresh network, for a parameter with a gradient of 0.1, for one of
# 0.00001, and for one of exactly 0?

# %%
model = levit_ref.create_model("levit_250k_32px", num_classes=10)
preprocessing = DATASETS["shapes"].preprocessing(32)
first = next(Loader(training_set, 32, preprocessing, TrainConfig().augmentation()).epoch(0))
_, saved = ops.cross_entropy_forward(model(first.images), first.targets)
model.backward(ops.cross_entropy_backward(1.0, saved))
before, g = model.flat_data.copy(), np.abs(model.flat_grad)
AdamW(model.flat_data, model.flat_grad, np.zeros(before.size, bool)).step(0.001)
moved = np.abs(model.flat_data - before)
for low, high in ((0, 0), (1e-8, 1e-6), (1e-6, 1e-4), (1e-4, 1e-2), (1e-2, 1)):
    some = (g >= low) & (g <= high)
    print(f"gradient {low:5.0e} to {high:5.0e}: {some.sum():6} parameters move by {moved[some].mean():.6f} on average")

# %% [markdown]
# By the learning rate, all of them, but where the gradient is zero (the branches after $\gamma = 0$, [notebook
# 8](08_backward.ipynb)), or as small as $\epsilon = 10^{-8}$. The first step knows nothing but signs.
#
# ## When? The schedule
#
# That first step is a leap in a direction that a single batch has given. So the learning rate begins near zero and rises in a
# *warm-up*; then it falls along half a cosine: while it is large, the parameters cannot settle closer than their
# steps are wide.
#
# **Prediction.** A cosine from 0.003 down to nearly 0: what is its mean, and how far can a parameter travel at most in 1000
# steps of that size, if its gradient always has the same sign?

# %%
schedule = WarmupCosine(lr=3e-3, total_steps=1000, warmup_steps=125, min_lr=1e-5, warmup_lr=1e-6)
rates = np.array([schedule(step) for step in range(1000)])
theta, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
for t in range(1000):
    theta, m, v = adamw_step(theta, np.ones(1), m, v, t + 1, rates[t])
print(f"mean of the cosine {rates[125:].mean():.6f}, half of both ends {(3e-3 + 1e-5) / 2:.6f}")
print(f"the parameter travelled {-theta[0]:.4f}, the sum of all rates is {rates.sum():.4f}")

# %% [markdown]
# Half of its peak; and with a steady sign a parameter travels as far as the rates add up, 1.5. Weights of a fresh network
# are about 0.1. So there is room to change everything, and yet a bound on it.
#
# ## The loop
#
# Everything is there: batches, network, loss, gradient, optimiser, schedule. Here is training as a whole. (`forward_heads`
# gives the logits of each head, `Objective` the loss and its gradient. In a `lean_backward` block everything that the forward pass
# kept is given back as soon as it is used. `decay_mask` says which parameters decay: matrices and filters, not biases and scales.)


# %%
def fit(config, pictures, after_epoch=lambda model: None, make_optimizer=AdamW):
    """Train as the settings say: the network, and for each step its learning rate and loss."""
    model = levit_ref.create_model(config.model, num_classes=len(pictures.classes), seed=config.seed)
    loader = Loader(pictures, config.batch_size, preprocessing, config.augmentation(), seed=config.seed)
    mask = decay_mask((name, p.shape) for name, p in model.named_parameters())
    optimizer = make_optimizer(model.flat_data, model.flat_grad, mask, weight_decay=config.weight_decay)
    steps, warmup, history = config.epochs * len(loader), int(config.warmup_epochs * len(loader)), []
    schedule = WarmupCosine(config.lr, steps, warmup, config.min_lr, config.warmup_lr)
    for epoch in range(config.epochs):
        for batch in loader.epoch(epoch):
            rate = schedule(len(history))
            history.append((rate, step_of(model, batch, optimizer, rate)))
        after_epoch(model)
    return model, np.array(history)  # (steps, 2)


# %%
def step_of(model, batch, optimizer, rate):
    """Forward, loss, backward, update."""
    loss, gradient = Objective()(model.forward_heads(batch.images), batch.targets)
    model.zero_grad()
    with levit_ref.nn.lean_backward():
        model.backward_heads(gradient.head, gradient.head_dist)
    optimizer.step(rate)
    return loss


# %% [markdown]
# Is that all there is to `levit-ref train`? Its function `train` takes the same settings and has checkpoints, logs, signals
# and much else around the loop.
#
# **Prediction.** One epoch with 1,024 pictures either way. By how much do the parameters differ?

# %%
small = TrainConfig(epochs=1, train_size=1024, test_size=200)  # dataset "shapes" by default
quiet = Progress(quiet=True)
train(small, f"{runs.name}/small", progress=quiet)
by_train = load_checkpoint(f"{runs.name}/small").model  # of the folder, the best checkpoint
by_loop, history = fit(small, make_shapes("train", 1024))
print(f"{len(history)} steps, loss {history[0, 1]:.3f} to {history[-1, 1]:.3f} (ln 10 = {np.log(10):.3f})")
print("largest difference of a parameter:", np.abs(by_train.flat_data - by_loop.flat_data).max())

# %% [markdown]
# By nothing, not even a rounding: order and augmentation of the pictures follow from the seed, and every sum is made in the
# same order.
#
# Now in earnest: all 10,000 pictures, five times.
#
# **Prediction.** What accuracy does a network reach that has seen each picture five times? And when does it learn most:
# while the learning rate is at its highest, or when it has nearly gone?

# %%
config = TrainConfig(epochs=5)
tests = []
how = DATASETS["shapes"].preprocessing(32)
model, history = fit(config, training_set, lambda m: tests.append(evaluate(m, test_set, preprocessing=how)))
rates, losses = history.T
for epoch, (part, result) in enumerate(zip(losses.reshape(5, -1), tests, strict=True), 1):
    print(f"epoch {epoch}: training loss {part.mean():.3f}, test loss {result.loss:.3f}, right {result.accuracy:.1%}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
ends = losses.size / 5 * np.arange(1, 6)
smooth = np.convolve(losses, np.ones(25) / 25, "valid")
axes[0].plot(losses, color=BLUE, lw=0.4, alpha=0.4)
axes[0].plot(np.arange(smooth.size) + 12, smooth, color=BLUE, label="training (thick: mean of 25)")
axes[0].plot(ends, [t.loss for t in tests], "o", color=ORANGE, label="test")
axes[0].set(xlabel="step", ylabel="cross-entropy", title="Loss")
axes[0].legend()
axes[1].plot(ends, [100 * t.accuracy for t in tests], "o-", color=ORANGE)
axes[1].set(xlabel="step", ylabel="right on the test pictures (%)", title="Accuracy and learning rate", ylim=(0, 100))
twin = axes[1].twinx()
twin.plot(rates, "--", color=GREY)
twin.set(ylabel="learning rate (dashed)", ylim=(0, None))
plt.show()

# %% [markdown]
# By chance it would be one in ten. It learns all the way down the cosine: most of what it knows comes after the learning
# rate has passed its peak, and the last epoch, in which hardly any of it is left, still adds a few points. (Eight epochs,
# the default of `levit-ref train`, bring 97 %.)
#
# What is still mistaken for what?

# %%
confusion = tests[-1].confusion.copy()
np.fill_diagonal(confusion, 0)
for i in np.argsort(confusion, axis=None)[::-1][:3]:
    true, called = np.unravel_index(i, confusion.shape)
    print(f"{test_set.classes[true]:9} called {test_set.classes[called]:9} {confusion[true, called]} times")

# %% [markdown]
# ## On whose word? The teacher
#
# LeViT is trained with two heads. One learns the labels; the other one learns what a *teacher* says, a better network that
# has been trained before (*hard distillation*, Touvron et al. 2021):
#
# $$ L = \tfrac12\, \mathrm{CE}(\mathrm{head}, \mathrm{label}) +
# \tfrac12\, \mathrm{CE}(\mathrm{head_{dist}}, \arg\max_k\, \mathrm{teacher}_k). $$
#
# When the network is used, the mean of both heads' logits decides. What is a teacher good for, if labels are there?
# An experiment: 6,000 pictures, and for 30 % of them the label is replaced by a wrong one. The teacher is the network from
# above, which has seen right labels.
#
# **Prediction.** A network that is told a wrong label three times in ten: how often is it right on the test pictures, after
# three epochs? And with the teacher, which of its two heads is right more often?

# %%
rng = np.random.default_rng(0)
labels = training_set.labels[:6000].copy()
wrong = rng.random(6000) < 0.3
labels[wrong] = (labels[wrong] + rng.integers(1, 10, wrong.sum())) % 10
noisy = Datasets(ArrayDataset(training_set.images[:6000], labels, training_set.classes), test_set)
save_checkpoint(Checkpoint(model, About(how)), f"{runs.name}/teacher.safetensors")
student = {"epochs": 3, "eval_every": 3}
train(TrainConfig(**student), f"{runs.name}/alone", datasets=noisy, progress=quiet)
taught = TrainConfig(**student, teacher=f"{runs.name}/teacher.safetensors")
train(taught, f"{runs.name}/taught", datasets=noisy, progress=quiet)
print(f"{wrong.mean():.1%} of the labels are wrong")

# %%
alone, pupil = (load_checkpoint(f"{runs.name}/{name}").model for name in ("alone", "taught"))
seen = normalise(test_set.images, how.mean, how.std)  # (2000, 3, 32, 32)
with alone.inference(), pupil.inference():
    heads = pupil.forward_heads(seen)
    said = {"labels alone": alone(seen), "its head": heads.head, "its head_dist": heads.head_dist}
    said["its mean"] = pupil(seen)
model.eval()  # from here on
said["the teacher"] = model(seen)
shares = {who: (logits.argmax(axis=1) == test_set.labels).mean() for who, logits in said.items()}
for who, share in shares.items():
    print(f"{who:14} right on {share:.1%} of the test pictures")

# %% [markdown]
# Wrong labels cost far more than their share. A network that has hardly begun to tell the classes apart gets contradicting
# answers to pictures that look alike to it, and learns slowly. The teacher is wrong as well, in a sixth of the pictures, but
# it says the same about similar pictures.
#
# And the head that learned the wrong labels is nearly as good as the one that learned from the teacher! Both read the same
# features, and these the teacher has shaped. On good features a linear layer forgives a lot: the right label is still the
# most frequent one.
#
# The formula by hand, for one batch:

# %%
with pupil.inference():
    heads = pupil.forward_heads(first.images)  # (32, 10) each
told = model(first.images).argmax(axis=1)


def cross_entropy(logits, targets):
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), targets])


by_hand = 0.5 * cross_entropy(heads.head, first.targets.argmax(axis=1)) + 0.5 * cross_entropy(heads.head_dist, told)
by_package, gradient = Objective()(heads, first.targets, model(first.images))
print(by_hand, by_package)

# %% [markdown]
# ## CIFAR-10
#
# Photographs take longer than drawings; the records of three runs of `levit-ref train` are in
# [docs/results](../docs/results/README.md), with the command of each. `metrics.jsonl` has a line for each epoch.
#
# **Prediction.** The pictures of training are shifted, mirrored, and in some runs partly blotted out or mixed with others. Is
# accuracy higher on them, or on the untouched test pictures?

# %%
records = {}
for folder in sorted(RESULTS.glob("cifar10-*")):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    records[folder.name.removeprefix("cifar10-")] = [json.loads(line) for line in lines]
for name, record in records.items():
    last = record[-1]
    print(
        f"{name:26} {last['epoch']:3} epochs, {last['seconds'] / 60:4.0f} min: {last['train_accuracy']:.1%} of the",
        end=" ",
    )
    print(f"training pictures, {last['test_accuracy']:.1%} of the test pictures")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
for (name, record), colour in zip(records.items(), (ORANGE, GREEN, BLUE), strict=False):
    epochs = np.array([line["epoch"] for line in record])
    tested = [line for line in record if line["test_accuracy"] is not None]
    axes[0].plot(epochs, [100 * line["train_accuracy"] for line in record], color=colour, label=name)
    axes[1].plot([t["epoch"] for t in tested], [100 * t["test_accuracy"] for t in tested], "o-", ms=3, color=colour)
    axes[1].plot([t["epoch"] for t in tested], [100 * t["ema_test_accuracy"] for t in tested], "--", lw=1, color=colour)
axes[0].set(xlabel="epoch", ylabel="right (%)", title="Training pictures, as augmented")
axes[1].set(xlabel="epoch", title="Test pictures (dashed: averaged weights)")
axes[0].legend(loc="lower right", fontsize=8)
plt.show()

# %% [markdown]
# At first on the test pictures: augmentation makes the training pictures harder, and the accuracy of an epoch is a mean over
# steps in which the network was worse than at its end. Later the order turns, since the network knows more and more training
# pictures by heart. In the longest run the last third of the epochs brings the training pictures six points, and the test
# pictures a point or, at the dashed line, nothing. It does not turn for `levit_128s_32px`, the largest of the networks: three in ten
# of its batches are made of mixtures (`--cutmix`), in which there is always something new.
#
# The dashed lines are those of an *exponential moving average* of the weights, over the last thousand steps or so. While the
# steps are large, it is ahead by several points: an average lies nearer to the middle of the valley than the place where the
# last step happened to end. When the learning rate has fallen, both are the same.
#
# ## Which parts matter? The paper's ablations
#
# Section 5.6 of the paper takes one idea out of LeViT-128S at a time, A1 to A7, and trains each for 100 epochs on
# ImageNet: every change costs accuracy. Our scale is smaller: `levit_250k_32px` (two stages, three attentions), five epochs
# on CIFAR-10, the same settings for all. What each change is:
#
# | | takes away | puts in its place |
# |---|---|---|
# | A1 | the pyramid | one stage, 8 x 8 tokens throughout |
# | A2 | the convolution stem | one convolution of 4 x 4 pixels with stride 4: patches, as in ViT |
# | A3 | batch normalisation | layer normalisation, once for each block |
# | A5 | the attention's biases | a learned vector for each position, added once after the stem |
# | A6 | wide blocks with small keys | ViT's proportions, at the same number of multiply-adds |
# | A7 | the hardswish in the attention | nothing |
#
# A4 is to take away the teacher. Our base has none, so the last bar asks the other way round: a second head and the model
# in the package as its teacher. `python tools/make_ablations.py` made the numbers.
#
# **Prediction.** Which change costs most, in a network of 8 x 8 tokens? And by how much do two runs differ that differ in
# nothing but the seed?

# %%
ablations = json.loads((RESULTS / "ablations.json").read_text())["networks"]
accuracy = {what: np.array([100 * run["test_accuracy"] for run in entry["runs"]]) for what, entry in ablations.items()}
pairs = [values for values in accuracy.values() if values.size > 1]
spread = np.sqrt(np.mean([np.var(values, ddof=1) for values in pairs]))  # standard deviation of a run
for what, entry in ablations.items():
    gain = accuracy[what].mean() - accuracy["base"].mean()
    cost = f"{entry['parameters'] / 1000:.0f} k parameters, {entry['macs'] / 1e6:.1f} M multiply-adds"
    print(f"{what:27} {cost:45} {accuracy[what].mean():.1f} %, {gain:+.1f}")
print(f"standard deviation from seed to seed: {spread:.2f} points (from {len(pairs)} networks with more than one run)")

# %%
figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
NAMES = {"base": "base", "teacher": "with a teacher (A4)"}
names = [NAMES.get(w, f"{w[:2].upper()}: {w[3:].replace('_', ' ')}") for w in accuracy]
means = [values.mean() for values in accuracy.values()]
colours = [GREY if w == "base" else GREEN if w == "teacher" else BLUE for w in accuracy]
ax.barh(names, means, color=colours, alpha=0.75)
for i, values in enumerate(accuracy.values()):
    ax.plot(values, np.full(values.size, i), "o", color="black", ms=3)
ax.axvline(means[0], color=GREY, ls="--", lw=1)
ax.set(xlabel="right on the test pictures (%); dots: one run each", title="Ablations at small scale, CIFAR-10")
ax.set_xlim(min(map(min, accuracy.values())) - 5, max(map(max, accuracy.values())) + 2)
ax.invert_yaxis()
plt.show()

# %% [markdown]
# Two changes cost far more than a seed does. Patches in place of the convolution stem: nearly ten points. It is the largest loss
# in the paper, too (71.9 to 65.3 %), and here it is a quarter of the arithmetic as well. And layer normalisation in place of
# batch normalisation.
#
# None of the others costs anything here, and some gain. The pyramid is there to save work on large maps; on 8 x 8 tokens, of
# which shrinking leaves 16, the same work buys three blocks that see all 64. A vector for each position is learned
# quickly where there are 64 of them. And what a teacher adds in five epochs cannot be told from what another seed does.
#
# So which parts matter depends on where one asks. What the paper found at its scale, ours neither confirms nor refutes.
#
# **Limitation.** The bars begin far from zero, so look at their ends and not at their lengths. The differences are those of
# a small network after five epochs and with settings that were chosen for the base; another learning rate could close a
# gap. At this scale they say what helps *fast learning*, and the paper's 100 epochs on a million pictures ask for something else.
# And a difference of less than twice the spread from seed to seed is no difference.
#
# ## The same number by several routes
#
# The share of test pictures that our network gets right: from the record of its training, from the diagonal of its
# confusion matrix, by counting logits here, and from the checkpoint on disk. The parameters after the small run: from
# `train` and from our loop. And every step of that run: by the package's AdamW, and by our six lines.

# %%
decays = decay_mask((name, p.shape) for name, p in by_loop.named_parameters())
off = []


class Compared(AdamW):
    """The package's optimiser; beside each of its steps, from the same state, one of our six lines."""

    def step(self, rate):
        of_each = self.weight_decay * decays
        ours, _, _ = adamw_step(self.params, self.grads, self.m, self.v, self.steps + 1, rate, of_each)
        super().step(rate)
        off.append(np.abs(self.params - ours).max())


# %% tags=["final-check"]
routes = [
    tests[-1].accuracy,
    np.trace(tests[-1].confusion) / len(test_set),
    shares["the teacher"],
    evaluate(load_checkpoint(f"{runs.name}/teacher.safetensors"), test_set, batch_size=100).accuracy,
]
fit(small, make_shapes("train", 1024), make_optimizer=Compared)
print([float(share) for share in routes])
print(f"{len(off)} steps; a parameter of ours differs by {max(off):.1e} at most")
assert len(set(routes)) == 1
assert np.array_equal(by_train.flat_data, by_loop.flat_data) and max(off) < 1e-6

# %% [markdown]
# **Next.** [Making it fast](10_making_it_fast.ipynb): where the time of all these steps goes.
#
# ## Exercises
#
# **Exercise 1.** With *label smoothing* $\epsilon$ the target is $1 - \epsilon + \epsilon / K$ for the right class and
# $\epsilon / K$ for each other. What is the smallest possible loss for $K = 10$, $\epsilon = 0.1$, and how large is the lead of
# the right logit there? Check with `ops.cross_entropy_forward`.

# %% tags=["solution"] jupyter={"source_hidden": true}
targets = np.full(10, 0.01) + 0.9 * (np.arange(10) == 3)
smallest = -(targets * np.log(targets)).sum()  # the entropy of the target: the loss is never below
logits = np.log(targets)[None]  # a softmax gives the targets back
loss, _ = ops.cross_entropy_forward(logits, np.array([3]), label_smoothing=0.1)
more, _ = ops.cross_entropy_forward(logits * 1.01, np.array([3]), label_smoothing=0.1)
print(
    f"smallest loss {smallest:.4f} = {loss:.4f}, with a lead of {np.log(0.91 / 0.01):.2f}; with more of it {more:.4f}"
)
assert np.isclose(loss, smallest) and more > loss

# %% [markdown]
# **Exercise 2.** Can a step of Adam be longer than $\eta$? Think of a parameter whose gradient was zero for thousands of
# steps and is 1 now. Derive the step with pen and paper, then run it.

# %% tags=["solution"] jupyter={"source_hidden": true}
theta, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
for t in range(1, 10_001):
    theta, m, v = adamw_step(theta, np.full(1, float(t == 10_000)), m, v, t, rate=1.0)
by_pen = (1 - 0.9) / np.sqrt(1 - 0.999)  # both corrections are 1 by then
print(f"a step of {-theta[0]:.4f} learning rates; with pen and paper {by_pen:.4f}")
assert np.isclose(-theta[0], by_pen, rtol=1e-4)

# %% [markdown]
# **Exercise 3.** Turn the valley by 45 degrees, so that it lies across the axes: the loss is then
# $(u^2 + 100\, w^2) / 2$ with $u = (x + y) / \sqrt2$ and $w = (x - y) / \sqrt2$. Begin at $x = 1.4, y = 0$. Does Adam
# still go straight?

# %% tags=["solution"] jupyter={"source_hidden": true}
turn = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
curvature = turn.T @ np.diag(steepness) @ turn  # symmetric: the gradient is curvature @ theta
theta, m, v, path = np.array([1.4, 0.0]), np.zeros(2), np.zeros(2), []
for t in range(1, 61):
    theta, m, v = adamw_step(theta, curvature @ theta, m, v, t, rate=0.1)
    path.append(turn @ theta)  # along and across the valley
path = np.array(path)
print(f"along {path[9, 0]:+.2f}, across {path[9, 1]:+.2f} after ten steps")
print("it changes the side of the valley", np.count_nonzero(np.diff(np.sign(path[:, 1]))), "times")
assert np.abs(np.abs(path[:, 0]) - np.abs(path[:, 1])).max() > 0.1  # the two no longer move alike
