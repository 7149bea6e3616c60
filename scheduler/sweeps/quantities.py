"""Durations, sizes and shares as people write them: 15m, 16GiB, 1%."""

import re

DURATION_MEND = "Give a number and its unit, like 90s, 15m or 2h."
SIZE_MEND = "Give a number and its unit, like 512MB or 16GiB."
SHARE_MEND = "Give a share above 0 and below 1, like 1% or 0.01."

_NUMBER = r"(\d{1,12}(?:\.\d{1,30})?)"
_DURATION = re.compile(_NUMBER + r"\s*(s|m|min|h|d)")
_SIZE = re.compile(_NUMBER + r"\s*(B|[kKMGT]B|[KMGT]iB)")
_SHARE = re.compile(_NUMBER + r"\s*%")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def duration_s(text: str) -> float | None:
    """Seconds above 0, None where the text is no duration."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        return None
    return float(found[1]) * _SECONDS[found[2]] or None


def size_bytes(text: str) -> int | None:
    """Whole bytes above 0; MB is 1000 x 1000, MiB 1024 x 1024. None where the text is no size."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        return None
    unit = found[2]
    base = 1024 if unit.endswith("iB") else 1000
    power = _POWERS[unit.removesuffix("B").removesuffix("i").upper()]
    return int(float(found[1]) * base**power) or None


def share(text: str) -> float | None:
    """A share above 0 and below 1, of `1%` or of `0.01`; None where the text is none."""
    percent = _SHARE.fullmatch(text.strip())
    plain = re.fullmatch(_NUMBER, text.strip())
    if not percent and not plain:
        return None
    value = float(percent[1]) / 100 if percent else float(text)
    return value if 0 < value < 1 else None
