"""Scripted GPUs under the real nvidia-ml-py: figures, flags and labels worked out by hand.

Each script runs for ten seconds of a clock that stands at the instant of each reading, ten a
second: import from second 0, warm-up from 1, forward from 2, warm-up from 4, gradient from 5 to 9.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from velodrome.adapters.protocol import Phase
from velodrome.agents.measurement import GpuReading, Reading, Sample
from velodrome.agents.sampling.gpu_interference import find_gpu_interference
from velodrome.agents.sampling.interference_finding import Severity, select_texts
from velodrome.agents.sampling.readings import assign_phases
from velodrome.agents.sampling.utilization import Utilization, summarize_utilization

S = 10**9
MIB = 2**20
PHASES = (
    Phase("import", 0),
    Phase("warmup", 1 * S),
    Phase("forward", 2 * S),
    Phase("warmup", 4 * S),
    Phase("gradient", 5 * S),
)
# 10 forward calls from 2 s to 4 s. 21 gradients from 5.05 s to 8.05 s: neither edge is a reading.
# Fewer than three readings of an update.
SAMPLES = (
    *(Sample("forward", i, 5, (2 + i) * S, S) for i in range(2)),
    *(Sample("gradient", i, 7, 5 * S + S // 20 + i * S, S) for i in range(3)),
    Sample("update", 0, 3, 84 * S // 10, S // 5),
)

WHOLE = "GPU-fa4e0000-0000-0000-0000-00000000000{}".format
PART = "MIG-fa4e0000-0000-0000-0000-00000000000{}".format
HOST, CONTAINER = "pid:[4026531836]", "pid:[4026532999]"

# WORKER and CHILD are the task's, OTHER is not.
SCRIPTS = {
    "ramp": "0 power_mw 0:100000 10:300000",
    "counter": "0 power_mw 250000\n0 energy_mj 0:5000000 10:7500000",
    "doubtful": "0 power_mw 300000\n0 energy_mj 0:5000000 10:7500000",
    "instant": "0 power_mw 999000\n0 power_instant_mw 100000",
    "reset": "0 power_mw 200000\n0 energy_mj 0:5000000 10:7500000\n@6 0 energy_mj 6:0 10:1000000",
    "early reset": "0 energy_mj 5000000\n@1 0 energy_mj 1:0 10:2250000",
    "silent": "0 power_mw 250000\n@6 0 power_mw none\n@8 0 power_mw 250000",
    "counted through": "0 energy_mj 0:0 10:2500000\n@6 0 energy_mj !999\n"
    "@8 0 energy_mj 0:0 10:2500000",
    "nothing told": "0 gpu_percent 50",
    "lost": "0 power_mw 250000\n0 energy_mj 0:0 10:2500000\n0 used_mib 10\n@7 0 fails 15",
    "gone": "0 power_mw 250000",
    "two": "0 energy_mj 0:0 10:1000000\n0 gpu_percent 80\n0 sm_mhz 2000\n1 power_mw 50000\n"
    "1 gpu_percent 40\n1 sm_mhz 1000",
    "throttled": "0 reasons 0\n0 sm_mhz 1980\n@3 0 reasons 0x48\n@3 0 sm_mhz 1200\n"
    "@5.5 0 reasons 0\n@5.5 0 sm_mhz 1980",
    "capped": "0 reasons 4\n0 sm_mhz 1500",
    "blip": "0 reasons 0\n@3 0 reasons 8\n@3.1 0 reasons 0",
    "slow": "0 reasons 0\n@3 0 reasons 8\n@3.2 0 reasons 0",
    "shared": "0 process WORKER:1000\n0 process CHILD:500\n0 graphics 1:50\n"
    "@2.5 0 process OTHER:700\n@6 0 process OTHER:-",
    "shared before": "0 process WORKER:1000\n@0 0 process OTHER:?\n@1 0 process OTHER:-",
    "in a container": "0 process 4194303:900\n0 gpu_percent 30",
    "idle in a container": "0 gpu_percent 90\n@0.2 0 gpu_percent 10\n@1 0 gpu_percent 90",
    "known in a container": "0 process WORKER:0\n@3 0 process OTHER:900",
    "parted": "0 mig 1:1\n0 instance 3g.40gb:40192\n0 instance 1g.10gb:9728\n0 power_mw 200000\n"
    "0 energy_mj 0:0 10:2000000\n0 temperature_c 50\n0 sm_mhz 1400\n0 reasons 0\n"
    "0.1 used_mib 700\n0.1 process WORKER:600",
}
NAMESPACES = {
    "in a container": CONTAINER,
    "idle in a container": CONTAINER,
    "known in a container": CONTAINER,
}
METERED = {"two": [WHOLE(0), WHOLE(1)], "parted": [PART(1)], "gone": [WHOLE(7)]}

READ = """
import json, os, subprocess, sys
from velodrome.agents.sampling.gpu_meter import GpuMeter
asked = json.load(sys.stdin)
now_ns = 0
found = {"inventory": []}
shell = "sleep 60 & echo $!; read line; kill $!"
with subprocess.Popen(["sh", "-c", shell], stdin=-1, stdout=-1, text=True) as worker:
    child = worker.stdout.readline().strip()
    names = {"WORKER": worker.pid, "CHILD": child, "OTHER": os.getpid()}
    for name, (script, uuids, namespace) in asked.items():
        for word, pid in names.items():
            script = script.replace(word, str(pid))
        with open(os.environ["FAKE_NVML_STATE"], "w") as file:
            print(script, file=file)
        os.environ["FAKE_NVML_NOW"] = "0"
        meter = GpuMeter(
            [(int(uuid[-1]) if uuid.startswith("G") else 0, uuid) for uuid in uuids],
            namespace=namespace, now_ns=lambda: now_ns, cost_ns=lambda: 0,
        )
        found[name] = []
        for tenth in range(101):
            now_ns = tenth * 10**8
            os.environ["FAKE_NVML_NOW"] = str(tenth / 10)
            found[name].append([vars(gpu) for gpu in meter.read({worker.pid})])
    with open(os.environ["FAKE_NVML_STATE"], "w") as file:
        print(asked["parted"][0], file=file)
    from velodrome.agents.sampling.gpus import DriverQueries, installed_gpus, usable_gpus
    found["inventory"] = [vars(gpu) for gpu in usable_gpus(DriverQueries(), "")]
    found["boards"] = [vars(gpu) for gpu in installed_gpus(DriverQueries(), "")]
    worker.communicate("end")
