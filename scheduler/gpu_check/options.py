"""Options of the GPU check, and their defaults."""

from dataclasses import dataclass
from pathlib import Path

BUDGET_S = 480.0
FRAMEWORKS = ("torch", "jax")
# In the order of their value. Batch sizes are those whose float64 reference NumPy computes in
# seconds; None: the model's own.
BATCH_SIZES: dict[str, int | None] = {
    "lenet": None,
    "gemm": None,
    "copy": None,
    "lstm": None,
    "alexnet": 16,
    "resnet50": 4,
    "gpt2-1024": 1,
    "llama-block-4096": 1,
}
DTYPES = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class CheckOptions:
    """The tasks of a check, its time, and the folder that it writes.

    phase_s: the shortest time of a timed phase. pairs: of tasks with and without sampling.
    foreign_command: occupies the GPU, prints a line when it does, and ends with its standard input;
    empty: a program of one of the frameworks.
    """

    folder: Path
    budget_s: float = BUDGET_S
    frameworks: tuple[str, ...] = FRAMEWORKS
    models: tuple[str, ...] = tuple(BATCH_SIZES)
    dtypes: tuple[str, ...] = DTYPES
    phase_s: float = 1.0
    pairs: int = 3
    foreign_command: tuple[str, ...] = ()

    @property
    def load_model(self) -> str:
        """The model that occupies the GPU while energy is compared."""
        return "gemm" if "gemm" in self.models else self.models[0]
