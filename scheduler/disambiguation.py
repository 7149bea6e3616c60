"""Short names of similar things, lengthened by the fields in which they differ."""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def make_distinct(
    names: Mapping[Key, str], fields: Mapping[Key, Mapping[str, str]]
) -> dict[Key, str]:
    """Extend names that several keys share by the fields that differ: `lenet b64, seed 7`.

    fields: per key, texts by field name; all keys have the same fields, in the same order.
    """
    shared = Counter(names.values())
    groups: dict[str, list[Key]] = {}
    for key, name in names.items():
        if shared[name] > 1:
            groups.setdefault(name, []).append(key)
    found = dict(names)
    for name, keys in groups.items():
        words = [word for word in fields[keys[0]] if len({fields[key][word] for key in keys}) > 1]
        for key in keys:
            additions = [f"{word} {fields[key][word] or 'any'}" for word in words]
            found[key] = ", ".join([name, *additions])
    return found
