"""Tolerances of loss and gradient errors per precision, shared by worker and agent.

Correct float32 was at most 2.3e-6 off in gradients and about 1e-7 in the loss, over all frameworks
and models (docs/results/proof.csv). Products of operands rounded to TF32 are off by 2e-4 to 4e-2 in
gradients, to float16 by 3e-4 to 2e-3, to bfloat16 by 2e-3 and more; a forward pass in bfloat16
alone moves a loss by 5e-5. All relative: |loss - ref| / |ref|, |g - ref| / |ref| per parameter.
"""

LOSS_TOLERANCES = {"float32": 1e-6}
GRADIENT_TOLERANCES = {"float32": 5e-5}
