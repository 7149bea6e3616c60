"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

RESULTS = "results"
Results = Annotated[str, typer.Option(help="Folder of the results, or an s3:// or gs:// URI.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else to stdout.")]
Sweep = Annotated[
    Path, typer.Argument(help="A sweep file, e.g. sweeps/quick.yaml; - for standard input.")
]
Only = Annotated[
    str, typer.Option(help='Only these tasks, e.g. "framework=torch model=lenet|lstm threads=1".')
]
Address = Annotated[
    str, typer.Option(help="HOST:PORT of a Ray cluster, or `auto`; default: this machine.")
]
Cluster = Annotated[
    Path | None, typer.Option(help="The cluster.yaml of the fleet; starts nodes when needed.")
]
Patience = Annotated[
    str, typer.Option(help="Longest wait for a node; default: 5m, or 20m with --cluster.")
]
Price = Annotated[
    str,
    typer.Option(
        help='Price of a node per hour, e.g. "2.5 USD", for nodes without one in cluster.yaml.'
    ),
]
SameBuild = Annotated[
    bool,
    typer.Option(
        "--same-build", help="Use one build of each framework, which all GPUs' drivers run."
    ),
]
Budget = Annotated[
    str, typer.Option(help="Longest duration, e.g. 2h; the least certain cells go first.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]
