"""The doctor: read-only checks of this machine's fitness to measure, with fixes."""
