"""The submission of ACDC's test server: written by a metric, checked by :func:`check_submission`.

Label maps of trainIds 0 to 18, one 8-bit channel, the size and the name of the test picture, one for each,
flat in a folder ``labelTrainIds``, zipped.
"""

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from mmseg.registry import METRICS
from PIL import Image

from mmseg_tapadl.datasets.acdc import CONDITIONS, IMAGE_FOLDERS, condition_of
from mmseg_tapadl.evaluation.submitted_png import COLOUR_TYPES, GREY, PALETTE, PngFault, read_png
from mmseg_tapadl.utils import InputError, atomic_write, shown

FOLDER = 'labelTrainIds'
NUM_CLASSES = 19
_HUGE = 1 << 26


@METRICS.register_module()
class ACDCSubmission(BaseMetric):
    """Writes ``<output_dir>/labelTrainIds/<picture's name>.png`` and ``<output_dir>/acdc_submission.zip``.

    ``acdc_submission_<condition>.zip`` holds the pictures of one condition alone, of each that was labelled: the server
    scores the condition that is chosen on uploading, one a run.

    Nothing is measured, since the test split has no labels. On several processes each writes its own pictures
    into the shared folder, and the first zips them.

    Args:
        output_dir: Where to write.
        collect_device: Where the processes' lists of names meet, ``'cpu'`` or ``'gpu'``.
        prefix: Unused by name, since there are no metrics; part of every metric's interface.
    """

    def __init__(self, output_dir: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.output_dir = Path(output_dir)
        self._picture_of: dict[str, str] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Writes the label maps of a batch.

        Raises:
            InputError: When the model has other classes than the 19 of Cityscapes, or two pictures have the
                same name: the server takes one flat folder.
        """
        for sample in data_samples:
            labels = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            if labels.size and labels.max() >= NUM_CLASSES:
                raise InputError(
                    f'{sample["img_path"]}: class {labels.max()} was predicted, but ACDC has the trainIds 0 to 18'
                )
            name = Path(sample['img_path']).name
            other = self._picture_of.setdefault(name, sample['img_path'])
            if other != sample['img_path']:
                raise InputError(
                    f'{shown(other)} and {shown(sample["img_path"])} have the same name and would share a label map'
                )
            with atomic_write(self.output_dir / FOLDER / name) as file:
                Image.fromarray(labels.astype(np.uint8), mode='L').save(file, format='PNG')
            self.results.append((name, condition_of(sample['img_path']) or ''))

    def compute_metrics(self, results: list[tuple[str, str]]) -> dict:
        """Zips the files of this run; files of other runs in the folder stay out.

        Raises:
            InputError: When two pictures have the same name, so that one label map is lost.
        """
        repeated = sorted(name for name, count in Counter(name for name, _ in results).items() if count > 1)
        if repeated:
            raise InputError(f'{len(repeated)} names occur in several sequences, the first is {repeated[0]}')
        target = self.output_dir / 'acdc_submission.zip'
        if is_main_process():
            write_zip(self.output_dir / FOLDER, sorted(name for name, _ in results), target)
        print_log(f'{len(results)} label maps are in {self.output_dir / FOLDER} and in {target}', _logger())
        conditions = sorted({condition for _, condition in results} - {''})
        for condition in conditions:
            part = self.output_dir / f'acdc_submission_{condition}.zip'
            names = sorted(name for name, found in results if found == condition)
            if is_main_process():
                write_zip(self.output_dir / FOLDER, names, part)
            print_log(f'{len(names)} of them, {condition} alone, are in {part}', _logger())
        return {}


def _logger() -> MMLogger:
    return MMLogger.get_current_instance()


def write_zip(folder: Path, names: Sequence[str], target: Path) -> None:
    """Zips ``folder/<name>`` as ``labelTrainIds/<name>``; the zip takes its name only when it is whole."""
    with atomic_write(target) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        for name in names:
            archive.write(folder / name, f'{FOLDER}/{name}')


def pictures_of_test_split(data_root: str | Path, conditions: Sequence[str] = CONDITIONS) -> dict[str, Path]:
    """The test pictures of an ACDC root, by file name.

    Args:
        data_root: The root.
        conditions: Of these conditions.

    Raises:
        InputError: When the test folder of one of the conditions is missing or empty.
    """
    root = Path(data_root)
    images = next(
        (root / f for f in IMAGE_FOLDERS if any((root / f / c / 'test').is_dir() for c in CONDITIONS)), None
    )
    if images is None:
        raise InputError(f'{shown(root)} holds no ACDC test pictures (rgb_anon/<condition>/test)')
    pictures = {}
    for condition in conditions:
        found = sorted((images / condition / 'test').glob('*/*_rgb_anon.png'))
        if not found:
            raise InputError(
                f'{shown(images / condition / "test")} holds no picture <sequence>/*_rgb_anon.png'
            )
        pictures.update({path.name: path for path in found})
    return pictures


def check_submission(
    archive: str | Path, data_root: str | Path, *, condition: str | None = None
) -> list[str]:
    """Everything that is wrong with a submission.

    Args:
        archive: The zip.
        data_root: The ACDC root whose test pictures it answers.
        condition: The one condition whose pictures it answers, None for all.

    Returns:
        One line a fault, each with its file; empty for a good submission.

    Raises:
        InputError: When the zip or the test pictures do not exist, or the file is not a zip.
    """
    wanted = pictures_of_test_split(data_root, CONDITIONS if condition is None else (condition,))
    if not Path(archive).is_file():
        raise InputError(f'{shown(archive)} does not exist')
    try:
        with zipfile.ZipFile(archive) as opened:
            return list(_faults(opened, wanted))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f'{shown(archive)} is not a whole zip file ({error})') from error


def _faults(archive: zipfile.ZipFile, wanted: dict[str, Path]) -> Iterator[str]:
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != len(wanted):
        yield f'{shown(archive.filename or "")}: {len(members)} files for {len(wanted)} test pictures'
    for name, count in Counter(info.filename for info in members).items():
        if count > 1:
            yield f'{shown(name)}: occurs {count} times'
    good = {}
    for info in members:
        path = PurePosixPath(info.filename)
        # The text itself: a path with ./ or // in it is another name to the server.
        if info.filename != f'{FOLDER}/{path.name}':
            yield f'{shown(info.filename)}: must lie flat in the folder {FOLDER}/'
        if path.name not in wanted:
            yield f'{shown(info.filename)}: no test picture has this name{_nearest(path.name, wanted)}'
        else:
            good[path.name] = info
    for name in sorted(set(wanted) - set(good)):
        yield f'{FOLDER}/{shown(name)}: is missing'
    for name, info in good.items():
        yield from _picture_faults(archive, info, wanted[name])


def _nearest(name: str, wanted: dict[str, Path]) -> str:
    stem = name.split('.')[0]
    near = [candidate for candidate in wanted if stem.startswith(candidate.removesuffix('_rgb_anon.png'))]
    return f' (should it be {near[0]}?)' if near else ''


def _picture_faults(archive: zipfile.ZipFile, info: zipfile.ZipInfo, picture: Path) -> Iterator[str]:
    name = shown(info.filename)
    if info.file_size > _HUGE:
        yield f'{name}: {info.file_size} bytes is far too large for a label map'
        return
    try:
        data = archive.read(info)
    except Exception as error:  # encrypted, damaged, packed in an unusual way: zipfile raises many kinds
        yield f'{name}: cannot be read ({error})'
        return
    try:
        png = read_png(data, picture)
    except PngFault as fault:
        yield f'{name}: {fault}'
        return
    if png.bits != 8:
        yield f'{name}: has {png.bits} bits a channel, must have 8'
    if png.channels != 1 or png.colour not in (GREY, PALETTE):
        kind = COLOUR_TYPES.get(png.colour, 'unknown kind')
        yield f'{name}: has {png.channels} channels ({kind}), must have one'
        return
    labels = png.values.astype(np.int64)
    wrong = np.unique(labels[(labels < 0) | (labels >= NUM_CLASSES)])
    if wrong.size:
        yield f'{name}: holds the values {wrong[:8].tolist()}, must hold trainIds 0 to {NUM_CLASSES - 1} only'
