"""What the study published, to be set beside ours: another machine and another definition.

The figures lie in published.toml with where they are from. What is not there was not given.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from velodrome.agents.environments.versions import split

FIGURES = Path(__file__).with_name("published.toml")
NOT_IN_STUDY = "not in the study"
NOT_GIVEN = "not given"


@dataclass(frozen=True)
class Published:
    """values: ms by (framework, model, batch size, phase); phase may be `total`."""

    work: str
    source: str
    machine: str
    device: str
    definition: tuple[str, ...]
    frameworks: Mapping[str, str]
    values: Mapping[tuple[str, str, int, str], float]

    def text(self, framework: str, model: str, batch_size: int, phase: str) -> str:
        """E.g. `1.6 ms`; words where there is no figure. A version of a framework is it, too."""
        name, _ = split(framework)
        if name not in self.frameworks:
            return NOT_IN_STUDY
        value = self.values.get((name, model, batch_size, phase))
        return NOT_GIVEN if value is None else f"{value} ms"

    def name(self, framework: str) -> str:
        """What the study ran under this name, with its version; empty for what it did not."""
        return self.frameworks.get(split(framework)[0], "")

    def has(self, model: str, batch_size: int) -> bool:
        return any(key[1:3] == (model, batch_size) for key in self.values)


@cache
def published() -> Published:
    found = tomllib.loads(FIGURES.read_text(encoding="utf-8"))
    values = {
        (framework, model["name"], model["batch_size"], phase): ms
        for model in found["model"]
        for phase in ("forward", "gradient", "total")
        for framework, ms in model.get(phase, {}).items()
    }
    named = {name: found[name] for name in ("work", "source", "machine", "device", "frameworks")}
    return Published(**named, definition=tuple(found["definition"]), values=values)
