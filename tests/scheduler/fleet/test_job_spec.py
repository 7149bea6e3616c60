"""Jobs: their ids, their shell commands and their ends."""

import shlex

import pytest

from velodrome.scheduler.errors import ConfigError
from velodrome.scheduler.fleet.job_spec import (
    Job,
    JobSpec,
    State,
    build_entry_command,
    find_job,
    make_job_id,
    parse_job,
)

HOSTILE = "a'b\"c; $(touch x) `id`\n--stop"


def details(**changes: object) -> dict[str, object]:
    order = JobSpec("quick", "20261124-120000-abcdef01", "/srv/results")
    found = {"submission_id": "velodrome-quick-1", "status": "RUNNING", "start_time": 5}
    return {**found, "metadata": order.metadata, **changes}


def job(**changes: object) -> Job:
    found = parse_job(details(**changes))
    assert found is not None
    return found


def test_a_shell_parses_every_argument_unchanged() -> None:
    words = ["run", f"--results=/srv/{HOSTILE}", ""]
    assert shlex.split(build_entry_command(words))[4:] == words


def test_a_job_id_keeps_only_letters_of_a_hostile_name() -> None:
    job_id = make_job_id(JobSpec(HOSTILE, "", ""), "20261124-1")
    assert job_id == "velodrome-a-b-c-touch-x-id-stop-20261124-1"
    assert make_job_id(JobSpec("日本", "", ""), "1") == "velodrome-1"


def test_the_resume_command_has_all_typed_options() -> None:
    order = JobSpec("quick", "ID", "/srv/my results", only="model=lenet threads=1", patience="5m")
    called, *words = shlex.split(order.build_resume_command("auto"))
    assert called.endswith("velodrome")
    assert words == [
        *("run", "--resume", "ID", "--results", "/srv/my results"),
        *("--only", "model=lenet threads=1", "--patience", "5m", "--address", "auto", "--submit"),
    ]


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"status": "PENDING"}, (None, False)),
        ({"status": "SUCCEEDED", "driver_exit_code": 0}, (0, False)),
        ({"status": "FAILED", "driver_exit_code": 2}, (2, False)),
        ({"status": "FAILED", "driver_exit_code": -9}, (137, True)),
        ({"status": "FAILED", "driver_exit_code": 137}, (137, True)),
        ({"status": "FAILED", "message": "its node died"}, (3, True)),
        ({"status": "STOPPED"}, (143, False)),
    ],
)
def test_a_jobs_exit_status_is_that_of_a_shell(
    changes: dict[str, object], end: tuple[int | None, bool]
) -> None:
    found = job(**changes)
    assert (found.exit_status, found.was_killed) == end


def test_jobs_of_other_programs_are_not_seen() -> None:
    assert parse_job(details(metadata={"owner": "somebody"})) is None
    assert parse_job(details(metadata=None)) is None
    assert parse_job(details(submission_id=None)) is None


def test_a_sweep_id_finds_its_newest_job() -> None:
    jobs = [job(submission_id="newer"), job(submission_id="older")]
    assert find_job(jobs[0].spec.sweep_id, jobs, "auto").job_id == "newer"
    assert find_job("older", jobs, "auto").state is State.RUNNING
    with pytest.raises(ConfigError, match=r"no job 'oldest'.*older"):
        find_job("oldest", jobs, "auto")
