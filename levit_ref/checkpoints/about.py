"""What a checkpoint says about its model, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from levit_ref.checkpoints.files import CheckpointError
from levit_ref.nn import LeViTConfig
from levit_ref.preprocessing import Preprocessing

FORMAT_VERSION = 2
"""Of the metadata. Version 1, from before the first release, had no preprocessing."""

DTYPES = ("float32", "float64")
"""In which a model can compute."""


@dataclass(frozen=True)
class About:
    """What is known about a model besides its weights.

    The first five are for whoever makes a :class:`~levit_ref.checkpoints.Checkpoint` to say. The others follow from
    the model: the checkpoint fills them in, and so does :func:`~levit_ref.checkpoints.read_about`.

    Attributes
    ----------
    preprocessing : Preprocessing
        How pictures become the model's input.
    class_names : tuple of str
        In the order of the logits; empty if unknown.
    dataset : str
        What the model was trained on; empty if unknown.
    accuracy : float or None
        On the test pictures of that dataset, between 0 and 1.
    training : dict
        How the model was trained: for those that come with the package the ``commands``, the ``version`` and more.
        Anything that JSON can hold.
    config : LeViTConfig or None
    num_classes : int
    dtype : str
        "float32" or "float64".
    format_version : int
        Of the file; a model that is in none yet has the one that would be written.

    Raises
    ------
    TypeError, ValueError
        If a field has the wrong type or is out of range; the message names it.
    """

    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()
    dataset: str = ""
    accuracy: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    config: LeViTConfig | None = field(default=None, kw_only=True)
    num_classes: int = field(default=0, kw_only=True)
    dtype: str = field(default="", kw_only=True)
    format_version: int = field(default=FORMAT_VERSION, kw_only=True)

    def __post_init__(self) -> None:
        given: dict[str, Any] = vars(self)  # whatever the types above say, a file may have put anything there
        for name, kind in ("preprocessing", Preprocessing), ("dataset", str), ("training", Mapping):
            if not isinstance(given[name], kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {shown(given[name])}")
        names = given["class_names"]
        if not isinstance(names, list | tuple):
            raise TypeError(f"class_names must be a list of strings, got {shown(names)}")
        if wrong := [name for name in names if not isinstance(name, str)]:
            raise TypeError(f"class_names must be strings, got {shown(wrong[0])}")
        object.__setattr__(self, "class_names", tuple(names))
        accuracy = given["accuracy"]
        if accuracy is not None:
            if isinstance(accuracy, bool) or not isinstance(accuracy, int | float):
                raise TypeError(f"accuracy must be a number or None, got {shown(accuracy)}")
            if not 0 <= accuracy <= 1:
                raise ValueError(f"accuracy must be between 0 and 1, got {shown(accuracy)}")
        if self.class_names and self.num_classes and len(self.class_names) != self.num_classes:
            raise ValueError(f"{len(self.class_names)} class names for {self.num_classes} classes")

    def name_of(self, index: int) -> str:
        """The name of a class, or its number if the names are unknown."""
        return self.class_names[index] if self.class_names else str(index)


def to_metadata(about: About) -> dict[str, Any]:
    """The fields of a complete ``About`` as plain data for JSON."""
    assert about.config is not None  # a checkpoint's is complete
    return {
        "format_version": FORMAT_VERSION,
        "config": about.config.to_dict(),
        "num_classes": about.num_classes,
        "dtype": about.dtype,
        "preprocessing": asdict(about.preprocessing),
        "class_names": list(about.class_names),
        "dataset": about.dataset,
        "accuracy": about.accuracy,
        "training": dict(about.training),
    }


def from_metadata(metadata: Any, source: str) -> About:
    """The inverse of :func:`to_metadata`, for data that anybody may have written.

    Parameters
    ----------
    metadata
        What the file says under "model".
    source : str
        The file, which starts every message.

    Raises
    ------
    CheckpointError
        If a field is missing, unknown, of the wrong type or out of range; the message names file and field.
    """
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{source}: holds no model")
    version = metadata.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise CheckpointError(
            f"{source}: format version {shown(version)}, this version of levit_ref reads {FORMAT_VERSION}"
        )
    known = {f.name for f in fields(About)}
    for name in sorted(known ^ metadata.keys()):
        raise CheckpointError(f"{source}: {'unknown' if name not in known else 'missing'} field {shown(name)}")
    num_classes, dtype = metadata["num_classes"], metadata["dtype"]
    if type(num_classes) is not int or num_classes < 1:
        raise CheckpointError(f"{source}: num_classes must be a whole number, at least 1, got {shown(num_classes)}")
    if dtype not in DTYPES:
        raise CheckpointError(f"{source}: dtype must be {' or '.join(DTYPES)}, got {shown(dtype)}")
    for name in "config", "preprocessing":
        if not isinstance(metadata[name], dict):
            raise CheckpointError(f"{source}: {name} must be an object, got {shown(metadata[name])}")
    try:
        config = LeViTConfig.from_dict(metadata["config"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: config: {error}") from error
    try:
        preprocessing = Preprocessing.from_dict(metadata["preprocessing"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: preprocessing: {error}") from error
    try:
        return About(**{**metadata, "config": config, "preprocessing": preprocessing})
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def check_sizes(about: About, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raise unless the arrays of a file have the sizes that its configuration asks for.

    Before the model is built, so that a configuration with absurd numbers costs neither memory nor time. Only the
    arrays whose shapes fix all others are looked at; ``load_state_dict`` compares the rest.

    Parameters
    ----------
    about : About
        Complete.
    shapes : mapping of str to tuple of int
        Of the model's arrays, by name.
    source : str
        The file, which starts every message.

    Raises
    ------
    CheckpointError
        If an array is missing or has another shape.
    """
    config = about.config
    assert config is not None

    def expect(name: str, *shape: int) -> None:
        if name not in shapes:
            raise CheckpointError(f"{source}: missing: {name} {shown(shape)}, which its configuration asks for")
        if shapes[name] != shape:
            raise CheckpointError(f"{source}: {name} is {shapes[name]}, its configuration asks for {shown(shape)}")

    rows, columns = about.preprocessing.size
    C = 3
    for i, conv in enumerate(config.stem, start=1):
        expect(f"stem.conv{i}.linear.weight", conv.channels, C, conv.kernel_size, conv.kernel_size)
        C = conv.channels
        rows, columns = (
            (pixels + 2 * conv.padding - conv.kernel_size) // conv.stride + 1 for pixels in (rows, columns)
        )
    if config.position == "embedding":
        expect("pos_embed", 1, rows * columns, C)
    else:
        expect("stages.0.blocks.0.attn.attention_biases", config.num_heads[0], rows * columns)
    D = config.key_dim
    for stage, (dim, heads, depth) in enumerate(zip(config.embed_dims, config.num_heads, config.depths, strict=True)):
        if stage > 0:
            passage, heads_between = f"stages.{stage}.downsample", config.downsample_heads[stage - 1]
            E = int(config.downsample_attn_ratio * D)
            expect(f"{passage}.attn_downsample.kv.linear.weight", heads_between * (D + E), C)
            expect(f"{passage}.attn_downsample.q.ln.linear.weight", heads_between * D, C)
            expect(f"{passage}.mlp.ln1.linear.weight", int(dim * config.downsample_mlp_ratio), dim)
        E = int(config.attn_ratio * D)
        for block in range(depth):
            expect(f"stages.{stage}.blocks.{block}.attn.qkv.linear.weight", heads * (2 * D + E), dim)
            expect(f"stages.{stage}.blocks.{block}.mlp.ln1.linear.weight", int(dim * config.mlp_ratio), dim)
        C = dim
    expect("head.linear.weight", about.num_classes, C)


def shown(value: Any) -> str:
    """A value for a message: its start, if it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
