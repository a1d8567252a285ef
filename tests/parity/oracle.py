"""The third-party oracle: transformers' LeViT with the weights of one of our models.

It is PyTorch, written by other people after the official code, with autograd instead of a backward pass written by
hand. It knows the paper's stem, square images, batch normalisation and attention biases; it has no zero-initialised
norms, which does not matter here since every weight is copied.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import LevitConfig, LevitForImageClassificationWithTeacher

from levit_ref.checkpoints import from_format, to_format
from levit_ref.checkpoints.formats import transformers
from levit_ref.checkpoints.translate import names_of
from levit_ref.nn import BatchNorm, LeViT

Arrays = dict[str, npt.NDArray[Any]]


def make_oracle(model: LeViT) -> LevitForImageClassificationWithTeacher:
    """The same network in transformers, with copies of the model's weights and statistics, in its dtype and mode."""
    config = model.config
    stages = len(config.embed_dims)
    oracle = LevitForImageClassificationWithTeacher(
        LevitConfig(
            image_size=model.image_size[0],
            hidden_sizes=list(config.embed_dims),
            num_attention_heads=list(config.num_heads),
            depths=list(config.depths),
            key_dim=[config.key_dim] * stages,
            mlp_ratio=[int(config.mlp_ratio)] * stages,
            attention_ratio=[int(config.attn_ratio)] * stages,
            num_labels=model.num_classes,
        )
    )
    oracle.to(torch.from_numpy(model.flat_data).dtype)
    state = to_format(model.state_dict(), config, "transformers")
    oracle.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, strict=True)
    return oracle.train(model.training)


def state_of(oracle: LevitForImageClassificationWithTeacher, model: LeViT) -> Arrays:
    """Parameters, running statistics and counters of the oracle under our names."""
    state = {name: tensor.numpy() for name, tensor in oracle.state_dict().items()}
    return from_format(state, model.config, "transformers")


def gradients_of(oracle: LevitForImageClassificationWithTeacher, model: LeViT) -> Arrays:
    """Gradients of the oracle's parameters under our names; a parameter without one is an error."""
    theirs = dict(oracle.named_parameters())
    gradients = {}
    for ours in names_of(model.config):
        name = transformers.name_of(ours, model.config)
        if name in theirs:
            gradient = theirs[name].grad
            assert gradient is not None, f"autograd gave {name} no gradient"
            gradients[ours] = gradient.numpy()
    return gradients


def randomise(model: LeViT, rng: np.random.Generator, *, spread: float = 1.5) -> None:
    """Give every parameter and statistic a random value, so that no term of the arithmetic is zero by initialisation.

    Scaled to keep activations near 1 through all layers, in both modes: weights map unit variance to unit variance,
    branches, which add up, are damped, and the statistics lie around those that the layers really have. Attention
    biases are of the size of trained ones, and their effect on the softmax as large as that of the keys.

    ``spread`` is the largest standard deviation of what enters an activation. Hardswish has kinks at -3 and 3, where
    its derivative jumps by a half: with the default many values lie beyond them; with 0.3 hardly any is close enough
    for the rounding of float32 to put it on the other side.
    """
    before_an_activation = ("conv1.bn.weight", "conv2.bn.weight", "conv3.bn.weight", "mlp.ln1.bn.weight")
    for name, parameter in model.named_parameters():
        if name.endswith("attention_biases"):
            value = rng.normal(0, 1.5, parameter.shape)
        elif parameter.data.ndim > 1:
            value = rng.normal(0, np.prod(parameter.shape[1:]) ** -0.5, parameter.shape)
        elif name.endswith("bn.weight"):
            value = rng.uniform(0.5, 1.5, parameter.shape)
            if name.endswith(before_an_activation):
                value *= spread / 1.5
            elif name.endswith((".attn.proj.ln.bn.weight", ".mlp.ln2.bn.weight")):  # the end of a residual branch
                value *= 0.2
        else:
            value = rng.normal(0, 0.3, parameter.shape)
        parameter.data = value

    training = model.training
    model.train()
    model.flat_buffers[:] = 0
    model(pictures(rng, 4, model.image_size))  # now they are momentum times those of the batch
    model.flat_buffers /= BatchNorm.momentum
    model.train(training)
    buffers = dict(model.named_buffers())
    for name, buffer in buffers.items():
        if name.endswith("running_mean"):
            variance = buffers[name.replace("running_mean", "running_var")]
            buffer += rng.normal(0, 0.3, buffer.shape) * np.sqrt(variance)
        elif name.endswith("running_var"):
            buffer *= rng.uniform(0.5, 2, buffer.shape)
            buffer += buffer.mean() / 4  # over four images the head's narrowest channel is very narrow
        else:
            buffer[...] = 7


def pictures(rng: np.random.Generator, batch: int, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Noise of several scales, (B, 3, H, W), with unit variance.

    White noise would be a poor test: to the deeper layers all of it looks alike, so attention could not tell one value
    from another (no gradient for queries and keys), and batch normalisation would blow up the tiny rest.
    """
    H, W = size
    images = np.zeros((batch, 3, H, W))
    scales = (1, 8, 32, max(H, W))
    for scale in scales:
        coarse = rng.standard_normal((batch, 3, -(-H // scale), -(-W // scale)))
        images += coarse.repeat(scale, axis=2).repeat(scale, axis=3)[:, :, :H, :W]
    return images / len(scales) ** 0.5
