"""The doctor's run: every check, grouped by subject; it takes a second."""

import os
import resource
import time
from collections.abc import Mapping

from velodrome.agents import cgroups
from velodrome.agents.doctor import (
    blas,
    co_tenants,
    cpu_speed,
    cpus,
    gpus,
    load,
    memory,
    permissions,
    prerequisites,
)
from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.gpu_states import GpuStates
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.environments.disk_space import free_bytes
from velodrome.agents.environments.store import default_root
from velodrome.agents.inventory import usable_cpus
from velodrome.agents.sampling import driver
from velodrome.agents.sampling.driver_faults import DriverFault

INTERVAL_S = 1.0
# `copy` takes 2.0 GiB and AlexNet at batch 16 1.7 (docs/results/proof.csv); at 256 it takes more.
LARGE_TASK_BYTES = 4 * 2**30


def examine(kernel: Kernel, environ: Mapping[str, str] = os.environ) -> tuple[DoctorFinding, ...]:
    """Run every check. RecipeError if one of the user's own frameworks is broken."""
    wants = prerequisites.read_requirements(environ)
    changing = _over_time(kernel)
    return (
        *_settings(kernel),
        *changing,
        co_tenants.locked(kernel, co_tenants.lock_paths(environ)),
        co_tenants.ray(kernel),
        *gpus.checks(_gpu_states(), wants.accelerators),
        *_prerequisites(environ, wants),
        blas.check_kernels(blas.find_environments(environ)),
    )


def worst_first(findings: tuple[DoctorFinding, ...]) -> tuple[DoctorFinding, ...]:
    """Sort by level; the order within a level stays."""
    order = list(FindingLevel)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.verdict)))


def _over_time(kernel: Kernel) -> tuple[DoctorFinding, ...]:
    """Checks that compare two instants. Nothing of ours runs in between."""
    throttled = cpu_speed.throttle_counts(kernel)
    before = load.snapshot(kernel)
    time.sleep(INTERVAL_S)
    after = load.snapshot(kernel)
    guest = {FindingLevel.FINE: False, FindingLevel.UNKNOWN: None}.get(
        cpus.virtualization(kernel).verdict
    )
    return (
        load.other_load(before, after, os.getpid()),
        load.stolen(before, after, is_guest=guest),
        load.pressure(before, after),
        cpu_speed.throttling(throttled, cpu_speed.throttle_counts(kernel)),
    )


def _settings(kernel: Kernel) -> tuple[DoctorFinding, ...]:
    allowed = usable_cpus()
    proc, groups = kernel.root / "proc", kernel.root / "sys/fs/cgroup"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        cpu_speed.governor(kernel),
        cpu_speed.frequency_limit(kernel),
        cpu_speed.boost(kernel),
        cpu_speed.temperature(kernel),
        cpus.siblings(kernel, allowed),
        cpus.affinity(kernel, allowed),
        cpus.quota(cgroups.cpu_quota(proc, groups), len(allowed)),
        cpus.virtualization(kernel),
        cpus.clock_source(kernel),
        memory.free(kernel, cgroups.memory_bytes(proc, groups), LARGE_TASK_BYTES),
        memory.swap(kernel),
        memory.swappiness(kernel),
        memory.huge_pages(kernel),
        memory.numa_nodes(kernel),
        memory.numa_balancing(kernel),
        permissions.energy(kernel),
        permissions.perf(kernel, os.geteuid()),
        permissions.open_files(soft, hard),
        permissions.address_randomisation(kernel),
    )


def _prerequisites(
    environ: Mapping[str, str], wants: prerequisites.Requirements
) -> tuple[DoctorFinding, ...]:
    place = default_root(environ)
    return (
        prerequisites.disk_space(free_bytes(place), wants.disk_bytes, place),
        prerequisites.uv_tool(),
        prerequisites.c_compiler(environ, wants.stand_ins),
        prerequisites.cxx_compiler(environ),
        prerequisites.mmdebstrap(environ, wants.debian),
        prerequisites.bubblewrap(environ, wants.debian, os.geteuid()),
    )


def _gpu_states() -> GpuStates | None:
    told = driver.query_driver("velodrome.agents.doctor.gpu_driver")
    if isinstance(told, DriverFault):
        return GpuStates("", None, (), sees_all=False, faults=(told,))
    return GpuStates.from_fields(told) if told else None
