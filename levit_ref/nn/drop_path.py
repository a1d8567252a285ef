"""Stochastic depth: training leaves a residual branch out of some images."""

from __future__ import annotations

import numpy as np

from levit_ref.ops import Array, drop_path_factor


class DropPath:
    """Draws which images go without a residual branch; one for the whole network, asked by one branch after the other.

    The random numbers belong to the images: they are drawn for the whole batch, of which this process may compute a
    part only. So a result does not depend on how a batch is cut over processes.

    Parameters
    ----------
    drop : float
        Probability of leaving a branch out of an image, in [0, 1).

    Notes
    -----
    Huang et al. 2016, "Deep Networks with Stochastic Depth".
    """

    def __init__(self, drop: float) -> None:
        self.drop = drop
        self.seed(np.random.default_rng(0))

    def seed(self, rng: np.random.Generator, *, batch_size: int | None = None, part: slice = slice(None)) -> None:
        """Draw from ``rng`` from now on.

        Parameters
        ----------
        rng : numpy.random.Generator
        batch_size : int, optional
            Images in the whole batch; by default those that are computed here are all.
        part : slice
            Which of them are computed here.
        """
        self.rng, self.batch_size, self.part = rng, batch_size, part

    def factor(self, x: Array, training: bool) -> Array | None:
        """One factor for each image of ``x`` (B, ...): 0 or ``1 / (1 - drop)``; None where nothing is left out."""
        if not training or self.drop == 0:
            return None
        uniform = self.rng.random(len(x) if self.batch_size is None else self.batch_size)[self.part]
        if len(uniform) != len(x):
            raise ValueError(f"stochastic depth was seeded for {len(uniform)} images of a batch, got {len(x)}")
        return drop_path_factor(uniform, self.drop, x.dtype)
