from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import levit_ref
from levit_ref.inspection import count_macs, count_parameters
from levit_ref.inspection.ledger import cost_ledger

from .conftest import Run, error_line


def test_json_says_what_the_ledger_says(run: Run) -> None:
    result = run("summary", "levit_1m_32px", "--num-classes", "10", "--json")
    data = json.loads(result.stdout)
    model = levit_ref.create_model("levit_1m_32px", num_classes=10)
    ledger = cost_ledger(model)
    assert result.exit_code == 0
    assert data["model"] == "levit_1m_32px"
    assert (data["num_classes"], data["image_size"]) == (10, [32, 32])
    assert data["parameters"] == count_parameters(model)
    assert data["macs"] == count_macs(model)
    assert data["activation_bytes"] == ledger.activation_bytes
    assert [row["name"] for row in data["components"]] == [row.name for row in ledger.rows]
    assert [row["activation_bytes"] for row in data["components"]] == [row.activation_bytes for row in ledger.rows]
    assert data["microseconds"] is None
    assert data["published"] is None


@pytest.mark.parametrize(
    ("name", "parameters", "macs", "published"),
    [
        ("levit_128s", 7_777_058, 305_108_946, ("7.8 M", "305 M")),
        ("levit_256", 18_893_876, 1_128_024_056, ("18.9 M", "1,120 M")),
    ],
)
def test_totals_stand_beside_the_papers(
    run: Run, name: str, parameters: int, macs: int, published: tuple[str, str]
) -> None:
    lines = run("summary", name).stdout.splitlines()
    (parameter_line,) = (line for line in lines if line.startswith("parameters"))
    (mac_line,) = (line for line in lines if line.startswith("multiply-adds"))
    assert f"{parameters:,}" in parameter_line
    assert published[0] in parameter_line
    assert f"{macs:,}" in mac_line
    assert published[1] in mac_line
    if name == "levit_256":
        assert "+0.72%" in mac_line  # 1120 M is printed, 1128 M counted by the official code


@pytest.mark.parametrize("change", [("--num-classes", "10"), ("--image-size", "192")])
def test_the_papers_totals_are_for_its_own_task_only(run: Run, change: tuple[str, str]) -> None:
    assert "paper" in run("summary", "levit_128s").stdout
    assert "paper" not in run("summary", "levit_128s", *change).stdout


def test_group_lines_are_the_sums_of_their_components(run: Run) -> None:
    rows = _table(run("summary", "levit_1m_32px").stdout)
    assert {"stem", "stages.0", "stages.1", "stages.2", "head", "total"} <= {name for name, _ in rows}
    for group in "stem", "stages.0", "stages.1", "stages.2":
        start = next(i for i, (name, _) in enumerate(rows) if name == group)
        members = []
        for name, numbers in rows[start + 1 :]:
            if not name.startswith("  "):
                break
            members.append(numbers[0])
        assert len(members) >= 2
        assert sum(members) == rows[start][1][0]


def test_time_is_measured_on_request(run: Run) -> None:
    result = run("summary", "levit_1m_32px", "--time", "--batch-size", "2", "--repetitions", "3", "--json")
    data = json.loads(result.stdout)
    times = [row["microseconds"] for row in data["components"]]
    assert data["batch_size"] == 2
    assert min(times) > 0
    assert data["microseconds"] >= max(times)
    assert "time µs" in run("summary", "levit_1m_32px", "--time", "--repetitions", "1").stdout
    assert "time µs" not in run("summary", "levit_1m_32px").stdout


def test_image_size_may_be_no_square(run: Run) -> None:
    data = json.loads(run("summary", "levit_1m_32px", "--image-size", "48x32", "--json").stdout)
    assert data["image_size"] == [48, 32]
    assert data["components"][0]["output_shape"] == [32, 48, 32]


def test_list_names_every_variant_uncut(run: Run) -> None:
    lines = run("summary", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines[2:]] == levit_ref.list_models()
    assert [
        config["name"] for config in json.loads(run("summary", "--list", "--json").stdout)
    ] == levit_ref.list_models()


def test_a_checkpoint_and_its_run_folder_are_models_too(run: Run, checkpoint: Path) -> None:
    data = [json.loads(run("summary", path, "--json").stdout) for path in (checkpoint, checkpoint.parent)]
    assert data[0] == data[1]
    assert (data[0]["model"], data[0]["num_classes"]) == ("levit_1m_32px", 10)
    pretrained = json.loads(run("summary", "levit_1m_32px-cifar10", "--json").stdout)
    assert pretrained == json.loads(run("summary", "--model", "levit_1m_32px-cifar10", "--json").stdout)
    assert (pretrained["model"], pretrained["num_classes"]) == ("levit_1m_32px", 10)


def test_errors_name_what_is_wrong(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    assert "did you mean" in error_line(run("summary", "levit_128z"))
    assert "levit_128s" in error_line(run("summary", "levit_128z"))
    assert "a variant's name" in error_line(run("summary"))
    assert "two models for one command" in error_line(run("summary", "levit_128", "-m", "levit_192"))
    assert "no such checkpoint file" in error_line(run("summary", tmp_path / "missing.safetensors"))
    assert "without a checkpoint" in error_line(run("summary", tmp_path))
    assert "a trained model has its own" in error_line(run("summary", checkpoint, "--num-classes", "3"))
    assert "'4y'" in error_line(run("summary", "levit_128s", "--image-size", "4y"))
    assert "image_size" in error_line(run("summary", "levit_128s", "--image-size", "0"))
    assert "--num-classes" in error_line(run("summary", "levit_128s", "--num-classes", "0"))


def _table(text: str) -> list[tuple[str, list[int]]]:
    """Name, with its indentation, and integers of every line of the ledger."""
    rows = []
    for line in text.splitlines():
        match = re.match(r"( *[a-z][\w.]*) {2,}(.*)", line)
        if match:
            numbers = [int(word.replace(",", "")) for word in match[2].split() if re.fullmatch(r"[\d,]+", word)]
            rows.append((match[1].rstrip(), numbers[-1:]))
    return [(name, numbers) for name, numbers in rows if numbers]
