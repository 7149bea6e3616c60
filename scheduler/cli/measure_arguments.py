"""Arguments and options of `measure`: the task, its timing and its limits."""

from typing import Annotated

import typer

FrameworkName = Annotated[str, typer.Argument(help="One of `velodrome frameworks`.")]
ModelName = Annotated[str, typer.Argument(help="One of `velodrome models`.")]
Variant = Annotated[
    str, typer.Option(help="Way to run the framework, e.g. compile; default: its first.")
]
BatchSize = Annotated[
    str,
    typer.Option(help="Examples in a batch, or `auto` for the largest; default: the model's."),
]
DeviceName = Annotated[
    str, typer.Option(help="cpu, gpu, cpu:2 for two processes, gpu:2 for two GPUs.")
]
GpuModel = Annotated[str, typer.Option(help="Part of the GPU's name, e.g. H100.")]
Build = Annotated[
    str, typer.Option(help="CUDA of the build, e.g. cuda12; default: the newest for its driver.")
]
ThreadCount = Annotated[str, typer.Option(help="A number, `physical` or `logical`.")]
Precision = Annotated[str, typer.Option(help="Precision: float32, tf32, bfloat16 or float16.")]
PhaseNames = Annotated[
    list[str] | None,
    typer.Option(
        "--phases",
        "--phase",
        help="forward, gradient, inference, update, step, load, prefetched_load or "
        "fed_gradient; default: forward,gradient.",
    ),
]
OptimizerName = Annotated[str, typer.Option(help="Of update and step: sgd or adamw; default: sgd.")]
SeedNumber = Annotated[str, typer.Option(help="Seed of weights and batches; default: 0.")]
SamplingHz = Annotated[str, typer.Option(help="Utilization readings per second; default: 10.")]
IsShared = Annotated[bool, typer.Option("--shared", help="Let other tasks run at the same time.")]
HasCanary = Annotated[
    bool,
    typer.Option("--canary", help="Time a tiny model before and after, to judge the machine."),
]
TargetWidth = Annotated[str, typer.Option(help="Half-width of the interval to reach, e.g. 1%.")]
MinSamples = Annotated[str, typer.Option(help="Least number of samples per phase.")]
MinSeconds = Annotated[str, typer.Option(help="Shortest time per phase, in seconds.")]
MaxSeconds = Annotated[str, typer.Option(help="Longest time per phase, in seconds.")]
TimeLimit = Annotated[str, typer.Option(help="Time limit of the whole task, e.g. 15m.")]
MemoryLimit = Annotated[str, typer.Option(help="Memory limit of the task, e.g. 16GiB.")]
OwnPrice = Annotated[str, typer.Option(help='Price of this machine per hour, e.g. "2.5 USD".')]
RowsPlace = Annotated[str, typer.Option(help="Store the rows, too: a folder or a URI.")]