found["other"] = open("/proc/self/comm").read().strip(), os.getpid()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def recordings(fake_driver: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """Return the readings of one process in all scripts, one after the other."""
    requests = {
        name: (script, METERED.get(name, [WHOLE(0)]), NAMESPACES.get(name, HOST))
        for name, script in SCRIPTS.items()
    }
    variables = {
        "LD_LIBRARY_PATH": str(fake_driver),
        "FAKE_NVML": "NVIDIA H100 80GB HBM3:2",
        "FAKE_NVML_STATE": str(tmp_path_factory.mktemp("script") / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(requests).encode(),
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def make_readings(recordings: dict[str, list], name: str) -> tuple[Reading, ...]:
    found = [
        Reading(i * S // 10, "", 0.0, 1, 1, gpus=tuple(GpuReading.from_fields(gpu) for gpu in gpus))
        for i, gpus in enumerate(recordings[name])
    ]
    return assign_phases(found, PHASES)


def summarize(recordings: dict[str, list], name: str) -> Utilization:
    return summarize_utilization(
        make_readings(recordings, name), PHASES, samples=SAMPLES, ended_ns=9 * S
    )


def energy(recordings: dict[str, list], name: str) -> tuple[float | None, str, str]:
    """Rounded to a microjoule: binary fractions add up to a little more or less."""
    found = summarize(recordings, name)
    joules = None if found.energy_j is None else round(found.energy_j, 6)
    return joules, found.energy_source, found.energy_reason


def joules_per_call(recordings: dict[str, list], name: str) -> dict[str, float]:
    return {one.phase: one.per_call_j for one in summarize(recordings, name).energies}


def expected_joules(forward_w: float, gradient_w: float) -> object:
    """Return the joules per call of forward and gradient at these mean powers."""
    expected = {"forward": forward_w * 2 / 10, "gradient": gradient_w * 3 / 21}
    return pytest.approx(expected, abs=1e-9)


def list_flagged(recordings: dict[str, list], name: str) -> tuple[str, ...]:
    return select_texts(find_gpu_interference(make_readings(recordings, name)), Severity.FLAGGED)


def list_reported(recordings: dict[str, list], name: str) -> tuple[str, ...]:
    return select_texts(find_gpu_interference(make_readings(recordings, name)), Severity.REPORTED)


def test_the_power_of_a_ramp_is_integrated_where_there_is_no_counter(recordings) -> None:
    # 160 W on average in forward's 2 s, 240 W in gradient's 4 s.
    reason = "GPU 0 has no energy counter: its power was integrated"
    assert energy(recordings, "ramp") == (320.0 + 960.0, "estimated", reason)
    # 231 W on average from 5.05 s to 8.05 s.
    assert joules_per_call(recordings, "ramp") == expected_joules(160, 231)


def test_an_energy_counter_is_used_and_agrees_with_power(recordings) -> None:
    assert energy(recordings, "counter") == (1500.0, "measured", "")
    assert joules_per_call(recordings, "counter") == expected_joules(250, 250)
    found = summarize(recordings, "counter")
    assert found.energy_deviation_percent == pytest.approx(0, abs=1e-9)
    assert found.notes == ()


def test_contradicting_energy_counter_and_power_are_noted(recordings) -> None:
    assert energy(recordings, "doubtful") == (1500.0, "measured", "")
    assert joules_per_call(recordings, "doubtful") == expected_joules(250, 250)
    found = summarize(recordings, "doubtful")
    assert found.energy_deviation_percent == pytest.approx(20)
    assert found.notes == ("integrated power is 20 % more than the GPU's energy counter",)


def test_instantaneous_power_is_preferred_to_the_mean_over_a_second(recordings) -> None:
    assert {gpu["power_w"] for gpus in recordings["instant"] for gpu in gpus} == {100.0}


def test_an_energy_counter_reset_within_a_phase_is_replaced_by_power(recordings) -> None:
    reason = "the energy counter of GPU 0 was reset: its power was integrated"
    assert energy(recordings, "reset") == (1200.0, "estimated", reason)
    assert joules_per_call(recordings, "reset") == expected_joules(200, 200)


def test_an_energy_counter_reset_before_the_timed_phases_is_used(recordings) -> None:
    assert energy(recordings, "early reset") == (1500.0, "measured", "")


def test_a_gap_of_two_seconds_in_power_gives_no_energy(recordings) -> None:
    reason = "GPU 0 has no energy counter and the power meter of GPU 0 has a gap"
    assert energy(recordings, "silent") == (None, "unavailable", reason)
    assert joules_per_call(recordings, "silent") == {}


def test_an_energy_counter_bridges_a_gap_of_readings(recordings) -> None:
    assert energy(recordings, "counted through") == (1500.0, "measured", "")


def test_a_gpu_without_energy_and_power_is_reported_as_such(recordings) -> None:
    reason = "GPU 0 has no energy counter and GPU 0 has no power meter"
    assert energy(recordings, "nothing told") == (None, "unavailable", reason)


def test_every_figure_of_a_lost_gpu_is_unknown_from_then_on(recordings) -> None:
    found = [gpu for (gpu,) in recordings["lost"]]
    assert [gpu["lost"] for gpu in found] == [False] * 70 + [True] * 31
    assert found[69]["power_w"] == 250.0
    known = {name for gpu in found[70:] for name, value in gpu.items() if value is not None}
    assert known == {"index", "uuid", "lost"}
    assert energy(recordings, "lost") == (None, "unavailable", "GPU 0 was lost")
    assert list_flagged(recordings, "lost") == ("GPU 0 was lost: it no longer answers its driver",)


def test_a_missing_gpu_has_no_figures(recordings) -> None:
    assert {name for name, value in recordings["gone"][50][0].items() if value is not None} == {
        "index",
        "uuid",
        "lost",
    }
    reason = "GPU 7 has no energy counter and GPU 7 has no power meter"
    assert energy(recordings, "gone") == (None, "unavailable", reason)


def test_energy_of_two_gpus_is_the_sum_with_the_worse_source(recordings) -> None:
    reason = "GPU 1 has no energy counter: its power was integrated"
    assert energy(recordings, "two") == (600.0 + 300.0, "estimated", reason)
    forward, gradient = summarize(recordings, "two").means
    assert (forward.gpu_percent, gradient.gpu_percent) == (60.0, 60.0)
    assert gradient.sm_mhz == 1500.0
    assert gradient.gpu_power_w is None  # GPU 0 reports none


def test_means_are_taken_per_phase(recordings) -> None:
    forward, gradient = summarize(recordings, "ramp").means
    # Each reading stands for the tenth of a second before it.
    assert forward.gpu_power_w == pytest.approx(161.0)
    assert gradient.gpu_power_w == pytest.approx(241.0)


def test_heat_during_the_timing_is_flagged_with_the_clock_drop(recordings) -> None:
    # Of 20 readings in forward and 51 in gradient, 10 and 5.
    assert list_flagged(recordings, "throttled") == (
        "GPU 0 was throttled by heat (hardware) in 15 of 71 readings",
        "the SM clock of GPU 0 fell from 1980 to 1200 MHz during forward",
    )


def test_a_power_cap_is_reported_and_not_flagged(recordings) -> None:
    assert list_flagged(recordings, "capped") == ()
    assert "GPU 0 was throttled by power cap in 71 of 71 readings" in list_reported(
        recordings, "capped"
    )


def test_a_slowdown_in_a_single_reading_is_a_power_state_change(recordings) -> None:
    assert list_flagged(recordings, "blip") == ()
    assert list_flagged(recordings, "slow") == (
        "GPU 0 was throttled by hardware slowdown in 2 of 71 readings",
    )


def test_another_process_on_the_gpu_is_flagged_by_name(recordings) -> None:
    name, pid = recordings["other"]
    story = f"others were on GPU 0 while it was timed: pid {pid} ({name}, 700 MiB)"
    assert list_flagged(recordings, "shared") == (story,)
    assert list_reported(recordings, "shared") == ()
    assert [len(gpu["other_processes"]) for (gpu,) in recordings["shared"]] == [0] * 25 + [
        1
    ] * 35 + [0] * 41


def test_memory_of_the_worker_and_of_what_it_started_is_the_tasks_own(recordings) -> None:
    assert summarize(recordings, "shared").peak_gpu_process_memory_bytes == 1500 * MIB


def test_another_process_that_ended_before_the_timing_is_flagged_too(recordings) -> None:
    name, pid = recordings["other"]
    assert list_flagged(recordings, "shared before") == (
        f"others were on GPU 0 before it was timed: pid {pid} ({name})",
    )


def test_in_a_container_other_processes_are_unknown_but_their_load_is_flagged(recordings) -> None:
    assert {gpu["other_processes"] for (gpu,) in recordings["in a container"]} == {None}
    assert list_flagged(recordings, "in a container") == (
        "GPU 0 was at least 30 % busy before the task used it",
    )
    assert summarize(recordings, "in a container").peak_gpu_process_memory_bytes is None


def test_earlier_gpu_load_is_ignored_for_a_second(recordings) -> None:
    assert list_flagged(recordings, "idle in a container") == ()
    story = "the driver of GPU 0 does not state whether other processes used it"
    assert list_reported(recordings, "idle in a container") == (story,)


def test_in_a_container_with_known_pids_only_a_found_process_counts(recordings) -> None:
    found = [gpu["other_processes"] for (gpu,) in recordings["known in a container"]]
    assert found[:30] == [None] * 30
    assert [len(processes) for processes in found[30:]] == [1] * 71
    # The driver reports no memory there.
    assert summarize(recordings, "known in a container").peak_gpu_process_memory_bytes is None


def test_a_mig_partition_has_its_own_memory_and_no_energy(recordings) -> None:
    (gpu,) = recordings["parted"][50]
    assert gpu == {
        "index": 0,
        "uuid": PART(1),
        "percent": None,
        "memory_percent": None,
        "memory_bytes": 700 * MIB,
        "process_memory_bytes": 600 * MIB,
        "power_w": None,
        "energy_mj": None,
        "temperature_c": 50.0,
        "sm_mhz": 1400,
        "throttle_reasons": 0,
        "other_processes": [],
        "lost": False,
    }
    reason = f"{PART(1)} of GPU 0 has no meter of its own"
    assert energy(recordings, "parted") == (None, "unavailable", reason)
    assert list_flagged(recordings, "parted") == ()


def test_mig_partitions_are_listed_instead_of_their_gpu(recordings) -> None:
    listed = [(gpu["index"], gpu["name"], gpu["uuid"]) for gpu in recordings["inventory"]]
    assert listed == [
        (0, "NVIDIA H100 80GB HBM3 MIG 3g.40gb", PART(0)),
        (0, "NVIDIA H100 80GB HBM3 MIG 1g.10gb", PART(1)),
        (1, "NVIDIA H100 80GB HBM3", WHOLE(1)),
    ]
    memory = [gpu["memory_bytes"] for gpu in recordings["inventory"]]
    assert memory == [40192 * MIB, 9728 * MIB, 81920 * MIB]
    assert [gpu["uuid"] for gpu in recordings["boards"]] == [WHOLE(0), WHOLE(1)]
