"""Where the tokens of every map stand on the picture, and which attention layers a model has.

A convolution of kernel 3, stride 2 and padding 1 looks at the pixels 2 i - 1, 2 i and 2 i + 1, and shrinking attention
asks for every second token from the first one on. So token (0, 0) of every stage stands on the same pixel, pixel
(0, 0) in the paper's models, and the others a pitch apart: a map that is merely stretched over the picture is drawn
half a pitch too far to the lower right.
"""

from __future__ import annotations

from dataclasses import dataclass

from levit_ref.inspection.names import nearest
from levit_ref.nn import LeViT
from levit_ref.nn.attention import AttentionDownsample, BiasedAttention


@dataclass(frozen=True)
class TokenGrid:
    """A map of tokens, laid on the picture.

    Attributes
    ----------
    rows, columns : int
    pitch : int
        Pixels from one token to the next, along either axis.
    origin : float
        Row and column of the pixel in the middle of what token (0, 0) sees of the picture. Pixels are counted from 0.
    """

    rows: int
    columns: int
    pitch: int
    origin: float

    @property
    def tokens(self) -> int:
        """How many there are."""
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

    def centre(self, token: tuple[int, int]) -> tuple[float, float]:
        """Row and column of the pixel on which a token, given by its own row and column, stands."""
        return self.origin + self.pitch * token[0], self.origin + self.pitch * token[1]

    def nearest(self, pixel: tuple[int, int]) -> tuple[int, int]:
        """Row and column of the token that stands nearest to a pixel, given by its row and column."""
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


@dataclass(frozen=True)
class AttentionLayer:
    """An attention of a model.

    Attributes
    ----------
    name : str
        As in the names of parameters and activations, e.g. ``stages.0.blocks.1.attn``.
    module : BiasedAttention
    keys, queries : TokenGrid
    """

    name: str
    module: BiasedAttention
    keys: TokenGrid
    queries: TokenGrid

    @property
    def shrinks(self) -> bool:
        """Whether it leads to a smaller map; such a layer has no residual path around it."""
        return isinstance(self.module, AttentionDownsample)

    @property
    def label(self) -> str:
        """A short name for an axis: ``0.blocks.1``, or ``0→1`` where attention shrinks."""
        stage = int(self.name.split(".")[1])
        return f"{stage - 1}→{stage}" if self.shrinks else self.name.removeprefix("stages.").removesuffix(".attn")


def stem_grid(model: LeViT, convs: int | None = None) -> TokenGrid:
    """The map behind the first ``convs`` convolutions of the stem, or behind the whole stem.

    Notes
    -----
    The arithmetic of Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
    2019, section "Arbitrary architectures": centres move by ``(kernel - 1) / 2 - padding`` input steps each time.
    """
    rows, columns = model.image_size
    pitch, origin = 1, 0.0
    for conv in model.config.stem[:convs]:
        origin += pitch * ((conv.kernel_size - 1) / 2 - conv.padding)
        pitch *= conv.stride
        rows, columns = ((size + 2 * conv.padding - conv.kernel_size) // conv.stride + 1 for size in (rows, columns))
    return TokenGrid(rows, columns, pitch, origin)


def stage_grid(model: LeViT, stage: int) -> TokenGrid:
    """The map of tokens inside a stage, behind its shrinking attention if it has one."""
    if not 0 <= stage < len(model.stages):
        raise ValueError(f"{model.config.name} has stages 0 to {len(model.stages) - 1}, got {stage}")
    stem = stem_grid(model)
    pitch = stem.pitch
    for module in model.stages[1 : stage + 1]:
        assert module.downsample is not None
        pitch *= module.downsample.attn_downsample.stride
    return TokenGrid(*model.stages[stage].resolution, pitch, stem.origin)


def attention_layers(model: LeViT) -> dict[str, AttentionLayer]:
    """All attentions of a model by name, in the order of execution."""
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, BiasedAttention):
            stage = int(name.split(".")[1])
            keys = stage_grid(model, stage - isinstance(module, AttentionDownsample))
            layers[name] = AttentionLayer(name, module, keys, stage_grid(model, stage))
    return layers


def attention_layer(model: LeViT, name: str) -> AttentionLayer:
    """One attention of a model.

    Raises
    ------
    ValueError
        If it has none of this name; the message has the nearest.
    """
    layers = attention_layers(model)
    if name not in layers:
        raise ValueError(f"{model.config.name} has no attention {name!r}; {nearest(name, layers)}")
    return layers[name]
