"""A check that a time is physically possible and that the kernel saw the process work."""

from typing import List, Optional, Tuple

from velodrome.adapters.models import layers as kinds
from velodrome.adapters.models import products
from velodrome.adapters.models.collectives import count_written_bytes
from velodrome.adapters.models.layers import Model
from velodrome.adapters.proof import peak_rates
from velodrome.adapters.proof.timed_phase import CheckFinding, ProofContext, TimedPhase
from velodrome.adapters.protocol import CANNOT_TELL, FAILED, IMPOSSIBLE, PASSED

# Convolutions take up to 4 times fewer operations than counted (Lavin & Gray, Fast Algorithms for
# Convolutional Neural Networks, CVPR 2016: F(4x4, 3x3)).
CONVOLUTION_MARGIN, MARGIN = 4.0, 1.1
LOW_SHARE, FAILED_SHARE = 0.5, 0.1  # of processor time in the timed wall time


def check_physical_limits(proof: ProofContext, phase: TimedPhase) -> CheckFinding:
    """Compare a phase with the device's peak, and with the process's processor time."""
    request, spent = proof.request, phase.samples.process_times
    peak = peak_rates.find_peak(
        request.device,
        proof.adapter.device_name(),
        request.threads,
        request.dtype,
        request.all_devices,
    )
    figures, faults = _measure_rates(proof, phase, peak)
    if faults:
        return CheckFinding(FAILED, figures, faults[0])
    if proof.on_cpu:
        timed_ns = float(sum(phase.samples.elapsed_ns)) or 1.0
        worked = spent.processor_ns / timed_ns
        waited = spent.waited_ns / timed_ns
        figures += (("processor_share", worked), ("waited_share", waited))
        if worked + waited < LOW_SHARE:
            if proof.adapter.waits_by_design:
                return CheckFinding(IMPOSSIBLE, figures, proof.adapter.waits_by_design)
            reason = "the process worked for {:.0f} % of the timed wall time".format(100 * worked)
            outcome = FAILED if worked + waited < FAILED_SHARE else CANNOT_TELL
            return CheckFinding(outcome, figures, reason)
    if peak is None:
        reason = "the peak of {!r} is unknown".format(proof.adapter.device_name())
        return CheckFinding(CANNOT_TELL, figures, reason)
    return CheckFinding(PASSED, figures)


def _measure_rates(
    proof: ProofContext, phase: TimedPhase, peak: Optional[peak_rates.PeakRates]
) -> Tuple[Tuple[Tuple[str, float], ...], List[str]]:
    model, size = proof.model, proof.request.batch_size
    flops = products.count_phase_flops(model, size, phase.name)
    moved = products.count_copied_bytes(model, size) + count_written_bytes(model, size)
    margin = CONVOLUTION_MARGIN if _has_convolution(model) else MARGIN
    limits = peak or peak_rates.PeakRates(float("inf"), float("inf"), "")
    figures: Tuple[Tuple[str, float], ...] = ()
    faults = []
    for name, amount, limit in (
        ("flops_per_s", flops, limits.flops_per_s * margin),
        ("bytes_per_s", moved, limits.bytes_per_s * MARGIN),
    ):
        if not amount:
            continue
        rate = amount / (phase.call_ns / 1e9)
        figures += ((name, rate), ("most_" + name, limit if peak else 0.0))
        if rate > limit:
            text = "{:.3g} {} exceed the possible {:.3g} ({})"
            faults.append(text.format(rate, name, limit, limits.source))
    return figures, faults


def _has_convolution(model: Model) -> bool:
    own = (kinds.Conv, kinds.DilatedConv, kinds.TransposedConv)
    is_code = isinstance(model.input, kinds.Code)  # which may convolve
    return is_code or any(isinstance(layer, own) for layer in model.layers)
