"""Pairs of neighbours in time, ours and the bare loop's, and the ratio that they show."""

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from velodrome.adapters.timing.intervals import Interval, compute_median_interval


@dataclass
class Pairs:
    """Pairs of times of one framework, model, thread count and phase, in ns of one batch.

    CPU time is of all threads of the process, and only known where both ran in one.
    """

    ours_ns: list[float] = field(default_factory=list)
    bare_ns: list[float] = field(default_factory=list)
    ours_cpu_ns: list[float] = field(default_factory=list)
    bare_cpu_ns: list[float] = field(default_factory=list)

    def add(self, lists: Mapping[str, list[float]]) -> None:
        """Read a row by its fields' names; other fields are ignored."""
        for own in fields(self):
            getattr(self, own.name).extend(lists.get(own.name, []))

    @property
    def ratio(self) -> Interval:
        return median_ratio(self.ours_ns, self.bare_ns)

    @property
    def row(self) -> dict:
        row = {
            **_rounded("", self.ratio),
            "pairs": len(self.ours_ns),
            "ours_ms": round(statistics.median(self.ours_ns) / 1e6, 4),
            "bare_ms": round(statistics.median(self.bare_ns) / 1e6, 4),
        }
        if self.ours_cpu_ns:
            row.update(_rounded("cpu_", median_ratio(self.ours_cpu_ns, self.bare_cpu_ns)))
        return row

    @property
    def text(self) -> str:
        row = self.row
        times = f"{row['ours_ms']:.3f} ms / {row['bare_ms']:.3f} ms"
        cpu = ""
        if self.ours_cpu_ns:
            cpu = f"  CPU time {_told(median_ratio(self.ours_cpu_ns, self.bare_cpu_ns))}"
        return f"{_told(self.ratio)} of {row['pairs']:3} pairs{cpu}  {times}"


def median_ratio(ours: Sequence[float], bare: Sequence[float]) -> Interval:
    """The median of the pairs' ratios and its 95 % interval, by the sign test.

    What disturbs a pair disturbs no other, so noise widens this far less than either time.
    """
    return compute_median_interval([one / other for one, other in zip(ours, bare, strict=True)])


def _rounded(prefix: str, ratio: Interval) -> dict:
    """Bounds that do not cover the median at 95 % are none."""
    low, high = (ratio.low, ratio.high) if ratio.covered else (None, None)
    return {
        f"{prefix}ratio": round(ratio.median, 4),
        f"{prefix}low": low and round(low, 4),
        f"{prefix}high": high and round(high, 4),
    }


def _told(ratio: Interval) -> str:
    bounds = f"[{ratio.low:.3f}, {ratio.high:.3f}]" if ratio.covered else "[too few]"
    return f"{ratio.median:.3f} {bounds:14}"


def save(path: Path, found: dict, about: dict) -> None:
    """found: Pairs by (cell, phase). Written whole, then renamed: a reader never sees half."""
    rows = [
        {
            "framework": cell.framework,
            "variant": cell.variant or cell.known.default_variant,
            "model": cell.model,
            "batch_size": cell.batch_size,
            "threads": cell.threads,
            "phase": phase,
            **pairs.row,
        }
        for (cell, phase), pairs in found.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    aside.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    aside.replace(path)


def about(mode: str, seconds: float, cpu_model: str, cores: int) -> dict:
    return {
        "benchmark": f"fidelity, {mode}",
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu_model": cpu_model,
        "cores": cores,
        "kernel": platform.release(),
        "load_at_begin": round(os.getloadavg()[0], 1),
        "seconds_per_phase_and_turn": seconds,
    }
