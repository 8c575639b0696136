"""Configs that are right are not refused: ours and those that mmseg installs."""

from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config

from mmseg_tapadl.agreement import check_agreement

OURS = sorted((Path(__file__).resolve().parents[2] / 'configs').glob('*.py'))
MMSEG = Path(mmseg.__file__).parent / '.mim/configs'
# One config of each kind of head, loss, data set and void id that mmseg knows.
THEIRS = [
    'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    'segformer/segformer_mit-b5_8xb2-160k_ade20k-512x512.py',
    'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'fcn/fcn_r50-d8_4xb4-80k_ade20k-512x512.py',
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py',
    'pspnet/pspnet_r50-d8_4xb4-40k_pascal-context-59-480x480.py',
    'unet/unet-s5-d16_fcn_4xb4-160k_hsidrive-192x384.py',
    'unet/unet-s5-d16_fcn_4xb4-ce-1.0-dice-3.0-40k_drive-64x64.py',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py',
    'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py',
    'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py',
    'san/san-vit-b16_coco-stuff164k-640x640.py',
    'vpd/vpd_sd_4xb8-25k_nyu-480x480.py',
    'dsdl/cityscapes.py',
]


@pytest.mark.parametrize('path', [str(path) for path in OURS], ids=lambda path: Path(path).stem)
def test_our_configs_agree(path):
    for splits in (('train', 'val'), ('test',)):
        assert check_agreement(Config.fromfile(path), splits) == []


@pytest.mark.parametrize('name', THEIRS)
def test_configs_of_mmseg_agree(name):
    for splits in (('train', 'val'), ('test',)):
        assert check_agreement(Config.fromfile(MMSEG / name), splits) == []
