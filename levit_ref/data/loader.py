"""Batches of an epoch, made in background threads, the same whatever the threads do.

The order of an epoch follows from (seed, epoch) and the random changes of a batch from (seed, epoch, step),
and from nothing else: a run that was interrupted goes on with the very batches it would have seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from levit_ref.data.augment import Batch, make_batch
from levit_ref.data.augmentation import Augmentation
from levit_ref.data.dataset import Dataset

# Names of the streams of random numbers that are drawn from one seed
_ORDER_STREAM = 1
_AUGMENT_STREAM = 2


class Loader:
    """Yields a dataset in batches, every picture exactly once an epoch.

    Batches even out: their sizes differ by at most one, so there is no small one at the end, which batch
    normalisation could not use.  (In pairs an odd number of pictures does not go: one batch is then three.)

    Parameters
    ----------
    dataset
        Any `Dataset`
    batch_size
        Largest number of pictures in a batch
    augmentation
        Normalisation and random changes; by default pixels are only scaled to [0, 1]
    seed
        At least 0
    shuffle
        Whether each epoch has an order of its own; otherwise it is the order of the dataset
    workers
        Number of threads that make batches; 0 makes each when it is asked for, in the caller's thread
    prefetch
        Number of batches that are made ahead of the one in use
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        shuffle: bool = True,
        workers: int = 1,
        prefetch: int = 2,
    ) -> None:
        least = {"batch_size": (batch_size, 1), "seed": (seed, 0), "workers": (workers, 0), "prefetch": (prefetch, 1)}
        for name, (value, minimum) in least.items():
            if value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if not len(dataset):
            raise ValueError("dataset must hold at least one picture, it is empty")
        self.dataset = dataset
        self.batch_size = batch_size
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        count = len(self.dataset)
        batches = -(-count // self.batch_size)
        pairs_with_one_left = self.batch_size == 2 and count % 2 == 1 and count > 1
        return batches - 1 if pairs_with_one_left else batches

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the places of the pictures in the dataset, (N,), in the order of an epoch."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng([self.seed, _ORDER_STREAM, epoch]).permutation(len(self.dataset))

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from `start_step` on.

        What goes wrong in a thread is raised here, at the batch it belongs to.  The threads end with the
        iterator: when it is exhausted, raises, is closed or is garbage.

        Parameters
        ----------
        epoch
            At least 0
        start_step
            The first batch to yield, in ``range(len(loader) + 1)``
        """
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        if not 0 <= start_step <= len(self):
            raise ValueError(f"start_step must be between 0 and {len(self)}, got {start_step}")
        parts = np.array_split(self.order(epoch), len(self))
        tasks = [(part, epoch, step) for step, part in enumerate(parts)][start_step:]
        return self._in_background(tasks) if self.workers else (self._make(*task) for task in tasks)

    def _make(self, indices: NDArray[np.int64], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, _AUGMENT_STREAM, epoch, step])
        pictures, labels = self.dataset.batch(indices), self.dataset.labels[indices]
        return make_batch(pictures, labels, indices, len(self.dataset.classes), self.augmentation, rng)

    def _in_background(self, tasks: list[tuple[NDArray[np.int64], int, int]]) -> Iterator[Batch]:
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="levit-ref-loader")
        pending: deque[Future[Batch]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(self._make, *task))
                if len(pending) > self.prefetch:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
