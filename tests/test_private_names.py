"""Each private name of a library that this project uses is listed here, and is there.

A name with an underscore may go in any release of its library: ``requirements.txt`` bounds these libraries from above,
and raising a bound starts with this file.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner.loops import _InfiniteDataloaderIterator
from timm.layers import LayerNorm2d
from timm.models.convnext import ConvNeXtStage

import mmseg_tapadl
import mmseg_tapadl.register  # registers the classes below

PACKAGE = mmseg_tapadl.__name__
ROOT = Path(__file__).resolve().parents[1]

# Name -> the module, class or object that has it.
PRIVATE_NAMES = {
    '_channel_conversion': 'mmseg.models:SegDataPreProcessor',
    '_enable_normalize': 'mmseg.models:SegDataPreProcessor',
    '_BatchNorm': 'torch.nn.modules.batchnorm',
    '_softmax_backward_data': 'torch.ops:aten',
    '_subclasses': 'torch',
    '_accumulative_counts': 'mmengine.optim:OptimWrapper',
    '_cfg_dict': 'mmengine.config:Config',
    '_create_embed': 'timm.layers:RotaryEmbeddingDinoV3',
    '_exit': 'os',
    '_get_pos_embed_from_coords': 'timm.layers:RotaryEmbeddingDinoV3',
    '_has_loaded': 'mmengine.runner:Runner',
    '_indices': 'mmengine.dataset:BaseDataset',
    '_init_model_weights': 'mmengine.runner:Runner',
    '_init_rule': 'mmengine.hooks:CheckpointHook',
    '_instance_dict': 'mmengine.logging:MMLogger',
    '_load_from': 'mmengine.runner:Runner',
    '_load_metainfo': 'mmengine.dataset:BaseDataset',
    '_load_seg_map': 'mmseg.datasets.transforms:LoadAnnotations',
    '_metadata': 'torch.nn:Module',
    '_pos_embed': 'timm.models:Eva',
    '_resume': 'mmengine.runner:Runner',
    '_save_best_checkpoint': 'mmengine.hooks:CheckpointHook',
    '_save_checkpoint_with_step': 'mmengine.hooks:CheckpointHook',
    '_schemes': 'mmengine.runner.checkpoint:CheckpointLoader',
    '_train_loop': 'mmengine.runner:Runner',
    '_transform_inputs': 'mmseg.models.decode_heads.decode_head:BaseDecodeHead',
}


def is_private(name: str) -> bool:
    return name.startswith('_') and not name.startswith('__')


def is_stored(node: ast.Name | ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def files() -> list[Path]:
    return [path for top in (PACKAGE, 'tools') for path in sorted((ROOT / top).rglob('*.py'))]


def own_names(trees: dict[Path, ast.Module]) -> set[str]:
    """Names that the project's own functions, classes, variables and attributes bear."""
    own = set()
    for tree in trees.values():
        # An annotation alone makes nothing: it tells the type of what a library made.
        told = {
            id(node.target) for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) and not node.value
        }
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                own.add(node.name)
            elif isinstance(node, ast.Name) and is_stored(node) and id(node) not in told:
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == 'self' and is_stored(node):
                own.add(node.attr)
    return own


def on_other_objects() -> Iterator[tuple[str, str]]:
    """Private names that are imported, or that no code of the project makes."""
    trees = {path: ast.parse(path.read_text(encoding='utf-8')) for path in files()}
    own = own_names(trees)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in own:
                yield node.attr, f'{path}:{node.lineno}'
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ('getattr', 'hasattr', 'setattr'):
                word = getattr(node.args[1], 'value', None)
                if isinstance(word, str) and is_private(word) and word not in own:
                    yield word, f'{path}:{node.lineno}'
            elif isinstance(node, ast.ImportFrom) and not (node.module or '').startswith(PACKAGE):
                for word in '.'.join([node.module or '', *(one.name for one in node.names)]).split('.'):
                    if is_private(word):
                        yield word, f'{path}:{node.lineno}'
            elif isinstance(node, ast.Import):
                for word in '.'.join(one.name for one in node.names).split('.'):
                    if is_private(word):
                        yield word, f'{path}:{node.lineno}'


def from_base_classes() -> Iterator[tuple[str, str]]:
    """Private names that a class of the project shares with a class of a library above it."""
    for found in pkgutil.walk_packages(mmseg_tapadl.__path__, f'{PACKAGE}.'):
        module = importlib.import_module(found.name)
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != module.__name__:
                continue
            words = set(re.findall(r'(?<=self\.)_[a-z]\w*|(?<=def )_[a-z]\w*', inspect.getsource(cls)))
            for base in cls.__mro__:
                if base.__module__.startswith((PACKAGE, 'builtins')):
                    continue
                theirs = bearing(base)
                for word in words:
                    if re.search(rf'(self\.|def ){word}\b', theirs):
                        yield word, f'{cls.__module__}.{cls.__qualname__} (of {base.__qualname__})'


def bearing(place: object) -> str:
    try:
        return inspect.getsource(place)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ''


def test_each_use_is_listed_and_nothing_else():
    used: dict[str, list[str]] = {}
    for name, where in (*on_other_objects(), *from_base_classes()):
        used.setdefault(name, []).append(where)
    unlisted = {name: where for name, where in used.items() if name not in PRIVATE_NAMES}
    assert not unlisted, f'take a public name, or list it above and bound its library: {unlisted}'
    unused = PRIVATE_NAMES.keys() - used.keys()
    assert not unused, f'no longer used, so strike it from the list: {unused}'


@pytest.mark.parametrize(('name', 'place'), PRIVATE_NAMES.items())
def test_each_name_is_there(name, place):
    home = resolve_name(place)
    # What is set in __init__ only is not on the class.
    assert hasattr(home, name) or re.search(rf'\b{name}\b', bearing(home)), f'{place} has no {name}'


def test_attributes_of_instances_are_there():
    assert Config(dict(a=1))._cfg_dict == dict(a=1)
    wrapper = OptimWrapper(
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), accumulative_counts=3
    )
    assert wrapper._accumulative_counts == 3


def test_kernels_take_what_they_are_given():
    p = torch.rand(2, 3, 5).softmax(-1)
    grad = torch.rand_like(p)
    expected = p * (grad - (p * grad).sum(-1, keepdim=True))
    # The result may lie where the gradient lay.
    torch.ops.aten._softmax_backward_data.out(grad, p, -1, p.dtype, grad_input=grad)
    torch.testing.assert_close(grad, expected)
    assert 'output_mask' in str(torch.ops.aten.native_batch_norm_backward.default._schema)


def test_a_stage_of_convnext_is_made_of_the_parts_that_are_exchanged():
    stage = ConvNeXtStage(8, 16, depth=2, conv_mlp=True, norm_layer=LayerNorm2d)
    assert {'downsample', 'blocks'} <= dict(stage.named_children()).keys()
    for block in stage.blocks:
        assert {'conv_dw', 'norm', 'mlp'} <= dict(block.named_children()).keys()
        assert {'fc1', 'act', 'fc2'} <= dict(block.mlp.named_children()).keys()


def test_iterators_of_training_data_are_made_when_first_asked():
    """Hooks change the data set before training; an iterator made earlier would not see it."""
    made = []

    class Data(list):
        def __iter__(self):
            made.append(True)
            return super().__iter__()

    iterator = _InfiniteDataloaderIterator(Data([1]))
    assert not made
    assert next(iterator) == 1 and made
