"""The grid of tokens: how many rows and columns a map has, and where its tokens are on the picture.

A convolution of kernel 3, stride 2 and padding 1 looks at the pixels 2 i - 1, 2 i and 2 i + 1, and shrinking attention
queries every second token, starting with the first. So token (0, 0) of every stage is centred on the same pixel, pixel
(0, 0) in the paper's models, and the others follow at a constant pitch. A map that is merely stretched over the picture
is drawn half a pitch too far to the lower right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from levit_ref.ops import conv2d_output_size


@dataclass(frozen=True)
class TokenGrid:
    """A map of tokens, and its place on the picture.

    Attributes
    ----------
    rows, columns : int
    pitch : int
        Pixels from one token to the next, along either axis.
    origin : float
        Row and column of the pixel at the centre of what token (0, 0) sees. Pixels are counted from 0.
    """

    rows: int
    columns: int
    pitch: int = 1
    origin: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.rows * self.columns

    @property
    def middle(self) -> tuple[int, int]:
        """Row and column of a token in the middle."""
        return self.rows // 2, self.columns // 2

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top edge in pixels, for ``imshow``: each token is a square around its centre."""
        first = self.origin - self.pitch / 2
        return first, first + self.columns * self.pitch, first + self.rows * self.pitch, first

    def after_convolution(self, kernel: int, stride: int, padding: int) -> TokenGrid:
        """The grid of a convolution's output, one token for each of its pixels.

        Notes
        -----
        The arithmetic of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
        2019, section "Arbitrary architectures": centres move by ``(kernel - 1) / 2 - padding`` input steps.
        """
        rows, columns = conv2d_output_size(self.shape, (kernel, kernel), (stride, stride), (padding, padding))
        return TokenGrid(rows, columns, self.pitch * stride, self.origin + self.pitch * ((kernel - 1) / 2 - padding))

    def every(self, stride: int) -> TokenGrid:
        """Every ``stride``-th token of each axis, starting with the first."""
        return replace(
            self, rows=-(-self.rows // stride), columns=-(-self.columns // stride), pitch=self.pitch * stride
        )

    def centre(self, token: tuple[int, int]) -> tuple[float, float]:
        """Row and column of the pixel at the centre of a token, given by its own row and column."""
        return self.origin + self.pitch * token[0], self.origin + self.pitch * token[1]

    def nearest(self, pixel: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the token whose centre is nearest to a pixel, given by its row and column."""
        row, column = (round((place - self.origin) / self.pitch) for place in pixel)
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def index(self, token: tuple[int, int]) -> int:
        """Place of a token, given by row and column, in arrays of shape (..., N, ...).

        Raises
        ------
        ValueError
            If there is no such token.
        """
        row, column = token
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise ValueError(f"there is no token {token} on a map of {self.rows}x{self.columns}")
        return row * self.columns + column
