"""The doctor's run: every check, grouped by subject; it takes a second."""

import os
import resource
import time
from collections.abc import Mapping
from dataclasses import replace

from velodrome.agents import cgroups
from velodrome.agents.doctor import (
    blas,
    co_tenants,
    cpu_speed,
    cpus,
    gpus,
    load,
    memory,
    other_makers,
    permissions,
    prerequisites,
)
from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.gpu_states import GpuStates
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.environments.disk_space import free_bytes
from velodrome.agents.environments.store import default_root
from velodrome.agents.gpu_allotment import VARIABLE, GpuAllotment, find_allotment
from velodrome.agents.inventory import usable_cpus
from velodrome.agents.sampling import driver
from velodrome.agents.sampling.driver_faults import DriverFault

INTERVAL_S = 1.0
# `copy` takes 2.0 GiB and AlexNet at batch 16 1.7 (docs/results/proof.csv); at 256 it takes more.
LARGE_TASK_BYTES = 4 * 2**30


def examine(kernel: Kernel, environ: Mapping[str, str] = os.environ) -> tuple[DoctorFinding, ...]:
    """Run every check. RecipeError if one of the user's own frameworks is broken."""
    requirements = prerequisites.read_requirements(environ)
    changing = _check_changes(kernel)
    return (
        *_check_settings(kernel),
        *changing,
        co_tenants.check_core_locks(kernel, co_tenants.lock_paths(environ)),
        co_tenants.check_ray(kernel),
        *_check_gpus(environ, requirements),
        *_check_prerequisites(environ, requirements),
        blas.check_kernels(blas.find_environments(environ)),
    )


def _check_gpus(
    environ: Mapping[str, str], requirements: prerequisites.Requirements
) -> tuple[DoctorFinding, ...]:
    states = read_gpu_states()
    others = driver.query_other_makers(has_nvidia=states is not None)
    return (
        *gpus.check_gpus(states, requirements.accelerators, _gpu_allotment(environ)),
        *other_makers.check_other_makers(others, environ),
    )


def sort_by_level(findings: tuple[DoctorFinding, ...]) -> tuple[DoctorFinding, ...]:
    """Sort by level; the order within a level stays."""
    order = list(FindingLevel)
    return tuple(sorted(findings, key=lambda finding: order.index(finding.verdict)))


def _check_changes(kernel: Kernel) -> tuple[DoctorFinding, ...]:
    """Run the checks that compare two instants; nothing else runs in between."""
    throttled = cpu_speed.throttle_counts(kernel)
    before = load.snapshot(kernel)
    time.sleep(INTERVAL_S)
    after = load.snapshot(kernel)
    guest = {FindingLevel.FINE: False, FindingLevel.UNKNOWN: None}.get(
        cpus.check_virtualization(kernel).verdict
    )
    return (
        load.check_other_load(before, after, os.getpid()),
        load.check_stolen_time(before, after, is_guest=guest),
        load.check_pressure(before, after),
        cpu_speed.check_throttling(throttled, cpu_speed.throttle_counts(kernel)),
    )


def _check_settings(kernel: Kernel) -> tuple[DoctorFinding, ...]:
    allowed = usable_cpus()
    proc, groups = kernel.root / "proc", kernel.root / "sys/fs/cgroup"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        cpu_speed.check_governor(kernel),
        cpu_speed.check_frequency_limit(kernel),
        cpu_speed.check_boost(kernel),
        cpu_speed.check_temperature(kernel),
        cpus.check_siblings(kernel, allowed),
        cpus.check_affinity(kernel, allowed),
        cpus.check_quota(cgroups.cpu_quota(proc, groups), len(allowed)),
        cpus.check_virtualization(kernel),
        cpus.check_clock_source(kernel),
        memory.check_free_memory(kernel, cgroups.memory_bytes(proc, groups), LARGE_TASK_BYTES),
        memory.check_swap(kernel),
        memory.check_swappiness(kernel),
        memory.check_huge_pages(kernel),
        memory.check_numa_nodes(kernel),
        memory.check_numa_balancing(kernel),
        permissions.check_energy(kernel),
        permissions.check_perf(kernel, os.geteuid()),
        permissions.check_open_files(soft, hard),
        permissions.check_address_randomisation(kernel),
    )


def _check_prerequisites(
    environ: Mapping[str, str], requirements: prerequisites.Requirements
) -> tuple[DoctorFinding, ...]:
    place = default_root(environ)
    return (
        prerequisites.check_disk_space(free_bytes(place), requirements.disk_bytes, place),
        prerequisites.check_uv(),
        prerequisites.check_c_compiler(environ, requirements.stub_users),
        prerequisites.check_cxx_compiler(environ),
        prerequisites.check_mmdebstrap(environ, requirements.debian),
        prerequisites.check_bubblewrap(environ, requirements.debian, os.geteuid()),
    )


def read_gpu_states() -> GpuStates | None:
    """Read the state of every GPU, with the driver's faults. None: there is no driver."""
    answer = driver.query_driver("velodrome.agents.doctor.gpu_driver")
    if isinstance(answer, DriverFault):
        return GpuStates("", None, (), sees_all=False, faults=(answer,))
    if not answer:
        return None
    states = GpuStates.from_fields(answer)
    missing = driver.find_missing_gpus(states.pci_bus_ids)
    return replace(states, faults=(*states.faults, *missing))


def _gpu_allotment(environ: Mapping[str, str]) -> GpuAllotment | None:
    """Return the GPUs that this process was given; None: all that the driver shows."""
    if VARIABLE not in environ:
        return None
    return find_allotment(driver.query_gpus().gpus, environ)
