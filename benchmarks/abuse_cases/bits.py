"""Single flipped bits anywhere in a checkpoint."""

import random
import tempfile
import warnings
from pathlib import Path

import torch

from benchmarks.abuse_cases.sandbox import in_child


def run(ours: bool, quick: bool) -> dict:
    """Returns ``flipped``, ``noticed`` (reading fails) and ``other_weights`` (read, and a weight is another)."""
    warnings.filterwarnings('ignore')
    flipped = 100 if quick else 1000
    draw = random.Random(0)
    torch.manual_seed(0)
    weights = {'a': torch.randn(2000), 'b': torch.randn(100, 10)}
    noticed = other = 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / 'iter_1.pth'
        if ours:
            from mmseg_tapadl.engine import read_checkpoint, write_checkpoint

            write_checkpoint({'state_dict': weights, 'meta': {'iter': 1}}, path)
        else:
            from mmengine.runner import save_checkpoint

            save_checkpoint({'state_dict': weights, 'meta': {'iter': 1}}, str(path))
        whole = path.read_bytes()

        def read() -> None:
            if ours:
                found = read_checkpoint(path)['state_dict']
            else:
                from mmengine.runner import CheckpointLoader

                found = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')['state_dict']
            (Path(name) / 'same').write_text(
                str(all(torch.equal(found[key], value) for key, value in weights.items()))
            )

        for _ in range(flipped):
            damaged = bytearray(whole)
            damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            if in_child(read) != 'done':
                noticed += 1
            elif (Path(name) / 'same').read_text() != 'True':
                other += 1
    return {'flipped': flipped, 'noticed': noticed, 'other_weights': other}
