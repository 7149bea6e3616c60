"""The manifest of a compacted sweep in a bucket: it names the objects that count.

Compaction puts the compacted objects, then the manifest that names them and what they replace, then
removes the replaced ones. A reader lists between two readings of the manifest that are equal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from velodrome.scheduler.errors import StoreError


@dataclass(frozen=True)
class Manifest:
    """Names of compacted objects and of the objects they replace, by table.

    turn: number of compactions of the sweep so far.
    """

    turn: int = 0
    compacted: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def counts(self, table: str, name: str) -> bool:
        """Return True if an object's rows count: it is named, or neither compacted nor replaced."""
        if name.startswith("sweep-"):
            return name == self.compacted.get(table)
        return name not in self.replaced.get(table, ())


def compacted_name(turn: int) -> str:
    return f"sweep-{turn}.parquet"


def encode(manifest: Manifest) -> bytes:
    content = {
        "turn": manifest.turn,
        "compacted": dict(manifest.compacted),
        "replaced": {table: sorted(names) for table, names in manifest.replaced.items()},
    }
    return json.dumps(content).encode()


def decode(content: bytes, place: str) -> Manifest:
    """Parse a manifest. StoreError if it is not one of ours."""
    try:
        values = json.loads(content)
        replaced = {str(table): frozenset(names) for table, names in values["replaced"].items()}
        return Manifest(int(values["turn"]), dict(values["compacted"]), replaced)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{place}: cannot be read: {error!r}") from error
