"""The benchmarks, one concept a file. Each has ``WORKLOADS`` by name and ``run(bench)``, which records figures."""

NAMES = (
    'attention',
    'pooling',
    'decode_head',
    'training_step',
    'swin',
    'user_run',
    'checkpointing',
    'sliding_window',
    'growth',
    'floor',
    'profile',
    'startup',
)
"""The order in which they run; each is the module ``benchmarks.cases.<name>``."""
