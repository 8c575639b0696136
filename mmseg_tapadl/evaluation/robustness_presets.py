"""Which cells (corruption, severity) each protocol measures. Sizes are data: one table, one reader."""

from typing import NamedTuple

from mmseg_tapadl.datasets.corruptions import CORRUPTION_GROUPS, CORRUPTIONS, SEVERITIES, check_cell
from mmseg_tapadl.utils import InputError


class Cell(NamedTuple):
    """One corruption at one severity; :data:`CLEAN` stands for the untouched pictures."""

    corruption: str
    severity: int

    @property
    def name(self) -> str:
        """``'fog_3'``, or ``'clean'``."""
        return self.corruption if self.severity == 0 else f'{self.corruption}_{self.severity}'


CLEAN = Cell('clean', 0)

_NOISE = CORRUPTION_GROUPS['noise']
# The order of the published tables: blur, noise, digital, weather.
CITYSCAPES_C_CORRUPTIONS: tuple[str, ...] = (
    *('motion_blur', 'defocus_blur', 'glass_blur', 'gaussian_blur'),
    *('gaussian_noise', 'impulse_noise', 'shot_noise', 'speckle_noise'),
    *('brightness', 'contrast', 'saturate', 'jpeg_compression'),
    *('snow', 'spatter', 'fog', 'frost'),
)
_IMAGENET_C_CORRUPTIONS = (
    *('gaussian_noise', 'shot_noise', 'impulse_noise'),
    *('defocus_blur', 'glass_blur', 'motion_blur', 'zoom_blur'),
    *('snow', 'frost', 'fog', 'brightness'),
    *('contrast', 'elastic_transform', 'pixelate', 'jpeg_compression'),
)

# Every preset: the severities of each of its corruptions.
PRESETS: dict[str, dict[str, tuple[int, ...]]] = {
    # 72 cells: noise is measured at severities 1 to 3 only.
    'cityscapes-c': {name: (1, 2, 3) if name in _NOISE else SEVERITIES for name in CITYSCAPES_C_CORRUPTIONS},
    'imagenetc15': dict.fromkeys(_IMAGENET_C_CORRUPTIONS, SEVERITIES),
    'level5': dict.fromkeys(CITYSCAPES_C_CORRUPTIONS, (5,)),
    'fan19s3': dict.fromkeys(CORRUPTIONS, (1, 2, 3)),
}


def select_cells(
    preset: str, *, corruptions: list[str] | None = None, severities: list[int] | None = None
) -> list[Cell]:
    """The cells of a preset, narrowed or changed by an own choice of corruptions and severities.

    A corruption that the preset does not hold may be asked for: it is measured at severities 1 to 5.
    ``severities`` alone narrows the preset; where ``severities`` names one that the preset leaves out for a
    corruption (noise at 4 and 5), that cell is left out too, unless ``corruptions`` asks for the corruption
    by name.

    Args:
        preset: A key of :data:`PRESETS`.
        corruptions: Only these, in this order.
        severities: Only these.

    Returns:
        The cells in the order in which they are measured, without the clean one.

    Raises:
        InputError: For an unknown preset, corruption or severity (the message lists the valid ones), one
            named twice, or a choice that leaves no cell.
    """
    if preset not in PRESETS:
        raise InputError(f'unknown preset {preset!r}; the valid ones are {", ".join(PRESETS)}')
    for name in corruptions or ():
        check_cell(name, 1)
    for severity in severities or ():
        check_cell(CORRUPTIONS[0], severity)
    for chosen in (corruptions or [], severities or []):
        repeated = sorted({str(item) for item in chosen if list(chosen).count(item) > 1})
        if repeated:
            raise InputError(f'{", ".join(repeated)} is named twice')
    cells = []
    for name in corruptions or PRESETS[preset]:
        measured = PRESETS[preset].get(name, SEVERITIES)
        if severities is not None:
            measured = tuple(s for s in sorted(severities) if corruptions is not None or s in measured)
        cells += [Cell(name, severity) for severity in measured]
    if not cells:
        raise InputError(f'no cell is left: preset {preset} holds none of the severities {severities}')
    return cells


def group_of(corruption: str) -> str:
    """``'blur'``, ``'noise'``, ``'digital'`` or ``'weather'``."""
    return next(group for group, names in CORRUPTION_GROUPS.items() if corruption in names)


def is_cityscapes_c(cells: list[Cell]) -> bool:
    """Whether these are the 72 cells of Cityscapes-C, no more and no fewer."""
    return sorted(cells) == sorted(select_cells('cityscapes-c'))
