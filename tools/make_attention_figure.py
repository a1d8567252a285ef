"""Draw ``docs/attention.png``: where the heads of a trained model look, and the position biases that they learned.

levit-ref train
python tools/make_attention_figure.py runs/shapes-levit_250k_32px/best.safetensors docs/attention.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from levit_ref.checkpoints import load_checkpoint
from levit_ref.data import load_dataset
from levit_ref.figures import SIGNED
from levit_ref.inspection import attention_maps, position_bias_around_query, record
from levit_ref.inspection.drawing.canvas import grid_of_axes, mark_token, root_figure, show_picture, show_tokens

BLOCK = "stages.0.blocks.0.attn"
CLASSES = ("star", "ring", "crescent")


def main() -> None:
    """Read the model, run a picture of each class, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()

    checkpoint = load_checkpoint(args.checkpoint)
    model, preprocessing = checkpoint.model, checkpoint.preprocessing
    test = load_dataset("shapes", "test", preprocessing=preprocessing)
    labels = np.array(test.labels)
    pictures = test.batch(np.array([np.flatnonzero(labels == test.classes.index(name))[0] for name in CLASSES]))

    acts = record(model, preprocessing.normalise(pictures), [f"{BLOCK}.probs", "logits"])
    maps = attention_maps(acts, BLOCK)
    bias = position_bias_around_query(model, BLOCK).seen_from(maps.query)  # (heads, H, W)
    heads = len(bias)

    figure, axes = grid_of_axes(None, len(pictures) + 1, heads + 1, extra=-0.25)
    for row, picture in enumerate(pictures):
        show_picture(axes[row, 0], picture)
        axes[row, 0].set_ylabel(f"seen as: {test.classes[int(acts['logits'][row].argmax())]}", fontsize=9)
        for head in range(heads):
            show_tokens(axes[row, head + 1], picture, maps.maps[row, head], maps.keys)
        for ax in axes[row]:
            mark_token(ax, maps.queries, maps.query)
    axes[0, 0].set_title("picture", fontsize=9)
    axes[-1, 0].axis("off")
    axes[-1, 0].text(0.5, 0.5, "learned bias\naround the\nsame token", ha="center", va="center", fontsize=9)
    limit = float(np.abs(bias).max())
    for head in range(heads):
        axes[0, head + 1].set_title(f"head {head}", fontsize=9)
        drawn = axes[-1, head + 1].imshow(bias[head], cmap=SIGNED, vmin=-limit, vmax=limit)
    bar = figure.colorbar(drawn, ax=list(axes[-1]), shrink=0.9, pad=0.01)
    bar.set_label("added to the score", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(f"Where the ringed token looks, first block of {model.config.name}: bright is more", fontsize=11)
    root_figure(figure).savefig(args.output, dpi=130)


if __name__ == "__main__":
    main()
