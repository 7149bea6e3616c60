"""Which objects of a sweep in a bucket count, once it was compacted: what it says is done at once.

Compacted objects are put first, then this, which names them and what they replace, then what is
replaced is removed. Whoever reads lists between two readings of this that are the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from velodrome.scheduler.errors import StoreError


@dataclass(frozen=True)
class Manifest:
    """By table: the name of its compacted object, and of those whose rows are in that.

    turn: how often the sweep was compacted; 0: never.
    """

    turn: int = 0
    compacted: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def counts(self, table: str, name: str) -> bool:
        """A compacted object that this does not name was never finished, or is replaced."""
        if name.startswith("sweep-"):
            return name == self.compacted.get(table)
        return name not in self.replaced.get(table, ())


def compacted_name(turn: int) -> str:
    return f"sweep-{turn}.parquet"


def encode(manifest: Manifest) -> bytes:
    told = {
        "turn": manifest.turn,
        "compacted": dict(manifest.compacted),
        "replaced": {table: sorted(names) for table, names in manifest.replaced.items()},
    }
    return json.dumps(told).encode()


def decode(content: bytes, place: str) -> Manifest:
    """StoreError if it is none of ours."""
    try:
        told = json.loads(content)
        replaced = {str(table): frozenset(names) for table, names in told["replaced"].items()}
        return Manifest(int(told["turn"]), dict(told["compacted"]), replaced)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{place}: cannot be read: {error!r}") from error
