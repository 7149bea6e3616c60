"""Pairs of consecutive times, Velodrome's and the bare loop's, and their ratio."""

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
class PairedTimes:
    """Pairs of times of one framework, model, thread count and phase, in ns of one batch.

    CPU time is of all threads of the process, and only known if both ran in one process.
    """

    ours_ns: list[float] = field(default_factory=list)
    bare_ns: list[float] = field(default_factory=list)
    ours_cpu_ns: list[float] = field(default_factory=list)
    bare_cpu_ns: list[float] = field(default_factory=list)

    def add(self, lists: Mapping[str, list[float]]) -> None:
        """Read a row by its fields' names; other fields are ignored."""
        for name in (each.name for each in fields(self)):
            getattr(self, name).extend(lists.get(name, []))

    @property
    def ratio(self) -> Interval:
        return compute_median_ratio(self.ours_ns, self.bare_ns)

    @property
    def cpu_ratio(self) -> Interval:
        return compute_median_ratio(self.ours_cpu_ns, self.bare_cpu_ns)

    @property
    def row(self) -> dict:
        row = {
            **_round_interval("", self.ratio),
            "pairs": len(self.ours_ns),
            "ours_ms": round(statistics.median(self.ours_ns) / 1e6, 4),
            "bare_ms": round(statistics.median(self.bare_ns) / 1e6, 4),
        }
        if self.ours_cpu_ns:
            row.update(_round_interval("cpu_", self.cpu_ratio))
        return row

    @property
    def text(self) -> str:
        row = self.row
        times = f"{row['ours_ms']:.3f} ms / {row['bare_ms']:.3f} ms"
        cpu = ""
        if self.ours_cpu_ns:
            cpu = f"  CPU time {_format_interval(self.cpu_ratio)}"
        return f"{_format_interval(self.ratio)} of {row['pairs']:3} pairs{cpu}  {times}"


def compute_median_ratio(ours: Sequence[float], bare: Sequence[float]) -> Interval:
    """Compute the median of the pairs' ratios and its 95 % interval, by the sign test.

    Interference affects one pair only, so noise widens this far less than either time.
    """
    return compute_median_interval([own / other for own, other in zip(ours, bare, strict=True)])


def _round_interval(prefix: str, ratio: Interval) -> dict:
    """Round the interval; bounds that do not cover the median at 95 % become null."""
    low, high = (ratio.low, ratio.high) if ratio.covered else (None, None)
    return {
        f"{prefix}ratio": round(ratio.median, 4),
        f"{prefix}low": low and round(low, 4),
        f"{prefix}high": high and round(high, 4),
    }


def _format_interval(ratio: Interval) -> str:
    bounds = f"[{ratio.low:.3f}, {ratio.high:.3f}]" if ratio.covered else "[too few]"
    return f"{ratio.median:.3f} {bounds:14}"


def save(path: Path, pairs_by_phase: dict, heading: dict) -> None:
    """Save pairs by (cell, phase), atomically: a reader never sees half a file."""
    rows = [
        {
            "framework": cell.framework,
            "variant": cell.variant or cell.registered.default_variant,
            "model": cell.model,
            "batch_size": cell.batch_size,
            "threads": cell.threads,
            "phase": phase,
            **pairs.row,
        }
        for (cell, phase), pairs in pairs_by_phase.items()
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps({**heading, "rows": rows}, indent=1) + "\n")
    temporary.replace(path)


def make_heading(mode: str, seconds: float, cpu_model: str, cores: int) -> dict:
    return {
        "benchmark": f"fidelity, {mode}",
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu_model": cpu_model,
        "cores": cores,
        "kernel": platform.release(),
        "load_at_begin": round(os.getloadavg()[0], 1),
        "seconds_per_phase_and_turn": seconds,
    }
