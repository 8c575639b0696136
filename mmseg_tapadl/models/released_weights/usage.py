"""The command in which a converted file is used: which config, and what to change in it."""

import shlex

from mmseg_tapadl.models.backbones.fan_arch import FAN_ARCHS
from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS
from mmseg_tapadl.models.released_weights.recognition import ReleasedWeights
from mmseg_tapadl.models.released_weights.rvt import ReleasedRVT

CONFIG_ARCH = 'base_hybrid'
CONFIG_BRANCHES = 4
RVT_CONFIG_ARCH = 'small_plus'


def usage_of(source: ReleasedWeights | ReleasedRVT, path: str) -> str:
    """A command line for tools/test.py (a segmenter) or tools/train.py (an encoder).

    Args:
        source: What the file was before it was converted.
        path: Where the converted file is.
    """
    options = rvt_options(source) if isinstance(source, ReleasedRVT) else config_options(source)
    changes = f' --cfg-options {" ".join(options)}' if options else ''
    if source.is_segmentor:
        config = 'fan_cityscapes' if source.num_branches is None else 'fan_tapadl_cityscapes'
        return f'python tools/test.py configs/{config}.py {path}{changes}'
    # Weights without TAP serve a model with TAP: it starts as nearly the identity.
    family = 'rvt' if isinstance(source, ReleasedRVT) else 'fan'
    return f'python tools/train.py configs/{family}_tapadl_cityscapes.py --pretrained {path}{changes}'


def config_options(source: ReleasedWeights) -> list[str]:
    """What differs from the configs of FAN-B-Hybrid."""
    options = []
    if source.arch != CONFIG_ARCH:
        channels = FAN_ARCHS[source.arch].feature_channels
        options += [
            f'model.backbone.arch={source.arch}',
            f'model.decode_head.in_channels={",".join(map(str, channels))}',
        ]
    if source.num_branches not in (None, CONFIG_BRANCHES):
        options.append(f'model.backbone.tap.num_branches={source.num_branches}')
    return options


def rvt_options(source: ReleasedRVT) -> list[str]:
    """What differs from the configs of RVT-S*; quoted where a shell would read it otherwise."""
    options = []
    if source.arch != RVT_CONFIG_ARCH:
        channels = RVT_ARCHS[source.arch].feature_channels
        options += [
            f'model.backbone.arch={source.arch}',
            f'model.decode_head.in_channels={",".join(map(str, channels))}',
        ]
    for name, value in source.structure.changes().items():
        text = f'[{",".join(map(str, value))}]' if isinstance(value, list) else value
        options.append(shlex.quote(f'model.backbone.{name}={text}'))
    if source.num_branches not in (None, CONFIG_BRANCHES):
        options.append(f'model.backbone.tap.num_branches={source.num_branches}')
    return options
