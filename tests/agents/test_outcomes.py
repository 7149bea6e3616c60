"""The status from a worker's events and its end, for cases that are hard to cause."""

import signal

import pytest

from velodrome.adapters.protocol import Failed, Finished, Hello, Phase, Timed, Timing
from velodrome.agents.isolation.supervised import ExitCause, TreeExit
from velodrome.agents.measurement import EndOrigin, Status
from velodrome.agents.outcomes import WorkerLimits, decide_outcome
from velodrome.agents.session import Session

HELLO = Hello("3.12.1", 7, 1, 0)
BUILD = Phase("build", 1)
BOUNDED = WorkerLimits(deadline_s=900, memory_bytes=2**34, timing=Timing())
STEADY = Timed("forward", 100.0, 99.5, 100.5, 10, 1, 2, "target", stable=True)
LOOSE = Timed("gradient", 100.0, 90.0, 110.0, 10, 1, 2, "max_seconds", stable=False)
DONE = (HELLO, BUILD, STEADY, Finished(0, 9))


def make_exit(code: int | None = 0, killed_by: int | None = None, stragglers: int = 0) -> TreeExit:
    return TreeExit(ExitCause.EXIT, code, killed_by, stragglers)


def make_killed_session(number: int, **known: object) -> Session:
    fields = {"events": (HELLO, BUILD), "ending": make_exit(None, number), "log_tail": "", **known}
    return Session(**fields)  # type: ignore[arg-type]


def test_a_crash_after_the_last_number_is_only_noted() -> None:
    verdict = decide_outcome(Session(DONE, make_exit(None, signal.SIGSEGV), ""), BOUNDED)
    assert (verdict.status, verdict.reason) == (Status.OK, "")
    assert verdict.notes == (
        "the worker was killed by SIGSEGV (segmentation fault) after it finished",
    )


def test_a_hang_after_the_last_number_is_only_noted() -> None:
    verdict = decide_outcome(Session(DONE, TreeExit(ExitCause.RELEASED), ""), BOUNDED)
    assert verdict.status is Status.OK
    assert verdict.notes == ("the worker did not end by itself after it finished",)


def test_one_wide_interval_makes_a_task_unstable_and_is_named() -> None:
    verdict = decide_outcome(Session((*DONE[:-1], LOOSE, DONE[-1]), make_exit(), ""), BOUNDED)
    assert verdict.status is Status.UNSTABLE
    assert verdict.reason == (
        "the interval is wider than the target of 1 % after 60 s: gradient ±10 %"
    )


def test_few_samples_with_a_narrow_range_are_too_few_and_not_too_wide() -> None:
    few = LOOSE._replace(low_ns=LOOSE.median_ns, high_ns=LOOSE.median_ns * 1.001, samples=3)
    verdict = decide_outcome(Session((*DONE[:-1], few, DONE[-1]), make_exit(), ""), BOUNDED)
    assert verdict.status is Status.UNSTABLE
    assert verdict.reason == "too few samples for a 95 % interval within 60 s: gradient 3"


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        (
            "few",
            "too few samples for a 95 % interval within 60 s: gradient 10, equivalent to 4",
        ),
        ("kinds", "bimodal samples, whose median depends on the share of each mode: gradient"),
        (
            "slow",
            "low-frequency noise, which more time may average out: gradient",
        ),
        ("drift", "the speed changed during the timing: gradient by 8 %"),
        ("of another world", "the interval is wider than the target of 1 % after 60 s: gradient"),
    ],
)
def test_the_instability_reason_of_a_number_is_reported(doubt: str, reason: str) -> None:
    doubtful = LOOSE._replace(doubt=doubt, worth=4.2, drift=0.08)
    verdict = decide_outcome(Session((*DONE[:-1], doubtful, DONE[-1]), make_exit(), ""), BOUNDED)
    assert verdict.status is Status.UNSTABLE
    assert verdict.reason.startswith(reason)


def test_a_very_wide_interval_is_printed_without_an_exponent() -> None:
    wild = LOOSE._replace(low_ns=10.0, high_ns=640.0)
    verdict = decide_outcome(Session((*DONE[:-1], wild, DONE[-1]), make_exit(), ""), BOUNDED)
    assert verdict.reason.endswith("gradient ±315 %")


def test_a_sigkill_during_an_oom_kill_is_out_of_memory() -> None:
    session = make_killed_session(signal.SIGKILL, kernel_kills=1, peak_rss_bytes=3 * 2**30)
    verdict = decide_outcome(session, BOUNDED)
    assert verdict.status is Status.OUT_OF_MEMORY
    assert verdict.reason == (
        "the kernel killed it for lack of memory (it used 3.00 GiB): in phase build"
    )


def test_any_other_sigkill_is_a_crash() -> None:
    verdict = decide_outcome(make_killed_session(signal.SIGKILL), BOUNDED)
    assert verdict.status is Status.CRASHED
    assert verdict.reason == "killed by SIGKILL (killed) in phase build"


