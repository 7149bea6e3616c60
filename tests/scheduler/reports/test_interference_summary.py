from made_rows import task_row_with

from velodrome.scheduler.reports.interference_summary import describe_interference
from velodrome.scheduler.results.typed_rows import TaskRow

OTHERS = "its cores were used by others while it was timed, 50 % of one core: stress-ng (pid 123)"
STEAL = "other machines took 3.0 % of its cores' time (steal)"


def ran(task: str, interference: str = "", **changes: object) -> TaskRow:
    plain = {"task_id": task, "repeat": 0, "attempt": 1, "forward_median_ns": 1e6}
    about = {"interference_free": not interference, "interference": interference}
    return task_row_with(**plain | about | changes)


def test_a_disturbed_sweep_says_how_many_of_its_runs_were_and_by_what() -> None:
    rows = [ran("1", OTHERS), ran("2", f"{OTHERS}; {STEAL}"), ran("3"), ran("4")]
    assert describe_interference(rows) == (
        "2 of 4 timed runs had interference: other processes on their cores in 2, "
        "other virtual machines (steal) in 1 "
        "(stress-ng)"
    )


def test_a_sweep_that_nothing_disturbed_or_of_which_that_is_not_known_says_nothing() -> None:
    assert describe_interference([ran("1"), ran("2", interference_free=None)]) == ""


def test_what_was_not_timed_and_attempts_that_were_made_good_do_not_count() -> None:
    rows = [
        ran("1", OTHERS),
        ran("1", attempt=2),
        ran("2", STEAL),
        ran("3", OTHERS, forward_median_ns=None),
    ]
    assert (
        describe_interference(rows)
        == "1 of 2 timed runs had interference: other virtual machines (steal) in 1"
    )


def test_what_nobody_has_a_word_for_is_counted_all_the_same() -> None:
    assert describe_interference([ran("1", "an earthquake")]).endswith("another source in 1")


def test_controls_in_a_results_folder_reach_no_headline() -> None:
    told = describe_interference([ran("1", "its cores were used by others: evil\x1b[31m (pid 1)")])
    assert "\x1b" not in told and "other processes on their cores" in told
