"""How much may go on beside a task before its numbers are not those of a quiet machine, and why.

Percentages are of one core, except where another whole is named.
"""

# Others on the task's own cores. A machine's own work on a core (timers, kernel threads) is some
# tenths, the sampler's at most 1 where no other core is free, that of Ray and the agent some 5,
# of which a task on all cores gets its share. 5 of a CPU move a median by as much as frameworks
# often differ. A task waits for the slowest of its threads, however many they are, so with more
# CPUs the bound grows only by what each does by itself, and half a core is always too much.
FOREIGN_PERCENT = 5.0
FOREIGN_PERCENT_OF_MANY = (8.0, 1.0)  # at most so much, and so much for each CPU
FOREIGN_PERCENT_AT_MOST = 50.0


def foreign_bound(task_cpus: int) -> float:
    """5 for one CPU, 10 for two, then 1 more for each, up to 50."""
    least, for_each = FOREIGN_PERCENT_OF_MANY
    many = least + for_each * task_cpus
    return min(FOREIGN_PERCENT * task_cpus, many, FOREIGN_PERCENT_AT_MOST)


# Others on the rest of the machine: what it does by itself, Ray and the agent included, stays
# below. More is told, and flagged only if it leaves no CPU free, so that the system's own work
# comes to the task's cores, or if it keeps more than this share of the others busy: they share
# the clock's budget, the last cache and the memory with the task.
TOLERATED_PERCENT = 20.0
CROWDED_SHARE = 0.5

# Others on the task's cores before it was timed, when files are read and compiled, with which
# the kernel's threads help.
BEFORE_PERCENT = 20.0

# Of the time of the task's cores, by the hypervisor. It comes in bursts, so a median hardly
# notices 1; what it notices cannot be told from a slower machine.
STEAL_PERCENT = 2.0

# Of the time, some process waited. The bounds of velodrome doctor: waiting for a CPU says that
# others wait, waiting for memory is never part of a quiet machine.
CPU_PRESSURE_PERCENT = 10.0
MEMORY_PRESSURE_PERCENT = 1.0

# 1 MiB came back from swap. A page or two of a process that wakes up is nobody's trouble.
SWAPPED_IN_PAGES = 256

# Stopped for a container's CPU quota: all threads at once, for tens of milliseconds.
QUOTA_PERCENT = 1.0

# The clock: so far below its highest while timed, for this share of the readings. It steps by
# some 3 % all the time, and a short dip is in the interval; at its highest it did run.
CLOCK_DROP = 0.10
CLOCK_SHARE = 0.20
# Of each CPU whose clock is read: an idle one's tells of its governor only.
CLOCK_BUSY_PERCENT = 50.0

# Fewer readings than this tell nothing.
FEWEST_READINGS = 3
# The kernel may count CPU time by looking at each CPU 100 times a second, which is as uncertain
# as any count of samples; what is not above its bound by so many deviations is no finding.
CERTAINTY_SIGMAS = 2.0