def test_an_abort_because_memory_ran_out_is_out_of_memory() -> None:
    log = "terminate called after throwing an instance of 'std::bad_alloc'"
    assert (
        decide_outcome(make_killed_session(signal.SIGABRT, log_tail=log), BOUNDED).status
        is Status.OUT_OF_MEMORY
    )
    assert decide_outcome(make_killed_session(signal.SIGABRT), BOUNDED).status is Status.CRASHED


def test_a_worker_without_a_hello_event_means_a_broken_environment() -> None:
    log = "python: error while loading shared libraries: libpython3.so: cannot open"
    verdict = decide_outcome(Session((), make_exit(127), log), BOUNDED)
    assert verdict.status is Status.ENVIRONMENT_FAILED
    assert verdict.reason == f"the environment's interpreter ended with exit code 127: {log}"


def test_an_exit_without_a_result_is_a_crash_with_the_last_printed_line() -> None:
    verdict = decide_outcome(Session((HELLO, BUILD), make_exit(3), "one\nlast words\n"), BOUNDED)
    assert verdict.status is Status.CRASHED
    assert verdict.reason == "ended with exit code 3 in phase build: last words"


@pytest.mark.parametrize(
    ("ending", "status", "words"),
    [
        (
            TreeExit(ExitCause.DEADLINE),
            Status.TIMED_OUT,
            "not finished after 900 s: in phase build",
        ),
        (
            TreeExit(ExitCause.MEMORY, tree_rss_bytes=17 * 2**30),
            Status.OUT_OF_MEMORY,
            "used 17.00 GiB, the limit is 16.00 GiB: in phase build",
        ),
        (
            TreeExit(ExitCause.SUPERVISOR),
            Status.CRASHED,
            "another process killed the worker's supervisor",
        ),
        (TreeExit(ExitCause.RELEASED), Status.CRASHED, "the worker went silent and was killed"),
        (None, Status.CRASHED, "processes of the worker cannot be killed"),
    ],
)
def test_the_end_of_the_tree_decides_if_the_worker_reported_nothing(
    ending: TreeExit | None, status: Status, words: str
) -> None:
    verdict = decide_outcome(Session((HELLO, BUILD), ending, ""), BOUNDED)
    assert verdict.status is status
    assert words in verdict.reason


def test_the_workers_own_failure_report_decides() -> None:
    failed = Failed("disagreed", "conv1.weight is off by 0.3", "table", 5)
    verdict = decide_outcome(Session((HELLO, failed), make_exit(1), ""), BOUNDED)
    assert (verdict.status, verdict.reason) == (Status.DISAGREED, "conv1.weight is off by 0.3")


def test_an_unknown_status_is_a_crash() -> None:
    verdict = decide_outcome(Session((Failed("odd", "why", "", 5),), make_exit(1), ""), BOUNDED)
    assert (verdict.status, verdict.reason) == (Status.CRASHED, "why")


def test_a_worker_that_breaks_the_protocol_is_a_crash() -> None:
    session = Session((HELLO,), TreeExit(ExitCause.RELEASED), "", broken="not an event: 'hi'")
    verdict = decide_outcome(session, BOUNDED)
    assert verdict.status is Status.CRASHED
    assert verdict.reason == "the worker broke the protocol: not an event: 'hi'"


def test_an_exceptions_text_is_one_line_without_escape_sequences() -> None:
    odd = Failed("crashed", "\x1b]0;t\x07RuntimeError: \x1b[31mbad\nnews\u202e", "", 5)
    assert (
        decide_outcome(Session((HELLO, odd), make_exit(1), ""), BOUNDED).reason
        == "RuntimeError: bad news"
    )
    broken = Session((HELLO,), make_exit(1), "", broken="no JSON: '\x1b[2J'")
    assert decide_outcome(broken, BOUNDED).reason == "the worker broke the protocol: no JSON: ''"


@pytest.mark.parametrize(
    ("session", "origin"),
    [
        (make_killed_session(signal.SIGKILL), EndOrigin.OWN),
        (make_killed_session(signal.SIGSEGV), EndOrigin.OWN),
        (make_killed_session(signal.SIGKILL, kernel_kills=1), EndOrigin.OWN),
        (make_killed_session(signal.SIGABRT), EndOrigin.ERROR),  # JAX, NCCL: a peer is gone
        (Session((HELLO, BUILD), make_exit(1), ""), EndOrigin.ERROR),
        (Session((HELLO, Failed("crashed", "RuntimeError", "", 2)), None, ""), EndOrigin.ERROR),
        (Session((HELLO, Failed("killed", "by signal 9", "", 2)), None, ""), EndOrigin.OWN),
        (Session((HELLO, Failed("out_of_memory", "", "", 2)), None, ""), EndOrigin.OWN),
        (Session((HELLO, Failed("disconnected", "", "", 2)), None, ""), EndOrigin.PEER),
        (Session((HELLO, BUILD), TreeExit(ExitCause.DEADLINE), ""), EndOrigin.OWN),
    ],
)
def test_an_end_tells_how_surely_it_is_its_own_and_not_a_peers(session, origin) -> None:
    assert decide_outcome(session, BOUNDED).origin is origin
