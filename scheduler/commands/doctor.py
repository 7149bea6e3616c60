"""Command `doctor`: checks if this machine is fit to measure, and what to change."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from velodrome.agents.doctor.finding import DoctorFinding, FindingLevel
from velodrome.agents.doctor.proc_sys_files import Kernel
from velodrome.agents.doctor.runner import examine, sort_by_level
from velodrome.scheduler.commands.output import print_json, print_lines, print_table
from velodrome.scheduler.next_commands import example_command, format_command


def doctor(*, as_json: bool) -> int:
    """Print the findings. Exit status 1 if any is a warning, else 0."""
    findings = sort_by_level(examine(Kernel()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _print_findings(findings)
    return exit_status(findings)


def exit_status(findings: Sequence[DoctorFinding]) -> int:
    """Return 1 if any finding is a warning; unknown ones do not count."""
    return int(any(finding.verdict is FindingLevel.WARNING for finding in findings))


def _print_findings(findings: Sequence[DoctorFinding]) -> None:
    print_table(
        [
            {"verdict": finding.verdict, "check": finding.check, "seen": finding.seen}
            for finding in findings
        ]
    )
    warnings = [finding for finding in findings if finding.verdict is FindingLevel.WARNING]
    for finding in warnings:
        print_lines("", f"{finding.check}: {finding.why}", f"    {finding.mend}")
    counts = Counter(finding.verdict for finding in findings)
    total = ", ".join(f"{counts[verdict]} {verdict}" for verdict in FindingLevel)
    following = (
        f"after the changes, next: {format_command('doctor')}"
        if warnings
        else f"next: {example_command('run')}"
    )
    print_lines("", f"{total}; nothing was changed", following)
