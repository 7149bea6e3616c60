"""Names that are no longer than tells them apart."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def make_distinct(
    names: Mapping[Key, str], fields: Mapping[Key, Mapping[str, str]]
) -> dict[Key, str]:
    """Each name, where several share it with what differs among these: `lenet b64, seed 7`.

    fields: of each key, by their words; all have the same ones, in the same order.
    """
    shared = Counter(names.values())
    alike: dict[str, list[Key]] = {}
    for key, name in names.items():
        if shared[name] > 1:
            alike.setdefault(name, []).append(key)
    found = dict(names)
    for name, keys in alike.items():
        words = [word for word in fields[keys[0]] if len({fields[key][word] for key in keys}) > 1]
        for key in keys:
            more = [f"{word} {fields[key][word] or 'any'}" for word in words]
            found[key] = ", ".join([name, *more])
    return found
