"""A model's graph as torch modules: a call gives the loss of a batch."""

from typing import NamedTuple, Tuple

import torch
from torch import nn

from velodrome.adapters.contract import Unsupported
from velodrome.adapters.frameworks.graph import (
    find_entry,
    is_time_first,
    list_loss_inputs,
    share_tied,
)
from velodrome.adapters.frameworks.torch.attention import MaskModule
from velodrome.adapters.frameworks.torch.modules import BATCH_FIRST, TIME_FIRST
from velodrome.adapters.frameworks.torch.recurrent import RECURRENT
from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import shapes

# What a step may read besides `input` and the layers, and what the last one makes; the mask of
# padded sequences is computed once for all attention. No layer is named like this.
LABELS, LENGTHS, MASK, RESULT = "(labels)", "(lengths)", "(mask)", "(result)"


class Step(NamedTuple):
    """One layer, or the loss: output `name` is module(*reads), and nothing reads `spent` later."""

    name: str
    module: nn.Module
    reads: Tuple[str, ...]
    spent: Tuple[str, ...]


def walk(steps, values):
    """Take the steps, in place: from the values that are there, by name, to those still needed."""
    for name, module, reads, spent in steps:
        values[name] = module(*[values[read] for read in reads])
        for read in spent:  # freed as early as in a script that calls every output x
            values.pop(read)


class Part(nn.Module):
    """Consecutive steps as one module, from the tensors `takes` to the tensors `gives`.

    spent: those of `takes` that nothing reads later.
    """

    def __init__(self, steps, needed):
        """needed: names that later steps read."""
        super(Part, self).__init__()
        made = [step.name for step in steps]
        reads = [read for step in steps for read in step.reads]
        self.takes = tuple(name for name in dict.fromkeys(reads) if name not in made)
        self.gives = tuple(name for name in made if name in needed)
        self.spent = tuple(name for step in steps for name in step.spent if name in self.takes)
        self.compilable = not any(isinstance(step.module, RECURRENT) for step in steps)
        self.members = nn.ModuleList(step.module for step in steps)
        self._wiring = tuple((step.name, step.reads, step.spent) for step in steps)

    def forward(self, *tensors):
        values = {}
        for name, tensor in zip(self.takes, tensors):
            values[name] = tensor
        steps = [
            (name, module, reads, spent)
            for module, (name, reads, spent) in zip(self.members, self._wiring)
        ]
        walk(steps, values)
        return tuple([values[name] for name in self.gives])


class Network(object):
    """A model's steps; its parameters have no values before `fill`.

    modules, losses: as in velodrome.adapters.frameworks.torch.modules.
    """

    def __init__(self, model, modules, losses):
        self.steps = _steps(model, modules, losses)
        self._is_padded = isinstance(model.input, kinds.Sequences)

    def fill(self, model, weights, tensor):
        """Fill in the weights; return trained parameters by key. tensor(array): on the device."""
        by_layer = {step.name: {} for step in self.steps}
        trained = {}
        for entry in shapes.list_parameters(model):
            value = nn.Parameter(tensor(weights[entry.name]), requires_grad=not entry.frozen)
            by_layer[entry.layer][entry.role] = value
            if not entry.frozen:
                trained[entry.name] = value
        share_tied(model, by_layer)
        for step in self.steps:
            for role, value in by_layer[step.name].items():
                setattr(step.module, getattr(step.module, "ATTRIBUTES", {}).get(role, role), value)
            if hasattr(step.module, "settle"):
                step.module.settle()
        return trained

    def eager(self, *, without_loss=False):
        """Return a function of (inputs, labels, lengths) that gives the loss, or the output.

        without_loss: the last layer's output, instead of what the loss makes of it.
        """
        steps = tuple(tuple(step) for step in self._up_to(without_loss))
        result = steps[-1][0]

        def call(inputs, labels, lengths):
            values = {"input": inputs, LABELS: labels, LENGTHS: lengths}
            walk(steps, values)
            return values[result]

        return call

    def _up_to(self, without_loss):
        return self.steps[:-1] if without_loss else self.steps

    def compile_steps(self, *, without_loss=False, **options):
        """Return the function of eager(), compiled by torch.compile with these options.

        An LSTM or GRU, which torch does not compile, is a part of its own: what is compiled is so
        without a break. Padded sequences are as long as their batch's longest: with sizes left
        open one compilation serves all, where one for each length would soon reach torch's limit.
        """
        options = dict({"fullgraph": True, "dynamic": self._is_padded or None}, **options)
        parts = [
            (torch.compile(part, **options) if part.compilable else part, part.takes, part.gives)
            for part in make_parts(_split_at_recurrent(self._up_to(without_loss)))
        ]
        result = parts[-1][2][-1]

        def call(inputs, labels, lengths):
            values = {"input": inputs, LABELS: labels, LENGTHS: lengths}
            for part, takes, gives in parts:
                values.update(zip(gives, part(*[values[name] for name in takes])))
            return values[result]

        return call


