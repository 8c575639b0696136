"""From the names of the releases to the names of this package, every key accounted for.

Almost every name is kept. What the release stores but no feature of a segmenter depends on is dropped,
for a reason that stands in a table; anything else that has no place in the model is an error.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from mmseg.utils import cityscapes_classes, cityscapes_palette
from torch import Tensor, nn

from mmseg_tapadl.checkpoints.wrapper_names import without_torch_parts
from mmseg_tapadl.models.backbones import FAN, RVT
from mmseg_tapadl.models.backbones.rvt_weights import choose_container, prefix_of
from mmseg_tapadl.models.heads import FANHead
from mmseg_tapadl.models.released_weights.recognition import ReleasedWeights, WrongWeightsError, recognise
from mmseg_tapadl.models.released_weights.rvt import ReleasedRVT, recognise_rvt
from mmseg_tapadl.utils import first_few

ENCODER_DROPS = {
    r'cls_token': 'class token: it reads the patches, no patch reads it',
    r'cls_attn_blocks\.\d+\.(attn|mlp)\..*': 'class attention: it changes the class token only',
    r'cls_attn_blocks\.\d+\.gamma2': 'class attention: it changes the class token only',
}
CLASSIFIER_DROPS = {r'(norm|head)\..*': 'the ImageNet classifier: a segmenter has a decode head instead'}
RVT_DROPS = {r'head\..*': CLASSIFIER_DROPS[r'(norm|head)\..*']}
HEAD_DROPS = {r'conv_seg\..*': "the release's unused classifier: its last layer is linear_pred"}
HEAD_RENAMES = {'linear_pred.weight': 'conv_seg.weight', 'linear_pred.bias': 'conv_seg.bias'}
LISTED = 20
"""How many names of a kind an account lists before it counts the rest."""


@dataclass
class Conversion:
    """What became of every key of a released file.

    Attributes:
        source: The file, recognised.
        state_dict: The weights under this package's names: ``backbone.`` and ``decode_head.`` of a segmenter,
            or an encoder's own names, as ``init_cfg=dict(type='Pretrained')`` of a backbone wants them.
        used: New name of each used key.
        dropped: Reason for each key that was left out knowingly.
        unknown: Keys that nothing is known of, left out as well.
    """

    source: ReleasedWeights | ReleasedRVT
    state_dict: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def checkpoint(self) -> dict[str, Any]:
        """The weights as a plain mmengine checkpoint; a segmenter's also says its classes and their colours."""
        meta: dict[str, Any] = dict(
            converted_from=self.source.describe(),
            **self.source.facts(),
        )
        if self.source.is_segmentor:
            meta['dataset_meta'] = dict(classes=cityscapes_classes(), palette=cityscapes_palette())
        return dict(meta=meta, state_dict=self.state_dict)

    def report(self) -> str:
        """The account for a person: what it is, how many keys were used, dropped and why, unknown."""
        renamed = sum(old != new for old, new in self.used.items())
        lines = [
            f'found    {self.source.describe()}',
            f'used     {len(self.used)} keys, {renamed} of them renamed',
        ]
        lines += [
            f'dropped  {number} key{"s"[: number > 1]}: {reason}'
            for reason, number in Counter(self.dropped.values()).items()
        ]
        if self.unknown:
            lines.append(f'unknown  {len(self.unknown)} keys, left out: {first_few(self.unknown, LISTED)}')
        return '\n'.join(lines)


