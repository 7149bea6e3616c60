"""The study's published times: of another machine and by another definition.

The values are in published.toml with their source; a value that is not there was not published.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from velodrome.agents.environments.versions import split
from velodrome.scheduler.reports.html.grouped_rows import PlatformCells

FIGURES = Path(__file__).with_name("published.toml")
NOT_IN_STUDY = "not in the study"
NOT_GIVEN = "not published"
_FIELDS = ("work", "source", "machine", "device", "dtype", "frameworks")


@dataclass(frozen=True)
class Published:
    """The published times: ms by (framework, model, batch size, phase); phase may be `total`."""

    work: str
    source: str
    machine: str
    device: str
    dtype: str
    definition: tuple[str, ...]
    frameworks: Mapping[str, str]
    values: Mapping[tuple[str, str, int, str], float]

    @property
    def platform(self) -> tuple[str, str]:
        """The device and the precision of all times."""
        return self.device, self.dtype

    def text(self, framework: str, model: str, batch_size: int, phase: str) -> str:
        """Format as `1.6 ms`, or the reason for none. Versions count as their framework."""
        name, _ = split(framework)
        if name not in self.frameworks:
            return NOT_IN_STUDY
        value = self.values.get((name, model, batch_size, phase))
        return NOT_GIVEN if value is None else f"{value} ms"

    def name(self, framework: str) -> str:
        """Return the study's name and version of a framework; empty if it was not in the study."""
        return self.frameworks.get(split(framework)[0], "")

    def has(self, model: str, batch_size: int) -> bool:
        return any(key[1:3] == (model, batch_size) for key in self.values)


def has_times_to_compare(groups: Iterable[PlatformCells]) -> bool:
    """Return True if any platform with times has the study's device and precision."""
    study = load_published()
    return any(
        group.with_number and (group.platform.device, group.platform.dtype) == study.platform
        for group in groups
    )


@cache
def load_published() -> Published:
    found = tomllib.loads(FIGURES.read_text(encoding="utf-8"))
    values = {
        (framework, model["name"], model["batch_size"], phase): ms
        for model in found["model"]
        for phase in ("forward", "gradient", "total")
        for framework, ms in model.get(phase, {}).items()
    }
    fields = {name: found[name] for name in _FIELDS}
    return Published(**fields, definition=tuple(found["definition"]), values=values)
