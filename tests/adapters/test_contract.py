"""The contract of an adapter: its page lists every method, and a missing one is named."""

import re
from pathlib import Path

import pytest
from worker_bench import Bench

from velodrome.adapters.contract import Adapter, MissingMethod

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-framework.md"
METHODS = [
    name
    for name, value in vars(Adapter).items()
    if callable(getattr(Adapter, name)) and (name == "__init__" or not name.startswith("_"))
]
REQUIRED = {
    "__init__": ("model", "float32", "cpu", 1, "float32"),
    "version": (),
    "build": ({},),
    "load": ((),),
    "set_dropout": (True,),
    "forward": (0,),
    "gradient": (0,),
    "synchronize": (),
    "loss": (None,),
    "gradients": (None,),
    "output": (None,),
    "kept_shares": (),
}


def _rows_of_the_page() -> dict[str, str]:
    """Read from the page, per method, the cell that says if it is required."""
    rows = re.findall(r"^\| `(\w+)\(.*?\)` \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    return dict(rows)


def test_the_page_lists_exactly_the_contracts_methods() -> None:
    assert sorted(_rows_of_the_page()) == sorted(METHODS)


def test_the_page_marks_the_required_methods() -> None:
    required = {name for name, cell in _rows_of_the_page().items() if not cell.startswith("no")}
    assert required == set(REQUIRED)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_method_is_named(name: str) -> None:
    with pytest.raises(MissingMethod, match=rf"adapter {__name__} has no method {name}\."):
        getattr(_WithoutMethods.__new__(_WithoutMethods), name)(*REQUIRED[name])


class _WithoutMethods(Adapter):
    """Adds nothing to the contract."""


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("version", "lenet"),
        ("set_dropout", "lenet"),
        ("gradients", "lenet"),
        ("output", "copy"),
        ("kept_shares", "probe-dropout"),
    ],
)
def test_a_worker_ends_unsupported_if_the_adapter_lacks_a_method(
    tmp_path: Path, name: str, model: str
) -> None:
    bench = Bench(tmp_path)
    bench.refer(model=model, batch_size=1)
    bench.write_adapter(
        f"{name} = Contract.__dict__[{name!r}]",
        top="from velodrome.adapters.contract import Adapter as Contract",
    )
    failure = bench.run(adapter="trial", model=model, batch_size=1).failure()
    assert failure.status == "unsupported"
    assert f"adapter trial has no method {name}" in failure.reason