def _steps(model, modules, losses):
    if is_time_first(model):
        modules = _put_time_first(modules)
    made = [_module(modules, layer, source) for layer, source in _sources(model)]
    made.append(find_entry(losses, model.loss, "torch")(model.loss))
    reads = _reads(model)
    if MASK in reads:
        made.insert(0, MaskModule())
    return tuple(
        Step(name, module, reads[name], spent)
        for name, module, spent in zip(reads, made, _list_spent(reads))
    )


def _put_time_first(modules):
    """Return the modules of a model whose recurrent layer reads sequences (time, batch, n)."""

    def refuse(layer, source):
        text = "the torch adapter has no {} beside a recurrent layer"
        raise Unsupported(text.format(type(layer).__name__))

    return {**modules, **TIME_FIRST, **dict.fromkeys(BATCH_FIRST, refuse)}


def _sources(model):
    """List every layer with the shape of one example before it."""
    outputs, reads = shapes.compute_output_shapes(model), shapes.list_inputs(model)
    return [(layer, outputs[reads[layer.name][0]]) for layer in model.layers]


def _module(modules, layer, source):
    # torch would draw random weights, for AlexNet in seconds: on the meta device it has no values.
    with torch.device("meta"):
        return find_entry(modules, layer, "torch")(layer, source)


def _reads(model):
    """List the inputs of each step by its name, in running order."""
    reads = shapes.list_inputs(model)
    if isinstance(model.input, kinds.Sequences):
        for layer in model.layers:
            if isinstance(layer, kinds.MeanOverTime):
                reads[layer.name] += (LENGTHS,)
            if isinstance(layer, kinds.Attention) and not layer.causal:
                reads[layer.name] += (MASK,)
    reads[RESULT] = list_loss_inputs(model, LABELS)
    if any(MASK in own for own in reads.values()):
        return dict({MASK: ("input", LENGTHS)}, **reads)
    return reads


def _list_spent(reads):
    """List for each step the names that no later step reads."""
    needed, spent = set(), []
    for name in reversed(list(reads)):
        spent.append(tuple(read for read in dict.fromkeys(reads[name]) if read not in needed))
        needed.update(reads[name])
    return reversed(spent)


def make_parts(runs):
    """Return a Part of each run of steps; the runs are consecutive."""
    parts, needed = [], {runs[-1][-1].name}
    for own in reversed(runs):
        parts.append(Part(own, needed))
        needed = needed.union(*[step.reads for step in own])
    return tuple(reversed(parts))


def _split_at_recurrent(steps):
    runs = [[]]
    for step in steps:
        alone = isinstance(step.module, RECURRENT)
        if runs[-1] and (alone or isinstance(runs[-1][-1].module, RECURRENT)):
            runs.append([])
        runs[-1].append(step)
    return runs
