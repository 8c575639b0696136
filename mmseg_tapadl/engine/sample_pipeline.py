"""A data set's pipeline that is seeded per sample and names the files when it fails."""

from typing import Any

from mmengine.dataset import Compose

from mmseg_tapadl.engine.errors import SampleError
from mmseg_tapadl.engine.random_streams import seeded, stream_seed


class SamplePipeline(Compose):
    """The same transforms in the same order, in a frame of their own randomness.

    Args:
        pipeline: The pipeline to replace.
        seed: The run's seed, or None to leave randomness alone (validation and testing).
    """

    def __init__(self, pipeline: Compose, seed: int | None) -> None:
        self.transforms = pipeline.transforms
        self.seed = seed

    def __call__(self, data: dict) -> dict | None:
        """Runs the transforms on one sample.

        Raises:
            SampleError: With the image's and the label's path, in place of any error of a transform.
        """
        position = getattr(data.get('sample_idx'), 'position', None)
        files = f'image {data.get("img_path", "unknown")}, label {data.get("seg_map_path", "none")}'
        try:
            if self.seed is None or position is None:
                return super().__call__(data)
            with seeded(stream_seed(self.seed, 'sample', position)):
                return super().__call__(data)
        except Exception as error:
            reason: Any = str(error).strip() or type(error).__name__
            raise SampleError(f'{files}: {type(error).__name__}: {reason}') from error
