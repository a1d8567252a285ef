"""Epochs: every picture once, the same batches from any step, threads that end."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

import levit_ref
from levit_ref.data import ArrayDataset, Augmentation, Batch, Loader, part_of_batch
from levit_ref.files import FileError
from levit_ref.preprocessing import Preprocessing

PLAIN = Preprocessing((4, 4))
RANDOM = Augmentation(crop_padding=1, flip=0.5, cutout=2, brightness=0.3, mixup=0.5, cutmix=0.5)
EVERYTHING = Augmentation(
    crop_padding=3,
    crop_fill="reflect",
    flip=0.5,
    cutout=2,
    brightness=0.3,
    contrast=0.4,
    saturation=0.5,
    mixup=0.5,
    cutmix=0.8,
    mix_probability=0.9,
)


def dataset_of(count: int) -> ArrayDataset:
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)
    return ArrayDataset(images, np.arange(count) % 3, ["a", "b", "c"])


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for x, y in zip(one[:5], other[:5], strict=True):
            np.testing.assert_array_equal(x, y, strict=True)
        assert one[5:] == other[5:]


@given(st.integers(1, 60), st.integers(1, 13), st.booleans())
def test_every_picture_once_in_even_batches(count: int, batch_size: int, shuffle: bool) -> None:
    loader = Loader(dataset_of(count), batch_size, PLAIN, shuffle=shuffle, workers=0)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader)
    sizes = [len(batch.images) for batch in batches]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(count))
    assert max(sizes) - min(sizes) <= 1
    pairs_with_one_left = batch_size == 2 and count % 2 == 1 and count > 1
    assert max(sizes) <= batch_size + pairs_with_one_left
    if count > batch_size >= 2:
        assert min(sizes) >= 2
    for batch in batches:
        np.testing.assert_array_equal(batch.targets, np.eye(3)[batch.indices % 3])


def test_an_epoch_has_an_order_of_its_own() -> None:
    loader = Loader(dataset_of(50), 8, PLAIN, seed=3)
    orders = [loader.order(epoch).tolist() for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != Loader(dataset_of(50), 8, PLAIN, seed=4).order(0).tolist()
    assert Loader(dataset_of(50), 8, PLAIN, shuffle=False).order(1).tolist() == list(range(50))


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_the_same_batches_from_any_step_with_any_threads(workers: int, prefetch: int) -> None:
    whole = list(Loader(dataset_of(43), 5, PLAIN, RANDOM, seed=9, workers=0).epoch(2))
    loader = Loader(dataset_of(43), 5, PLAIN, RANDOM, seed=9, workers=workers, prefetch=prefetch)
    for start in range(len(loader) + 1):
        assert_same(list(loader.epoch(2, start)), whole[start:])


@pytest.mark.parametrize("backend", [backend.name for backend in levit_ref.backends() if backend.available])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_parts_of_several_processes_are_the_batch(backend: str, processes: int, workers: int) -> None:
    colours = Preprocessing((4, 4), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    with levit_ref.use_backend(backend):
        whole = list(Loader(dataset_of(43), 8, colours, EVERYTHING, seed=9, workers=0).epoch(2))
        parts = [
            list(
                Loader(dataset_of(43), 8, colours, EVERYTHING, seed=9, workers=workers, part=(rank, processes)).epoch(2)
            )
            for rank in range(processes)
        ]
    assert {len(batch.images) for batch in whole} == {7, 8}
    from_elsewhere = 0
    for step, batch in enumerate(whole):
        of_this_step = [of_rank[step] for of_rank in parts]
        for name, *arrays in zip(Batch._fields[:5], *(part[:5] for part in of_this_step), strict=False):
            assert np.concatenate(arrays).tobytes() == np.ascontiguousarray(getattr(batch, name)).tobytes(), name
        for rank, part in enumerate(of_this_step):
            assert part.batch_size == len(batch.images)
            assert part.part == slice(*part_of_batch(part.batch_size, rank, processes).indices(part.batch_size))
            from_elsewhere += len(set(part.partners) - set(part.indices))
        assert (batch.shares < 1).any()
    assert (from_elsewhere > 0) == (processes > 1)


@given(st.integers(1, 40), st.integers(1, 7))
def test_parts_are_even_and_cover_the_batch(batch_size: int, processes: int) -> None:
    places = [np.arange(batch_size)[part_of_batch(batch_size, rank, processes)] for rank in range(processes)]
    assert np.concatenate(places).tolist() == list(range(batch_size))
    lengths = [len(part) for part in places]
    assert max(lengths) - min(lengths) <= 1


def test_parts_that_cannot_be() -> None:
    for part in ((1, 1), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="part must be a rank and a larger number of processes"):
            Loader(dataset_of(10), 5, PLAIN, part=part)
    Loader(dataset_of(10), 4, PLAIN, part=(2, 3))
    with pytest.raises(ValueError, match="a batch of 3 pictures cannot be cut over 4 processes"):
        Loader(dataset_of(10), 4, PLAIN, part=(0, 4))


def test_a_preprocessing_of_other_pictures_is_refused() -> None:
    with pytest.raises(ValueError, match="is for pictures of 4 x 6 pixels, those of the dataset have 4 x 4"):
        Loader(dataset_of(10), 4, Preprocessing((4, 6)))
    with pytest.raises(TypeError, match="preprocessing must be a Preprocessing, got Augmentation"):
        Loader(dataset_of(10), 4, RANDOM)


def test_epochs_and_seeds_change_the_augmentation() -> None:
    def images(seed: int, epoch: int) -> NDArray[np.float32]:
        loader = Loader(dataset_of(8), 8, PLAIN, RANDOM, seed=seed, shuffle=False)
        return next(iter(loader.epoch(epoch))).images

    np.testing.assert_array_equal(images(0, 0), images(0, 0))
    assert not np.array_equal(images(0, 0), images(0, 1))
    assert not np.array_equal(images(0, 0), images(1, 0))


def test_without_augmentation_pixels_are_scaled_to_one() -> None:
    dataset = dataset_of(6)
    (batch,) = Loader(dataset, 6, PLAIN, shuffle=False).epoch(0)
    np.testing.assert_allclose(batch.images, dataset.images / 255, atol=1e-6)
    np.testing.assert_array_equal(batch.targets, np.eye(3)[dataset.labels])


class SlowOrBad(ArrayDataset):
    """A dataset that takes its time, counts, and fails at one picture."""

    def __init__(self, count: int, bad: int | None = None) -> None:
        base = dataset_of(count)
        super().__init__(base.images, base.labels, base.classes)
        self.bad = bad
        self.made: list[str] = []  # the thread that made each batch

    def batch(self, indices: ArrayLike) -> NDArray[np.uint8]:
        time.sleep(0.005)
        self.made.append(threading.current_thread().name)
        if self.bad in np.asarray(indices):
            raise FileError(f"picture_{self.bad}.png: cannot be read as a picture")
        return super().batch(indices)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("levit-ref-loader")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_error_in_a_thread_is_raised_at_its_batch(workers: int) -> None:
    loader = Loader(SlowOrBad(40, bad=22), 4, PLAIN, shuffle=False, workers=workers)
    seen = []
    with pytest.raises(FileError, match=r"^picture_22\.png: cannot be read"):
        for batch in loader.epoch(0):
            seen.append(batch.indices[0])
    assert seen == [0, 4, 8, 12, 16]
    assert loader_threads() == []


def test_the_threads_end_with_the_epoch() -> None:
    dataset = SlowOrBad(20)
    list(Loader(dataset, 4, PLAIN, workers=2).epoch(0))
    assert len(dataset.made) == 5
    assert all(name.startswith("levit-ref-loader") for name in dataset.made)
    assert loader_threads() == []


def test_the_threads_end_when_the_consumer_leaves_early() -> None:
    dataset = SlowOrBad(400)
    with closing(Loader(dataset, 4, PLAIN, workers=2, prefetch=3).epoch(0)) as batches:
        next(batches)
        assert loader_threads() != []
    assert loader_threads() == []
    for _ in Loader(dataset, 4, PLAIN, workers=2, prefetch=3).epoch(0):
        break
    assert loader_threads() == []
    assert len(dataset.made) <= 2 * (1 + 3 + 1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_the_threads_end_when_the_consumer_is_interrupted(interruption: type[BaseException]) -> None:
    def train() -> None:
        for step, _ in enumerate(Loader(SlowOrBad(400), 4, PLAIN, workers=2).epoch(0)):
            if step == 2:
                raise interruption

    with pytest.raises(interruption):
        train()
    assert loader_threads() == []


def test_batches_are_made_ahead_but_not_too_far() -> None:
    dataset = SlowOrBad(400)
    with closing(Loader(dataset, 4, PLAIN, prefetch=3).epoch(0)) as batches:
        for step in range(4):
            next(batches)
            deadline = time.monotonic() + 5
            while len(dataset.made) < step + 4 and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(0.02)  # time enough to go too far
            assert len(dataset.made) == step + 1 + 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"prefetch": 0}, "prefetch must be at least 1, got 0"),
    ],
)
def test_wrong_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(dataset_of(4), **{"batch_size": 2, "preprocessing": PLAIN, **options})


def test_wrong_epochs_and_steps() -> None:
    loader = Loader(dataset_of(4), 2, PLAIN)
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        loader.epoch(-1)
    for step in (-1, 3):
        with pytest.raises(ValueError, match=f"start_step must be between 0 and 2, got {step}"):
            loader.epoch(0, step)
    with pytest.raises(ValueError, match="dataset must hold at least one picture"):
        Loader(dataset_of(0), 2, PLAIN)
