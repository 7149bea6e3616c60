"""Reader of sweep files: every key by name, every error at file:line:column."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from velodrome.adapters.models import MODELS, list_families
from velodrome.adapters.registry import Framework
from velodrome.agents.environments.existing import existing_setting
from velodrome.agents.environments.frameworks import available_frameworks, with_version
from velodrome.agents.environments.recipes import RecipeError, read_recipe
from velodrome.agents.environments.versions import split
from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.sweeps import (
    groups,
    model_files,
    phases,
    settings,
    value_parsers,
    yaml_nodes,
)
from velodrome.scheduler.sweeps.device_support import explain_missing_devices
from velodrome.scheduler.sweeps.exclusions import check_exclusions, read_exclusions
from velodrome.scheduler.sweeps.sweep import BatchSize, Entrant, LockRequirement, Sweep
from velodrome.scheduler.sweeps.yaml_nodes import Fields, Scalar, Value

# Settings that are fields of Sweep under the same name, with their readers.
_READERS: Mapping[str, Callable[[Value, str], Any]] = {
    "threads": settings.read_threads,
    "devices": settings.read_devices,
    "scaling": groups.read_scaling,
    "dtypes": settings.read_dtypes,
    "phases": phases.read_phases,
    "optimizer": phases.read_optimizer,
    "where": settings.read_where,
    "exclusive": value_parsers.read_yes_or_no,
    "ceilings": value_parsers.read_yes_or_no,
    "canary": settings.read_canary,
    "repeats": settings.read_repeats,
    "seed": settings.read_seed,
    "sampling_hz": settings.read_sampling_hz,
    "timing": settings.read_timing,
    "limits": settings.read_limits,
    "labels": settings.read_labels,
    "same_build": value_parsers.read_yes_or_no,
}
KEYS = (
    "name",
    "frameworks",
    "variants",
    "models",
    "batch_sizes",
    "processes",
    "nodes",
    "exclude",
    *_READERS,
)

MB = 1_000_000  # as environment.toml counts
T = TypeVar("T")


def load_sweep(
    path: str | os.PathLike[str], frameworks: Mapping[str, Framework] | None = None
) -> Sweep:
    """Load the sweep of a file; see `parse_sweep`."""
    return parse_sweep(yaml_nodes.read_text(path), yaml_nodes.name_source(path), frameworks)


def hold_to_one_build(sweep: Sweep) -> Sweep:
    """Return the sweep as if its file had `same_build: true`, which a resumed one will read."""
    if sweep.same_build:
        return sweep
    return replace(sweep, same_build=True, text=f"{sweep.text.rstrip()}\nsame_build: true\n")


def parse_sweep(text: str, source: str, frameworks: Mapping[str, Framework] | None = None) -> Sweep:
    """Parse the sweep of a text. ConfigError names the first error and its fix.

    source: name in front of line and column. frameworks: those that may be named; default: all that
    are available.
    """
    found = yaml_nodes.parse_yaml(text, source)
    value_parsers.check_keys(found, KEYS)
    sweep = _read_sweep(
        found, available_frameworks() if frameworks is None else frameworks, source, text
    )
    phases.check_optimizer(found.get("optimizer"), sweep.phases)
    groups.check_groups(found, sweep)
    check_exclusions(sweep)
    return sweep


def list_model_names() -> dict[str, tuple[str, ...]]:
    """Map each name that a sweep may use to models: itself, or all parts of a family."""
    return {name: (name,) for name in MODELS} | list_families()


def _read_sweep(
    found: Fields, frameworks: Mapping[str, Framework], source: str, text: str
) -> Sweep:
    entrants = _read_entrants(found, frameworks, source)
    models = _read_models(found, entrants, source)
    given = {name: value for name in _READERS if (value := found.get(name)) is not None}
    sweep = Sweep(
        name=_read_optional(found, "name", value_parsers.read_text, Path(source).stem),
        entrants=entrants,
        models=models,
        batch_sizes=_read_batch_sizes(found, models),
        exclusions=_read_optional(found, "exclude", read_exclusions, ()),
        source=source,
        text=text,
        **{name: _READERS[name](value, name) for name, value in given.items()},
    )
    devices = groups.add_processes(found.get("processes"), sweep.devices)
    return replace(sweep, devices=groups.add_nodes(found.get("nodes"), devices))


def _read_entrants(
    found: Fields, frameworks: Mapping[str, Framework], source: str
) -> tuple[Entrant, ...]:
    given = _require(found, "frameworks", "[torch, tensorflow]", source)
    at_versions: dict[str, Framework] = {}
    for item in value_parsers.read_items(given, "frameworks", "[torch, tensorflow]"):
        if isinstance(item, Scalar):  # torch==2.12.1
            at_versions |= with_version(frameworks, item.text)
    frameworks = {**frameworks, **at_versions}
    names = value_parsers.read_names(
        given,
        "frameworks",
        "framework",
        {name: (name,) for name in frameworks},
        "[torch, tensorflow]",
    )
    chosen = _read_variants(
        found, {name: frameworks[name] for name in names} | _list_unversioned(names, frameworks)
    )
    return tuple(
        Entrant(
            name,
            chosen.get(name, chosen.get(split(name)[0], (frameworks[name].default_variant,))),
            frameworks[name].devices,
            read_lock_requirements(frameworks[name]),
            tuple(explain_missing_devices(frameworks[name]).items()),
        )
        for name in names
    )


def read_lock_requirements(
    framework: Framework, environ: Mapping[str, str] = os.environ
) -> tuple[LockRequirement, ...]:
    """List what each of a framework's locks requires of a node, per device that it serves.

    Empty if the user points at an interpreter, or if the recipe cannot be read: a build says why.
    """
    try:
        recipe = read_recipe(Path(framework.folder), locked=False)
    except RecipeError:
        return ()
    if existing_setting(split(framework.name)[0], recipe, environ):
        return ()
    return tuple(
        LockRequirement(
            device, lock.platforms, lock.size_mb * MB, lock.devices, lock.file, lock.capability
        )
        for device in framework.devices
        for lock in recipe.locks_for(device)
    )


def _list_unversioned(
    names: tuple[str, ...], frameworks: Mapping[str, Framework]
) -> dict[str, Framework]:
    """Map unversioned names to frameworks.

    `variants` may use them even if only versions are swept.
    """
    return {split(name)[0]: frameworks[split(name)[0]] for name in names}


def _read_variants(
    found: Fields, frameworks: Mapping[str, Framework]
) -> dict[str, tuple[str, ...]]:
    """Read the variants to run of each framework that `variants` names."""
    given = found.get("variants")
    if given is None:
        return {}
    mapping = value_parsers.read_fields(given, "variants", "{torch: [eager, compile]}")
    value_parsers.check_keys(mapping, frameworks, "framework among `frameworks`:")
    return {
        key.text: value_parsers.read_names(
            value,
            f"variants of {key.text}",
            f"variant of {key.text}",
            {name: (name,) for name in frameworks[key.text].variants},
            f"[{frameworks[key.text].default_variant}]",
        )
        for key, value in mapping.entries
    }


def _read_models(found: Fields, entrants: tuple[Entrant, ...], source: str) -> tuple[str, ...]:
    example = "[lenet, lstm]"
    value = _require(found, "models", example, source)
    allowed = list_model_names()
    for item in value_parsers.read_items(value, "models", example):
        if isinstance(item, Scalar) and model_files.names_file(item.text):
            folder = Path(source).parent
            allowed[item.text] = model_files.add_model_file(item.text, folder, item.place)
    allowed.update(list_model_names())  # the file's own names, too
    names = value_parsers.read_names(value, "models", "model", allowed, example)
    frameworks = [entrant.framework for entrant in entrants]
    model_files.require_framework(names, frameworks, value.place)
    return names


def _read_batch_sizes(
    found: Fields, models: tuple[str, ...]
) -> tuple[tuple[str, tuple[BatchSize, ...]], ...]:
    """Read batch sizes per model.

    A family's sizes apply to those of its parts that the sweep runs.
    """
    given = found.get("batch_sizes")
    if given is None:
        return ()
    mapping = value_parsers.read_fields(given, "batch_sizes", "{lenet: [64]}")
    runs = {name: set(parts) & set(models) for name, parts in list_model_names().items()}
    known = [name for name in runs if runs[name]]
    sizes: dict[str, tuple[BatchSize, ...]] = {}
    for key, value in mapping.entries:
        meant = value_parsers.match_names(key, "batch_sizes", "model among `models`:", known)
        read = settings.read_batch_sizes(value, f"batch_sizes of {key.text}")
        chosen = set().union(*(runs[name] for name in meant))
        sizes.update({model: read for model in models if model in chosen})
    return tuple(sizes.items())


def _require(found: Fields, name: str, example: str, source: str) -> Value:
    value = found.get(name)
    if value is None:
        raise ConfigError(f"{source}:1:1", f"there is no `{name}`", f"Add {name}: {example}.")
    return value


def _read_optional(found: Fields, name: str, read: Callable[[Value, str], T], default: T) -> T:
    value = found.get(name)
    return default if value is None else read(value, name)