def convert_released(
    checkpoint: Mapping[str, Any], *, use_ema: bool = True, allow_unknown: bool = False
) -> Conversion:
    """Converts a released checkpoint; nothing in it is run and nothing is written.

    Args:
        checkpoint: What the file holds.
        use_ema: Take averaged weights where the file has them.
        allow_unknown: Leave keys out that nothing is known of, instead of refusing the file.

    Raises:
        WrongWeightsError: Another model, unknown keys, missing or misshapen ones; each is named, with what was
            expected.
    """
    is_rvt = prefix_of(choose_container(checkpoint, use_ema=use_ema)[0]) is not None
    conversion = Conversion((recognise_rvt if is_rvt else recognise)(checkpoint, use_ema=use_ema))
    source = conversion.source
    expected = expected_shapes(source)
    for name, value in source.weights.items():
        new_name, reason = place(name, source)
        if reason:
            conversion.dropped[name] = reason
        elif new_name in expected:
            conversion.used[name] = new_name
            conversion.state_dict[new_name] = value
        else:
            conversion.unknown.append(name)
    check(conversion, expected, allow_unknown)
    return conversion


def converted_if_released(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A public release as a checkpoint of this toolkit; anything else as it is.

    Args:
        checkpoint: What a file holds.
    """
    plain = without_torch_parts(checkpoint)
    for key in ('state_dict', 'state_dict_ema'):
        if isinstance(plain.get(key), dict):
            plain[key] = without_torch_parts(plain[key])
    try:
        return convert_released(plain, allow_unknown=True).checkpoint()
    except WrongWeightsError:
        return checkpoint


def place(name: str, source: ReleasedWeights | ReleasedRVT) -> tuple[str, str | None]:
    """The new name of a released key, and the reason if it is dropped."""
    if source.is_segmentor and name.startswith('decode_head.'):
        prefix, drops, renames = 'decode_head.', HEAD_DROPS, HEAD_RENAMES
    else:
        prefix, renames = source.encoder_prefix, {}
        if isinstance(source, ReleasedRVT):
            drops = RVT_DROPS
        else:
            drops = ENCODER_DROPS if source.is_segmentor else ENCODER_DROPS | CLASSIFIER_DROPS
    own_name = name.removeprefix(prefix)
    reasons = [reason for pattern, reason in drops.items() if re.fullmatch(pattern, own_name)]
    return prefix + renames.get(own_name, own_name), reasons[0] if reasons else None


def expected_shapes(source: ReleasedWeights | ReleasedRVT) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model that the weights are for; no memory is taken for them."""
    tap = None if source.num_branches is None else dict(num_branches=source.num_branches)
    with torch.device('meta'):
        if isinstance(source, ReleasedRVT):
            encoder: FAN | RVT = RVT(arch=source.arch, tap=tap, **source.structure.changes())
        else:
            encoder = FAN(arch=source.arch, tap=tap)
        parts: dict[str, nn.Module] = {source.encoder_prefix: encoder}
        if source.is_segmentor:
            channels = encoder.feature_channels
            parts['decode_head.'] = FANHead(in_channels=channels, num_classes=19, norm_cfg=dict(type='BN'))
    return {
        prefix + name: tuple(value.shape)
        for prefix, part in parts.items()
        for name, value in part.state_dict().items()
    }


def check(conversion: Conversion, expected: Mapping[str, tuple[int, ...]], allow_unknown: bool) -> None:
    """Refuses unknown, missing and misshapen keys, all of them in one message."""
    faults = []
    if conversion.unknown and not allow_unknown:
        faults.append(
            f'{len(conversion.unknown)} unknown keys (--allow-unknown leaves them out): {first_few(conversion.unknown, LISTED)}'
        )
    old_names = {new: old for old, new in conversion.used.items()}
    missing = [f'{name} {list(shape)}' for name, shape in expected.items() if name not in old_names]
    if missing:
        faults.append(f'{len(missing)} missing keys, expected: {first_few(missing, LISTED)}')
    misshapen = [
        f'{old_names[name]} is {list(value.shape)}, expected {list(expected[name])}'
        for name, value in conversion.state_dict.items()
        if tuple(value.shape) != expected[name]
    ]
    if misshapen:
        faults.append(f'{len(misshapen)} keys of a wrong shape: {first_few(misshapen, LISTED)}')
    if faults:
        raise WrongWeightsError(f'{conversion.source.describe()}, but {"; ".join(faults)}')
