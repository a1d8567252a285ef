"""Batches of an epoch, made in background threads, the same whatever the threads do.

The order of an epoch follows from (seed, epoch). The random changes of a picture follow from (seed, epoch, step, its
place in the batch), and from nothing else: an interrupted run continues with the batches that it would have seen, and
several processes that share a batch make what one process would have made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from levit_ref.data.augmentation import Augmentation
from levit_ref.data.batch import Batch, make_batch
from levit_ref.data.dataset import Dataset
from levit_ref.preprocessing import Preprocessing

# Names of the streams of random numbers that are drawn from one seed
_ORDER_STREAM = 1
_AUGMENT_STREAM = 2


class Loader:
    """Yields a dataset in batches, every picture exactly once an epoch.

    Batches are evened out: their sizes differ by at most one, so there is no small one at the end, which batch
    normalisation could not use. (An odd number of pictures cannot be cut into pairs: one batch is then three.)

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
        Largest number of pictures in a batch.
    preprocessing : Preprocessing
        The normalisation of the pictures. Its size must be that of the dataset.
    augmentation : Augmentation, optional
        Random changes; by default none.
    seed : int
        At least 0.
    shuffle : bool
        Whether each epoch has an order of its own; otherwise it is the order of the dataset.
    workers : int
        Threads that make batches. With 0, each is made when it is asked for, in the caller's thread.
    prefetch : int
        Batches that are made ahead of the one in use.
    part : (int, int)
        Rank of this process and number of processes. The loader yields this process's part of every batch, as
        :func:`part_of_batch` cuts it. The parts of all processes, one after the other, are the batch, to the bit.

    Raises
    ------
    ValueError
        If a number is out of range, the dataset is empty or has pictures of another size, or a batch has fewer
        pictures than there are processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        preprocessing: Preprocessing,
        augmentation: Augmentation | None = None,
        *,
        seed: int = 0,
        shuffle: bool = True,
        workers: int = 1,
        prefetch: int = 2,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        least = {"batch_size": (batch_size, 1), "seed": (seed, 0), "workers": (workers, 0), "prefetch": (prefetch, 1)}
        for name, (value, minimum) in least.items():
            if value < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {value}")
        if not len(dataset):
            raise ValueError("dataset must hold at least one picture, it is empty")
        if not isinstance(preprocessing, Preprocessing):
            raise TypeError(f"preprocessing must be a Preprocessing, got {type(preprocessing).__name__}")
        if preprocessing.size != dataset.image_shape[1:]:
            (height, width), (_, rows, columns) = preprocessing.size, dataset.image_shape
            raise ValueError(
                f"preprocessing is for pictures of {height} x {width} pixels, those of the dataset have "
                f"{rows} x {columns}; load the dataset with this preprocessing"
            )
        self.dataset = dataset
        self.batch_size = batch_size
        self.preprocessing = preprocessing
        self.augmentation = Augmentation() if augmentation is None else augmentation
        self.seed = seed
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch
        self.part = part
        rank, processes = part
        if not 0 <= rank < processes:
            raise ValueError(f"part must be a rank and a larger number of processes, got {part}")
        smallest = len(dataset) // len(self)
        if smallest < processes:
            raise ValueError(f"a batch of {smallest} pictures cannot be cut over {processes} processes")

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        count = len(self.dataset)
        batches = -(-count // self.batch_size)
        pairs_with_one_left = self.batch_size == 2 and count % 2 == 1 and count > 1
        return batches - 1 if pairs_with_one_left else batches

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Places of the pictures in the dataset, (N,), in the order of an epoch."""
        if not self.shuffle:
            return np.arange(len(self.dataset))
        return np.random.default_rng([self.seed, _ORDER_STREAM, epoch]).permutation(len(self.dataset))

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, or this process's parts of them.

        An error in a thread is raised here, at the batch to which it belongs. The threads end with the iterator: when
        it is exhausted, raises, is closed or is garbage.

        Parameters
        ----------
        epoch : int
            At least 0.
        start_step : int
            The first batch to yield, in ``range(len(loader) + 1)``.

        Yields
        ------
        batch : Batch
        """
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        if not 0 <= start_step <= len(self):
            raise ValueError(f"start_step must be between 0 and {len(self)}, got {start_step}")
        batches = np.array_split(self.order(epoch), len(self))
        tasks = [(indices, epoch, step) for step, indices in enumerate(batches)][start_step:]
        return self._in_background(tasks) if self.workers else (self._make(*task) for task in tasks)

    def _make(self, indices: NDArray[np.int64], epoch: int, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, _AUGMENT_STREAM, epoch, step])
        part = part_of_batch(len(indices), *self.part)
        return make_batch(self.dataset, indices, self.preprocessing, self.augmentation, rng, part=part)

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


def part_of_batch(batch_size: int, rank: int, processes: int) -> slice:
    """The pictures of a batch that one of several processes computes.

    The parts are contiguous, in the order of the ranks, and cover the batch. Their sizes differ by at most one: of 10
    pictures, three processes get 3, 3 and 4.

    Parameters
    ----------
    batch_size : int
        Pictures in the whole batch.
    rank : int
        Of the process, in ``range(processes)``.
    processes : int

    Returns
    -------
    part : slice
        Places in the batch.

    Examples
    --------
    >>> [part_of_batch(10, rank, 3) for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    return slice(batch_size * rank // processes, batch_size * (rank + 1) // processes)
