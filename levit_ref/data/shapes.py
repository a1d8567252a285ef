"""``shapes``: a generated dataset of 32 x 32 colour pictures of ten shapes, the same bits on every machine.

Each picture shows one of ten outlines at a random place, size and angle, in a random colour on a random textured
ground. Colours say nothing about the class, and dark on light is as frequent as light on dark. So no fixed weighting
of pixels can name the shape: a network has to look at how the pixels relate.

Identical everywhere: the random numbers are raw 64-bit outputs of PCG64 (NumPy guarantees those, but not the numbers
that ``Generator`` makes of them), and pictures are drawn with + - * /, square root, minimum and maximum only, whose
results IEEE 754 fixes to the last bit. No sine: a rotation is the rational point
((1 - t^2) / (1 + t^2), 2t / (1 + t^2)) of the unit circle. No sum over an axis: its order could differ.

Axes: ``n`` pictures that are drawn together.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from levit_ref.data.dataset import ArrayDataset, Dataset
from levit_ref.data.outlines import OUTLINES, Field
from levit_ref.data.records import DatasetRecord, Request

SIDE = 32  # pixels
DEFAULT_SIZES = {"train": 10_000, "test": 2_000}

_CHUNK = 500  # pictures drawn together; part of the definition: each chunk has random numbers of its own
_CELLS = 5  # knots on each side of the grid from which the ground's soft spots are interpolated
_PLACE, _COLOURS, _STRIPES, _SPOTS = 5, 6, 4, 2 * _CELLS**2  # random numbers of a picture, its grain apart
_SPLIT_STREAMS = {"train": 0, "test": 1}


def _load(request: Request) -> Dataset:
    if request.data_dir is not None:
        raise ValueError(f"shapes is generated and takes no data_dir, got {os.fspath(request.data_dir)}")
    return request.fitted(make_shapes(request.split, request.size, request.seed))


SHAPES = DatasetRecord(
    name="shapes",
    help="generated",
    mean=(0.5, 0.5, 0.5),
    std=(0.2025, 0.2025, 0.2025),
    load=_load,
    settings={
        "model": "levit_250k_32px",
        "epochs": 8,
        "batch_size": 32,
        "lr": 3e-3,
        "label_smoothing": 0.0,
        "clip_mode": "none",
        # A flip never changes a label: each shape is its own mirror image, turned. Place and colour differ already.
        "crop_padding": 2,
        "crop_fill": "reflect",
        "flip": 0.5,
    },
)


def make_shapes(split: str, size: int | None = None, seed: int = 0) -> ArrayDataset:
    """Generate one split.

    Parameters
    ----------
    split : {"train", "test"}
        They come from separate streams of random numbers.
    size : int, optional
        Number of pictures, by default 10,000 for training and 2,000 for testing. The first n pictures of a larger set
        are the set of size n.
    seed : int
        At least 0; each seed is another dataset.

    Returns
    -------
    dataset : ArrayDataset
        Pictures (size, 3, 32, 32). Every class is equally frequent in each 500 pictures.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if split not in DEFAULT_SIZES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    size = DEFAULT_SIZES[split] if size is None else size
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    images = np.empty((size, 3, SIDE, SIDE), np.uint8)
    labels = np.empty(size, np.int64)
    for chunk, start in enumerate(range(0, size, _CHUNK)):
        part = slice(start, min(start + _CHUNK, size))
        images[part], labels[part] = _draw_chunk(_SPLIT_STREAMS[split], chunk, seed, part.stop - start)
    return ArrayDataset(images, labels, tuple(OUTLINES))


