"""Suggestions for wrong names."""

from __future__ import annotations

import pytest

from levit_ref._suggest import did_you_mean, nearest, the_nearest

LAYERS = ["stages.0.blocks.0.attn.probs", "stages.0.blocks.1.attn.probs", "stages.0.blocks.1.mlp.act", "pooled"]


def test_the_most_similar_first() -> None:
    assert nearest("levit_129", ["levit_1m_32px", "levit_128s", "levit_128", "resnet"], n=2) == [
        "levit_128",
        "levit_128s",
    ]
    assert nearest("unicorn", LAYERS) == []
    assert nearest("unicorn", [], cutoff=0) == []


def test_a_pattern_is_compared_with_patterns() -> None:
    assert nearest("stages.*.atn.probs", LAYERS, n=1) == ["stages.*.blocks.*.attn.probs"]
    assert nearest("stages.?.blocks.0.attn.prob", LAYERS) == [
        "stages.*.blocks.*.attn.probs",
        "stages.*.blocks.*.mlp.act",
    ]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("cifar", "; did you mean cifar10 or cifar100?"),
        ("shape", "; did you mean shapes?"),
        ("imagenet", ""),
        (10, ""),
    ],
)
def test_the_end_of_a_sentence_or_nothing(wrong: object, sentence: str) -> None:
    assert did_you_mean(wrong, ["shapes", "cifar100", "cifar10"]) == sentence


def test_a_clause_that_is_never_empty() -> None:
    assert the_nearest("zzz", ["a", "b"]) == "the nearest are b, a"
