"""How an adapter says that it writes an operation by hand: a note that begins with `by hand: KIND`.

By hand is what the framework has no operation for, so that it is put together from others or its
gradient is written out. KIND is the name of the kind of layer, e.g. `by hand: Lrn of shifted sums`.
What brings sequences to their mean is scaffolding everywhere and is not told.
"""

from typing import Iterable, Tuple

PREFIX = "by hand: "


def by_hand(kind: type, how: str) -> str:
    """The note. how goes on after the kind's name: `in groups, split and concatenated`."""
    return "{}{} {}".format(PREFIX, kind.__name__, how)


def kinds_by_hand(notes: Iterable[str]) -> Tuple[str, ...]:
    """The names of the kinds that notes say are written by hand, in their order."""
    told = (note[len(PREFIX) :] for note in notes if note.startswith(PREFIX))
    return tuple(dict.fromkeys(rest.split(" ", 1)[0] for rest in told))
