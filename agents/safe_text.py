"""What the system says, of any bytes, as text that every table, file and screen takes."""

import os


def readable(text: str) -> str:
    r"""Bytes that are no UTF-8, which Python hands over as halves of surrogates, as `\xff`.

    Written out and not left out, so that two names that differ by them still do.
    """
    try:
        return os.fsencode(text).decode("utf-8", errors="backslashreplace")
    except UnicodeEncodeError:  # halves that stand for no byte
        return text.encode(errors="backslashreplace").decode()
