"""Takes corrupted pictures from a tree of files instead of making them."""

import os
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class TakePregenerated(BaseTransform):
    """Points ``img_path`` at the pre-generated form of a picture; put it right before the loading transform.

    That of ``<image_folder>/<city>/x_leftImg8bit.png`` is
    ``<root>/<corruption>/<severity>/<city>/x_leftImg8bit.png``, the layout of Cityscapes-C. The label path
    is not touched.

    Args:
        root: The pre-generated tree.
        corruption: The corruption's folder in it.
        severity: The severity's folder in that.
        image_folder: The folder of the clean pictures, below which the trees agree.
    """

    def __init__(self, root: str, corruption: str, severity: int, image_folder: str) -> None:
        self.folder = Path(root) / corruption / str(severity)
        self.image_folder = image_folder

    def path_for(self, img_path: str) -> str:
        """The path of the pre-generated form of one clean picture."""
        return str(self.folder / os.path.relpath(img_path, self.image_folder))

    def transform(self, results: dict) -> dict:
        """Replaces ``results['img_path']``.

        Raises:
            FileNotFoundError: Where it does not exist; the message names it.
        """
        path = self.path_for(results['img_path'])
        if not os.path.isfile(path):
            raise FileNotFoundError(f'the pre-generated picture {path} does not exist')
        results['img_path'] = path
        return results
