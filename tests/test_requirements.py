"""The requirement files agree with each other, with pyproject.toml and with what is installed."""

import importlib.metadata
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
EXTRAS = PROJECT['optional-dependencies']
# torch names its own CUDA libraries; pip itself is not part of the set.
LEFT_TO_TORCH = ('nvidia-', 'cuda-', 'triton')


def required(file: str) -> dict[str, Requirement]:
    """The requirements of a file by name."""
    lines = (ROOT / file).read_text(encoding='utf-8').splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith('#')]
    return {canonicalize_name(one.name): one for one in found}


def version_of(pin: Requirement) -> str:
    (one,) = pin.specifier
    assert one.operator == '==', f'{pin} is not a pin'
    return one.version


PINNED = {name: version_of(pin) for name, pin in required('requirements-pinned.txt').items()}
USED = required('requirements.txt')
DEVELOPMENT = required('requirements-dev.txt')


def test_pins_are_installed_and_within_the_bounds():
    for name, version in PINNED.items():
        assert importlib.metadata.version(name) == version, name
    for name, requirement in USED.items():
        assert requirement.specifier.contains(PINNED[name]), requirement
        assert any(one.operator == '>=' for one in requirement.specifier), f'{name} has no lower bound'
    for name, requirement in DEVELOPMENT.items():
        assert version_of(requirement) == PINNED[name]


def test_nothing_that_is_installed_along_is_left_to_chance():
    environment = {'extra': ''}
    for name in (*USED, *DEVELOPMENT, *PINNED):
        for line in importlib.metadata.requires(name) or ():
            needed = Requirement(line)
            other = canonicalize_name(needed.name)
            if needed.marker and not needed.marker.evaluate(environment):
                continue
            if not other.startswith(LEFT_TO_TORCH) and other != 'setuptools':
                assert other in PINNED, f'{name} needs {other}, which has no pin'


def test_every_extra_is_part_of_the_development_set():
    named = {canonicalize_name(Requirement(one).name) for group in EXTRAS.values() for one in group}
    assert named - {'mmseg-tapadl'} == set(DEVELOPMENT)
    for group in EXTRAS.values():
        for requirement in map(Requirement, group):
            name = canonicalize_name(requirement.name)
            if name == 'mmseg-tapadl':
                assert requirement.extras == set(EXTRAS) - {'dev'}
            else:
                assert requirement.specifier.contains(PINNED[name]), requirement


def imported(program: str, *options: str) -> None:
    done = subprocess.run([sys.executable, *options, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_extras_import_together():
    """In one process, beside the rest: no test may skip for want of one."""
    imported(
        'import mmseg_tapadl.register, onnx, onnxscript, onnxruntime, sklearn, transformers, pycocotools.coco\n'
        'from transformers import Dinov2Model, SegformerForSemanticSegmentation\n'
        'onnxruntime.get_available_providers()'
    )


def test_classification_imports_beside_all_but_coco(tmp_path):
    """Where pycocotools and transformers are both installed, mmpretrain imports models that need transformers < 5."""
    for installed in Path(sysconfig.get_path('purelib')).iterdir():
        if not installed.name.startswith('pycocotools'):
            (tmp_path / installed.name).symlink_to(installed)
    imported(
        f'import sys; sys.path.append({str(tmp_path)!r})\n'
        'import mmseg_tapadl.register, onnx, onnxscript, onnxruntime, sklearn, transformers\n'
        'from transformers import Dinov2Model, SegformerForSemanticSegmentation\n'
        'from mmpretrain.models import ImageClassifier',
        '-S',  # the folder of links stands for the installed packages
    )


@pytest.mark.parametrize('name', ['torch', 'timm', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'])
def test_a_library_of_which_internals_are_used_is_bounded_from_above(name):
    assert any(one.operator == '<' for one in USED[name].specifier)
