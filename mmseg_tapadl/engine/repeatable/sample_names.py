"""Which files a batch came from."""

from typing import Any


def pictures_of(data_batch: Any) -> list[str]:
    """The image paths of a batch as the data loader made it; empty when it does not say."""
    samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
    flat = [
        sample for entry in samples for sample in (entry if isinstance(entry, (list, tuple)) else [entry])
    ]
    return list(dict.fromkeys(str(sample.img_path) for sample in flat if hasattr(sample, 'img_path')))
