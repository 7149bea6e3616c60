"""Checks that the timed calls did the work, made for each timed phase outside every sample.

A correct result proves that a framework can compute a model, not that the timed calls did. Cached
results, results folded to constants or hoisted out of a loop, unfinished work and a wrong clock all
give wrong times. Each check detects one of these faults; its figures are its evidence
(velodrome.adapters.protocol).

    different_values    no two batches in a row hold the same values
    clocked_by_two      the adapter's stopwatch agrees with the worker's clock around it
    possible            the device can compute and copy that fast; the kernel saw it work
    drained             reading the last result at once takes no longer than a second time
    timed_is_checked    a call just like the timed ones returns the reference's result
    twice_the_work      twice as many calls take twice as long
    not_seen_before     batches that the process has never seen take as long, and agree
    follows_parameters  after a parameter changes, the loss follows

Noise makes a check `cannot_tell`, never `failed`. A check by time is repeated before it fails, in
alternation with its comparison; it fails only if all repetitions agree without interference.
"""