def _draw_chunk(stream: int, chunk: int, seed: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The first ``count`` pictures of a chunk, uint8 (count, 3, 32, 32), and their labels (count,)."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, stream, chunk]))
    # All numbers of the whole chunk are drawn even if few pictures are: a prefix stays a prefix.
    order = np.argsort(bits.random_raw(_CHUNK), kind="stable")
    raw = bits.random_raw((_CHUNK, _PLACE + _COLOURS + _STRIPES + _SPOTS))
    splits = np.cumsum([_PLACE, _COLOURS, _STRIPES])
    place, colours, stripe, spot = np.split(_uniform(raw[:count].T), splits)  # (draws, n) each
    # eight bytes of grain, one for each of eight pixels, from every 64 bits, lowest first
    grain = bits.random_raw((_CHUNK, SIDE, SIDE // 8)).astype("<u8").view(np.uint8)[:count]  # (n, 32, 32)

    labels = (order % len(OUTLINES))[:count]
    coverage = _coverage(labels, place)  # (n, 1, 32, 32)
    ground_colour, shape_colour = _colours(colours)  # (n, 3, 1, 1)
    spots, shading = _soft_spots(spot)  # (n, 1, 32, 32), within [-1, 1]
    stripes = _stripes(stripe)  # (n, 1, 32, 32), within [-1, 1]
    grain_field = (grain[:, None].astype(np.float32) - 127.5) / 127.5  # (n, 1, 32, 32), within [-1, 1]

    ground_texture = np.float32(0.07) * spots + np.float32(0.05) * stripes
    shape_texture = np.float32(0.07) * shading
    texture = ground_texture + coverage * (shape_texture - ground_texture) + np.float32(0.02) * grain_field
    colour = ground_colour + coverage * (shape_colour - ground_colour)  # (n, 3, 32, 32)
    # within [0.01, 0.99]: colours are within [0.15, 0.85], and textures stay within 0.14
    pixels = (colour + texture) * np.float32(255) + np.float32(0.5)
    return pixels.astype(np.uint8), labels.astype(np.int64)


def _uniform(raw: NDArray[np.uint64]) -> Field:
    """64 random bits as a multiple of 2^-24 in [0, 1): exact in float32."""
    return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _coverage(labels: NDArray[np.int64], draws: Field) -> Field:
    """The share of each pixel that the shape covers, (n, 1, 32, 32), within [0, 1].

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
    draws : ndarray of float32, shape (5, n)
        Size, x, y, angle within a quarter turn, quarter turn.
    """
    size, x, y, angle, quarter = draws
    radius = 9.25 + 3.5 * size  # pixels
    margin = radius + 0.5  # the whole shape lies inside the picture
    cos, sin = (1 - angle * angle) / (1 + angle * angle), 2 * angle / (1 + angle * angle)
    for turns in (1, 2, 3):
        turned = quarter >= np.float32(turns / 4)
        cos, sin = np.where(turned, -sin, cos), np.where(turned, cos, sin)

    pixel = np.arange(SIDE, dtype=np.float32) + 0.5  # centres
    dx = (pixel - (margin + x * (SIDE - 2 * margin))[:, None])[:, None, :]  # (n, 1, 32)
    dy = (pixel - (margin + y * (SIDE - 2 * margin))[:, None])[:, :, None]  # (n, 32, 1)
    cos, sin, radius = cos[:, None, None], sin[:, None, None], radius[:, None, None]
    u, v = (cos * dx + sin * dy) / radius, (cos * dy - sin * dx) / radius  # (n, 32, 32)

    distance = np.empty_like(u)  # from the border, in units of the radius
    for k, outline in enumerate(OUTLINES.values()):
        members = labels == k
        distance[members] = outline(u[members], v[members])
    return np.minimum(np.maximum(np.float32(0.5) - distance * radius, 0), 1)[:, None]


def _colours(draws: Field) -> tuple[Field, Field]:
    """The colours of ground and shape, (n, 3, 1, 1) each, within [0.15, 0.85].

    On the circle of values, each channel of the shape lies 0.3 to 0.7 of a turn from the ground's: they
    differ by 0.21 to 0.49 in every channel, which no texture bridges.
    """
    ground, turn = draws[:3].T, np.float32(0.3) + np.float32(0.4) * draws[3:].T  # (n, 3)
    shape = ground + turn
    shape -= shape >= 1
    low, span = np.float32(0.15), np.float32(0.7)
    return (low + span * ground)[:, :, None, None], (low + span * shape)[:, :, None, None]


def _soft_spots(draws: Field) -> tuple[Field, Field]:
    """Two fields of soft spots, (n, 1, 32, 32), within [-1, 1]: bilinear between random knots."""
    cell = SIDE / (_CELLS - 1)  # pixels between knots
    position = (np.arange(SIDE, dtype=np.float32) + 0.5) / np.float32(cell)
    left = position.astype(np.int64)  # (32,), the knot before each pixel
    share = position - left.astype(np.float32)  # (32,), of the knot after it
    fields = []
    for k in range(2):
        knots = draws[k * _CELLS**2 : (k + 1) * _CELLS**2].T.reshape(-1, _CELLS, _CELLS) * 2 - 1
        rows = knots[:, left] * (1 - share)[:, None] + knots[:, left + 1] * share[:, None]  # (n, 32, cells)
        field = rows[:, :, left] * (1 - share) + rows[:, :, left + 1] * share  # (n, 32, 32)
        fields.append(field[:, None])
    return fields[0], fields[1]


def _stripes(draws: Field) -> Field:
    """Straight stripes, (n, 1, 32, 32), within [-1, 1].

    Parameters
    ----------
    draws : ndarray of float32, shape (4, n)
        The direction's two components, the period, the phase.
    """
    across, down, period, phase = draws[:, :, None, None]  # (n, 1, 1) each
    x = np.arange(SIDE, dtype=np.float32)
    # waves a pixel along each axis, between -1/5 and 1/5; a triangular wave needs no sine
    rate = np.float32(0.4) * (1 - np.float32(0.6) * period)
    turns = (across - np.float32(0.5)) * rate * x + (down - np.float32(0.5)) * rate * x[:, None] + phase
    return (np.abs((turns - np.floor(turns)) * 4 - 2) - 1)[:, None]
