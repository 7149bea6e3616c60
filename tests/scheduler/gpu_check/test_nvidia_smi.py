"""Lines of nvidia-smi, and their comparison with readings of ours."""

import pytest

from velodrome.scheduler.gpu_check.nvidia_smi import FIELDS, Agreement, Value, compare, parse_answer

LINE = (
    "GPU-1, NVIDIA H100 80GB HBM3, 580.65, 81559, 700.00, Enabled, Enabled, Disabled, "
    "2048, 41, 121.50, 1980, 30\n"
)


def test_a_line_is_texts_and_numbers_and_what_a_gpu_lacks_is_none() -> None:
    found = parse_answer(LINE + LINE.replace("GPU-1", "GPU-2").replace("700.00", "[N/A]"))
    assert found["GPU-1"]["driver_version"] == "580.65"
    assert found["GPU-1"]["power.limit"] == 700.0
    assert found["GPU-2"]["power.limit"] is None
    assert set(found["GPU-2"]) == set(FIELDS)
    assert parse_answer("No devices were found\n") == {}


@pytest.mark.parametrize(
    ("field", "theirs", "before", "after", "expected"),
    [
        ("name", "H100", "H100", "H100", Agreement.AGREES),
        ("name", "H100", "H200", "H200", Agreement.DIFFERS),
        ("memory.total", 81559.0, 81559.6, 81559.6, Agreement.AGREES),
        ("memory.total", 81559.0, 80000.0, 80000.0, Agreement.DIFFERS),
        ("temperature.gpu", 45.0, 41.0, 50.0, Agreement.AGREES),  # it rose meanwhile
        ("temperature.gpu", 60.0, 41.0, 50.0, Agreement.DIFFERS),
        ("power.draw", 100.0, 80.0, 90.0, Agreement.AGREES),
        ("power.draw", 500.0, 80.0, 90.0, Agreement.DIFFERS),
        ("clocks.sm", 1980.0, 345.0, 345.0, Agreement.SHOWN),
        ("mig.mode.current", None, "Disabled", "Disabled", Agreement.UNKNOWN),
        ("power.limit", 700.0, None, None, Agreement.UNKNOWN),
    ],
)
def test_readings_agree_within_what_changes_in_a_moment(
    field: str, theirs: Value, before: Value, after: Value, expected: Agreement
) -> None:
    assert compare(field, theirs, before, after).agreement is expected
