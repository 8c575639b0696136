"""What importing the package loads and changes, each in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = """
import sys
loaded = sorted(name for name in sys.modules if name.partition('.')[0] in ('mmseg', 'mmengine', 'mmcv'))
assert not loaded, loaded[:3]
"""

REGISTER = """
from mmengine.fileio import backends
from mmengine.runner import CheckpointLoader

former, readers = CheckpointLoader._schemes, dict(CheckpointLoader._schemes)
import mmseg_tapadl.register
assert CheckpointLoader._schemes is former and dict(former) == readers

from mmengine.fileio import get_file_backend
from mmseg.registry import DATASETS, HOOKS, METRICS, MODELS, OPTIM_WRAPPERS, RUNNERS, TRANSFORMS

assert get_file_backend(backend_args=dict(backend='whole_file')).name == 'WholeFileBackend'
for registry, names in (
    (MODELS, 'FAN TAPMixVisionTransformer FANHead FastSegformerHead AttentionDiversificationLoss AttentionEncoderDecoder'),
    (DATASETS, 'ACDCDataset'),
    (TRANSFORMS, 'CorruptImage TakePregenerated'),
    (METRICS, 'PreciseIoUMetric ConditionIoUMetric ACDCSubmission'),
    (HOOKS, 'WholeCheckpointHook ExactResumeHook StopSignalHook'),
    (OPTIM_WRAPPERS, 'CpuAmpOptimWrapper'),
    (RUNNERS, 'TrustedRunner'),
):
    for name in names.split():
        assert registry.get(name) is not None, name
"""

OLD_CONFIG = """
import sys

import mmseg_tapadl.engine
from mmengine.config import Config
from mmseg_tapadl.analysis.complexity import complexity_of

cfg = Config.fromfile(sys.argv[1])
assert cfg.custom_imports.imports == ['mmseg_tapadl']
assert complexity_of(cfg, 64, 64, repeats=0).parameters['backbone'] > 1e6

from mmseg_tapadl.inference.predictor import Predictor
from mmseg_tapadl.checkpoints.checkpoint_io import CheckpointError
try:
    Predictor(cfg, 'gone.pth', device='cpu')
except CheckpointError as error:
    assert 'gone.pth' in str(error)
"""


def python(code: str, *args: object) -> str:
    """Runs code in a fresh interpreter; returns what it printed."""
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    'lines',
    [
        'import mmseg_tapadl, mmseg_tapadl.utils',
        'from mmseg_tapadl.layers import TokenAwareAvgPool, AttentionWatch, diversified_attention',
    ],
)
def test_the_package_and_its_layers_load_neither_mmseg_nor_mmengine_nor_mmcv(lines):
    assert python(lines + HEAVY) == ''


def test_register_registers_all_and_replaces_no_reader():
    assert python(REGISTER) == ''


def test_a_config_that_names_the_package_itself_keeps_working_here(tmp_path, repo_root):
    old = tmp_path / 'old.py'
    base = repo_root / 'configs/segformer_tapadl_demo.py'
    old.write_text(
        f"_base_ = {str(base)!r}\ncustom_imports = dict(imports=['mmseg_tapadl'], allow_failed_imports=False)\n"
    )
    assert 'OneDL' not in python(OLD_CONFIG, old)  # the talk of mmseg's import
