"""Draw ``docs/attention.png``: where heads of a trained model look, and the position biases that they learned.

levit-ref train
python docs/make_attention_figure.py runs/shapes-levit_1m_32px/best.safetensors docs/attention.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from levit_ref.checkpoints import load_model
from levit_ref.data import load_dataset, normalise
from levit_ref.nn import FunctionTap

BLOCK = "stages.0.blocks.0.attn"


def main() -> None:
    """Read the model, run four pictures, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()

    model, metadata = load_model(args.checkpoint)
    test = load_dataset("shapes", "test")
    labels = np.array(test.labels)
    chosen = np.array([np.flatnonzero(labels == k)[0] for k in (4, 6, 7)])
    pictures = test.batch(chosen)  # (3, 3, 32, 32)
    seen: dict[str, np.ndarray] = {}
    tap = FunctionTap(lambda name, value: seen.update({name: value}) if name.startswith(BLOCK) else None)
    with model.inference():
        logits = model(normalise(pictures, metadata.mean, metadata.std), tap=tap)
    probs, bias = seen[f"{BLOCK}.probs"], seen[f"{BLOCK}.bias"]  # (3, heads, N, N), (heads, N, N)
    H, W = model.stages[0].grid.shape
    heads = probs.shape[1]
    query = (H // 2) * W + W // 2
    pixels = model.image_size[0] // H

    figure, axes = plt.subplots(len(chosen) + 1, heads + 1, figsize=(1.75 * (heads + 1), 1.8 * (len(chosen) + 1)))
    for row, picture in enumerate(pictures):
        image = picture.transpose(1, 2, 0)
        guess = test.classes[int(logits[row].argmax())]
        axes[row, 0].imshow(image)
        axes[row, 0].set_ylabel(f"seen as: {guess}", fontsize=9)
        for head in range(heads):
            axis = axes[row, head + 1]
            axis.imshow(image.mean(axis=2), cmap="gray", alpha=0.5)
            weights = probs[row, head, query].reshape(H, W)
            axis.imshow(weights, cmap="viridis", alpha=0.65, extent=(-0.5, W * pixels - 0.5, H * pixels - 0.5, -0.5))
            axis.set_title(f"head {head + 1}" if row == 0 else "", fontsize=9)
        for axis in axes[row]:
            centre = ((query % W + 0.5) * pixels - 0.5, (query // W + 0.5) * pixels - 0.5)
            axis.plot(*centre, "s", markersize=6, markerfacecolor="none", markeredgecolor="red")
    axes[0, 0].set_title("picture", fontsize=9)
    axes[-1, 0].axis("off")
    axes[-1, 0].text(0.5, 0.5, "learned bias\naround the\nsame query", ha="center", va="center", fontsize=9)
    limit = np.abs(bias[:, query]).max()
    for head in range(heads):
        image = axes[-1, head + 1].imshow(bias[head, query].reshape(H, W), cmap="PuOr_r", vmin=-limit, vmax=limit)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(
        f"Attention of the token marked red in the first block of {model.config.name}: bright is looked at",
        fontsize=10,
    )
    figure.tight_layout(rect=(0, 0, 0.92, 0.99))
    bar = figure.add_axes((0.93, 0.03, 0.015, 0.18))
    figure.colorbar(image, cax=bar)
    bar.tick_params(labelsize=7)
    bar.set_title("added\nto scores", fontsize=7)
    figure.savefig(args.output, dpi=130)


if __name__ == "__main__":
    main()
