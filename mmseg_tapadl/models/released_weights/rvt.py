"""A file of released RVT weights: which container, which weights of it to use, which structure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmseg_tapadl.models.backbones.rvt_arch import RVT_ARCHS
from mmseg_tapadl.models.backbones.rvt_structure import RVTStructure, structure_of
from mmseg_tapadl.models.backbones.rvt_weights import CLASSIFIER, choose_container, prefix_of
from mmseg_tapadl.models.released_weights.recognition import MODULE, WrongWeightsError
from mmseg_tapadl.utils import InputError


@dataclass(frozen=True)
class ReleasedRVT:
    """A released file of RVT, recognised.

    Attributes:
        weights: The chosen weights, ``module.`` taken off.
        from_ema: The averaged weights were chosen.
        had_module: Every name stood behind ``module.``.
        structure: Size, feed-forward network, PAAS and TAP, as the keys tell them.
    """

    weights: Mapping[str, Tensor]
    from_ema: bool
    had_module: bool
    structure: RVTStructure

    is_segmentor = False
    encoder_prefix = ''

    @property
    def arch(self) -> str:
        """The size, a name in ``RVT_ARCHS``."""
        return str(self.structure.arch)

    @property
    def num_branches(self) -> int | None:
        """Branches of TAP, or ``None``."""
        return self.structure.num_branches

    def describe(self) -> str:
        """One line for a person."""
        notes = ['averaged (EMA) weights'] if self.from_ema else []
        notes += ["names behind 'module.'"] if self.had_module else []
        return ', '.join([f'ImageNet checkpoint of {self.structure.describe()}', *notes])

    def facts(self) -> dict[str, Any]:
        """What a converted checkpoint says of its structure, as the arguments of ``RVT``."""
        return dict(
            arch=self.arch,
            num_branches=self.num_branches,
            feed_forward=self.structure.feed_forward,
            paas_blocks=list(self.structure.paas_blocks),
        )


def recognise_rvt(checkpoint: Mapping[str, Any], *, use_ema: bool = True) -> ReleasedRVT:
    """Finds out what a checkpoint of RVT is, from its names and shapes alone.

    Args:
        checkpoint: What the file holds.
        use_ema: Take averaged weights where the file has them.

    Raises:
        WrongWeightsError: A structure that fits no form, a size that was never released, or a converted file.
    """
    weights, from_ema = choose_container(checkpoint, use_ema=use_ema)
    if prefix := prefix_of(weights):
        raise WrongWeightsError(
            f"RVT behind '{prefix}', which no release has: it looks converted already; tools/train.py --pretrained takes it"
        )
    if not any(name.startswith(CLASSIFIER) for name in weights):
        raise WrongWeightsError(
            "it looks converted already: RVT without its classifier ('head.weight'); tools/train.py --pretrained takes it"
        )
    try:
        structure = structure_of(weights)
    except InputError as error:
        raise WrongWeightsError(str(error)) from None
    if structure.arch is None:
        known = '; '.join(
            f'{name}: {list(sizes.embed_dims)} x {list(sizes.depths)}'
            for name, sizes in RVT_ARCHS.items()
            if not sizes.paas_blocks
        )
        raise WrongWeightsError(f'{structure.describe()}: no released size; expected one of {known}')
    chosen = (
        checkpoint.get('state_dict_ema' if from_ema else 'state_dict')
        or checkpoint.get('model')
        or checkpoint
    )
    return ReleasedRVT(
        weights=weights,
        from_ema=from_ema,
        had_module=all(str(name).startswith(MODULE) for name in chosen),
        structure=structure,
    )
