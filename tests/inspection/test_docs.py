"""The page docs/inspection.md: its list of names is the network's.

``python -m tests.inspection.test_docs`` writes the list anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import levit_ref
from levit_ref import inspection

PAGE = Path(__file__).resolve().parents[2] / "docs" / "inspection.md"
LIST = re.compile(r"(<!-- names: .*? -->\n)(.*?)(<!-- end of names -->)", re.DOTALL)


def names_table() -> str:
    """Every kind of value once: numbers of blocks and convolutions are stars."""
    rows = {}
    for spec in levit_ref.create_model("levit_128s").activation_specs():
        name = re.sub(r"\.\d+\b", ".*", re.sub(r"(conv|act)\d\b", r"\1*", spec.name))
        rows.setdefault(
            name, f"| `{name}` | {' '.join(spec.axes)} | {'x'.join(map(str, spec.shape))} | {spec.meaning} |"
        )
    return "\n".join(["| name | axes | shape | meaning |", "|---|---|---|---|", *rows.values(), ""])


def test_the_list_of_names_is_that_of_the_network() -> None:
    found = LIST.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[2] == names_table()


def test_every_function_and_constant_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    functions = [name for name in inspection.__all__ if not name[0].isupper() or name.isupper()]
    assert len(functions) > 30
    assert [name for name in functions if name not in text] == []


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(LIST.sub(lambda found: found[1] + names_table() + found[3], page), encoding="utf-8")
