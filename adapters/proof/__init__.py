"""That what was timed did the work: checks of each timed phase, outside of every sample.

A result that agrees proves that a framework can compute a model, not that the calls that were timed
did so. Results that are kept, folded to constants or hoisted out of a loop, work that a clock did
not wait for, and a clock that tells what it likes all give a time that nobody earned. Each check
stands for one way of that; what it goes by is told in its figures (velodrome.adapters.protocol).

    different_values    no two batches in a row hold the same values
    clocked_by_two      the adapter's stopwatch agrees with the worker's clock around it
    possible            no device computes, or copies, that fast; and the kernel saw it work
    drained             reading the last result at once takes no longer than reading it again
    timed_is_checked    a call made just like those that count returns what the reference says
    twice_the_work      twice as many calls take twice as long
    not_seen_before     batches that the process has never seen take as long, and agree
    follows_parameters  once a parameter has other values, the loss is that of those

Noise makes a check say that it cannot tell, never that it failed. What goes by time is looked at
again before it fails, beside what it is held against, and fails only if all looks agree and the
machine was calm meanwhile.
"""
