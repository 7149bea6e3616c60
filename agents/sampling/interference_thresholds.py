"""Thresholds above which a timing is not interference-free, with reasons.

Percentages are of one core unless another base is named.
"""

# Others on the task's own cores. A machine's own work on a core (timers, kernel threads) is some
# tenths, the sampler's at most 1 if no other core is free, that of Ray and the agent some 5, of
# which a task on all cores gets its share. 5 of a CPU shift a median by as much as frameworks often
# differ. A task waits for its slowest thread, however many it has, so with more CPUs the bound
# grows only by each CPU's own work, and half a core is always too much.
OTHER_CPU_PERCENT = 5.0
OTHER_CPU_PERCENT_OF_MANY = (8.0, 1.0)  # a base, and this much per CPU
OTHER_CPU_PERCENT_AT_MOST = 50.0


def other_cpu_bound(task_cpus: int) -> float:
    """Return 5 for one CPU, 10 for two, then 1 more for each, up to 50."""
    base, per_cpu = OTHER_CPU_PERCENT_OF_MANY
    many = base + per_cpu * task_cpus
    return min(OTHER_CPU_PERCENT * task_cpus, many, OTHER_CPU_PERCENT_AT_MOST)


# Others on the rest of the machine. The machine's own work, Ray and the agent included, stays
# below. More is reported. It is flagged only if it leaves no CPU free, so that the system's own
# work moves to the task's cores, or if it uses more than this share of the other CPUs: they share
# the clock budget, the last-level cache and the memory with the task.
OTHER_CORES_PERCENT = 20.0
CROWDED_SHARE = 0.5

# Others on the task's cores before it was timed, when files are read and compiled, in part by
# kernel threads.
BEFORE_PERCENT = 20.0

# Steal: time of the task's cores that the hypervisor took. It comes in bursts, so 1 hardly shifts
# a median; what does shift it looks like a slower machine.
STEAL_PERCENT = 2.0

# Share of time in which some process waited; the bounds of `velodrome doctor`. Waiting for a CPU
# means that others wait. Waiting for memory is never normal.
CPU_PRESSURE_PERCENT = 10.0
MEMORY_PRESSURE_PERCENT = 1.0

# 1 MiB came back from swap. A page or two of a process that wakes up does not matter.
SWAPPED_IN_PAGES = 256

# Stopped by a container's CPU quota: all threads at once, for tens of milliseconds.
QUOTA_PERCENT = 1.0

# The clock: this far below its highest while timed, in this share of the readings. It steps by
# some 3 % all the time, and the interval covers a short dip.
CLOCK_DROP = 0.10
CLOCK_SHARE = 0.20
# Of each CPU whose clock is read: an idle CPU's clock shows only its governor.
CLOCK_BUSY_PERCENT = 50.0

# Fewer readings are not evidence.
FEWEST_READINGS = 3
# The kernel may count CPU time by sampling each CPU 100 times a second, with the error of any
# sample; a value is a finding only if it exceeds its bound by this many standard deviations.
CERTAINTY_SIGMAS = 2.0
