"""Steps about the machine itself: its inventory, and what the doctor says of it."""

from dataclasses import asdict

from velodrome.agents.doctor.finding import FindingLevel
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.doctor.runner import examine
from velodrome.agents.node import Gpu, Node
from velodrome.scheduler.gpu_check.steps import StepOutcome, failed, passed


def check_inventory(node: Node, gpu: Gpu) -> StepOutcome:
    """Fail on a fault of the driver, or on a field of the GPU that it does not state."""
    figures = {
        "gpus": [vars(each) for each in node.gpus],
        "cuda_major": node.cuda_major,
        "cpu_model": node.cpu_model,
        "cores": node.physical,
        "ram_bytes": node.ram_bytes,
        "kernel": node.kernel,
        "virtualization": node.virtualization,
    }
    if node.gpu_fault:
        return failed(node.gpu_fault, figures)
    unknown = [name for name, value in vars(gpu).items() if value in ("", None)]
    if not gpu.memory_bytes:
        unknown.append("memory_bytes")
    lacks = f"; not stated: {', '.join(unknown)}" if unknown else ""
    size = gpu.memory_bytes / 2**30
    text = f"{gpu.name}, {size:.1f} GiB, driver {gpu.driver}, CUDA {node.cuda_major}{lacks}"
    return passed(text, figures)


def check_with_doctor() -> StepOutcome:
    """Pass if every check of the doctor ran; its warnings are of the machine, and are listed."""
    findings = examine(Kernel())
    warnings = [one for one in findings if one.verdict is FindingLevel.WARNING]
    text = f"{len(findings)} checks"
    if warnings:
        text += f"; warnings: {', '.join(one.check for one in warnings)}"
    return passed(text, {"findings": [asdict(finding) for finding in findings]})
