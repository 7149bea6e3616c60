"""Notes on composed operations: `composed: KIND ...`, e.g. `composed: Lrn of shifted sums`.

A composed operation is one that the framework lacks: the adapter builds it from others or writes
its gradient out. KIND is the name of the kind of layer. No adapter notes the mean over sequences,
which every adapter composes.
"""

from typing import Iterable, Tuple

PREFIX = "composed: "
EARLIER_PREFIX = "by hand: "  # in rows of earlier versions


def format_note(kind: type, how: str) -> str:
    """Return the note. how follows the kind's name: `in groups, split and concatenated`."""
    return "{}{} {}".format(PREFIX, kind.__name__, how)


def update_prefix(note: str) -> str:
    """Replace the prefix that earlier versions wrote."""
    return PREFIX + note[len(EARLIER_PREFIX) :] if note.startswith(EARLIER_PREFIX) else note


def list_composed_kinds(notes: Iterable[str]) -> Tuple[str, ...]:
    """Return the names of the composed kinds in these notes, in their order."""
    texts = (note[len(PREFIX) :] for note in notes if note.startswith(PREFIX))
    return tuple(dict.fromkeys(rest.split(" ", 1)[0] for rest in texts))
