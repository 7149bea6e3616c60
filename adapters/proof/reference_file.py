"""File format of a reference: losses, gradient norms and sketches as named arrays."""

import json
import os
import zipfile
from typing import Dict, Optional, Tuple

import numpy

from velodrome.adapters.proof import dropout_gradients
from velodrome.adapters.proof.phase_references import EvaluationResults, StepResult
from velodrome.adapters.proof.reference import ChangedLoss, ExpectedResults, Reference
from velodrome.adapters.tolerances import PREDICTED, read_predicted


class UnreadableReference(Exception):
    """The file is not a valid reference; the text names it and the remedy."""


def save_reference(path: str, reference: Reference) -> None:
    """Write to a temporary file, then rename it: a reader never sees half a file."""
    arrays = _to_arrays(reference)
    # Named by the process: two that compute the same reference at once do not share a file.
    temporary = "{}.{}.part".format(path, os.getpid())
    try:
        with open(temporary, "wb") as file:
            numpy.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle
        with zipfile.ZipFile(temporary, "a") as archive:
            # Without the time of writing: equal references are equal files.
            member = zipfile.ZipInfo(PREDICTED)
            archive.writestr(member, json.dumps(reference.predicted._asdict(), sort_keys=True))
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def load_reference(path: str) -> Reference:
    """Read a reference. OSError if the file is missing, UnreadableReference if it is invalid."""
    try:
        with zipfile.ZipFile(path) as archive:
            predicted = read_predicted(archive)
        with numpy.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != PREDICTED}
        return _from_arrays(arrays)._replace(predicted=predicted)
    except (ValueError, KeyError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableReference(
            "{} is not a valid reference ({}). Remove it, so that it is computed again".format(
                path, error
            )
        ) from error


def _to_arrays(reference: Reference) -> Dict[str, numpy.ndarray]:
    arrays = {name: numpy.array(getattr(reference, name)) for name in Reference._fields[:8]}
    arrays["dtype"] = numpy.array(reference.dtype)
    arrays["devices"] = numpy.array(reference.devices)
    arrays["fresh:losses"] = numpy.array(reference.fresh.losses)
    arrays["changed:name"], arrays["changed:loss"] = map(numpy.array, reference.changed)
    for name, value in zip(StepResult._fields, reference.step):
        arrays["step:" + name] = numpy.array(value)
    for name in EvaluationResults._fields[1:]:
        arrays["evaluation:" + name] = numpy.array(getattr(reference.evaluation, name))
    by_name = {
        "norm": reference.norms,
        "sketch": reference.sketches,
        "shape": {name: numpy.array(own, numpy.int64) for name, own in reference.shapes.items()},
        "total": reference.total,
        "fresh-norm": reference.fresh.norms,
        "fresh-sketch": reference.fresh.sketches,
        "statistics": reference.evaluation.statistics,
    }
    if reference.dropout:
        arrays["dropout:losses"] = reference.dropout.losses
        by_name["dropout-norm"] = reference.dropout.norms
        by_name["dropout-zeros"] = reference.dropout.zeros
        apart = reference.dropout.apart
        by_name["dropout-apart"] = {name: numpy.array(value) for name, value in apart.items()}
    for prefix, own in by_name.items():
        arrays.update({"{}:{}".format(prefix, name): value for name, value in own.items()})
    return arrays


def _from_arrays(arrays: Dict[str, numpy.ndarray]) -> Reference:
    norms = _select_prefix(arrays, "norm:")
    return Reference(
        model=str(arrays["model"]),
        batch_size=int(arrays["batch_size"]),
        seed=int(arrays["seed"]),
        digest=str(arrays["digest"]),
        near_ties=int(arrays["near_ties"]),
        draws=arrays["draws"],
        checked=tuple(int(index) for index in arrays["checked"]),
        losses=_to_floats(arrays["losses"]),
        norms=norms,
        sketches=_select_prefix(arrays, "sketch:"),
        shapes={name: tuple(int(n) for n in arrays["shape:" + name]) for name in norms},
        total=_select_prefix(arrays, "total:"),
        fresh=ExpectedResults(
            _to_floats(arrays["fresh:losses"]),
            _select_prefix(arrays, "fresh-norm:"),
            _select_prefix(arrays, "fresh-sketch:"),
        ),
        changed=ChangedLoss(str(arrays["changed:name"]), float(arrays["changed:loss"])),
        dropout=_read_profile(arrays),
        dtype=str(arrays["dtype"]),
        devices=int(arrays["devices"]),
        evaluation=EvaluationResults(
            _select_prefix(arrays, "statistics:"),
            arrays["evaluation:outputs"],
            arrays["evaluation:fresh"],
            arrays["evaluation:changed"],
            float(arrays["evaluation:predicted"]),
        ),
        step=StepResult(
            str(arrays["step:optimizer"]),
            float(arrays["step:loss"]),
            float(arrays["step:allowed"]),
        ),
    )


def _read_profile(arrays: Dict[str, numpy.ndarray]) -> Optional[dropout_gradients.DropoutProfile]:
    if "dropout:losses" not in arrays:
        return None
    apart = _select_prefix(arrays, "dropout-apart:")
    return dropout_gradients.DropoutProfile(
        arrays["dropout:losses"],
        _select_prefix(arrays, "dropout-norm:"),
        _select_prefix(arrays, "dropout-zeros:"),
        {name: float(value) for name, value in apart.items()},
    )


def _to_floats(values: numpy.ndarray) -> Tuple[float, ...]:
    return tuple(float(value) for value in values)


def _select_prefix(arrays: Dict[str, numpy.ndarray], prefix: str) -> Dict[str, numpy.ndarray]:
    return {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}
