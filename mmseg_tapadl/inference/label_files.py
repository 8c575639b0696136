"""Label maps and overlays of pictures from files, by whatever labels them."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import mmcv
import numpy as np
from tqdm import tqdm

from mmseg_tapadl.evaluation.overlay import distinct_colours, overlay_labels
from mmseg_tapadl.evaluation.result_files import ResultFiles, check_apart, label_map
from mmseg_tapadl.inference.checked import checked_predictions
from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.inference.sources import find_pictures
from mmseg_tapadl.utils import InputError, shown

# A path to its class ids (H, W) and the picture as it was seen, BGR (H, W, 3), uint8.
LabelFile = Callable[[Path], tuple[np.ndarray, np.ndarray]]


def write_labels(
    label_file: LabelFile,
    source: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    suffixes: Sequence[str] = (),
) -> Iterator[tuple[Path, np.ndarray]]:
    """Labels a picture or every picture below a folder and writes both results of each.

    ``out/labels/<name>.png`` is the label map (8 bit, one channel, class ids), and ``out/overlays/<name>.png`` the picture
    under its classes' colours, with a legend; subfolders are kept. Results of this toolkit below ``source`` are not taken
    for pictures.

    Args:
        label_file: Labels one file.
        source: The picture or folder.
        out: The folder of the results.
        classes: Names, by id.
        palette: RGB of each class, 0 to 255, by id.
        suffixes: Ends of names that are pictures beside the usual ones.

    Yields:
        The path and the label map (H, W) of each picture, after its files are on disk.

    Raises:
        InputError: ``source`` does not exist, holds no picture, two pictures would share a file, a result would
            overwrite another file, or a picture cannot be read: with the names.
    """
    kinds = [Path(out) / name for name in ('labels', 'overlays')]
    root, pictures = find_pictures(source, passed_over=kinds, suffixes=suffixes)
    label_files = ResultFiles(kinds[0], base=root, kind='label map')
    overlay_files = ResultFiles(kinds[1], base=root, kind='overlay')
    for files in (label_files, overlay_files):
        files.check(pictures)
    check_apart(label_files, overlay_files, pictures)
    for path in tqdm(pictures, desc='predict', unit='picture', disable=len(pictures) == 1):
        labels, picture = label_file(path)
        overlay = overlay_labels(picture, labels, classes=classes, palette=palette)
        label_files.save(path, labels)
        overlay_files.save(path, overlay[:, :, ::-1])
        yield path, labels


def predict_files(
    predictor: PicturePredictor, source: str | Path, out: str | Path
) -> Iterator[tuple[Path, np.ndarray]]:
    """:func:`write_labels` with any predictor; classes without a name are called by their number.

    Raises:
        InputError: As there; the predictor tells no classes, or broke its contract.
    """
    classes = predictor.classes
    if classes is None:
        raise InputError(
            f'{predictor.name} tells no names of its classes, which the pictures need for their legend and colours'
        )

    def label_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
        picture = load_picture(path)
        (prediction,) = checked_predictions(
            predictor,
            [np.ascontiguousarray(picture[:, :, ::-1])],
            [str(path)],
            num_classes=len(classes),
        )
        return label_map(prediction.labels[None]), picture

    return write_labels(
        label_file, source, out, classes=classes, palette=predictor.palette or distinct_colours(len(classes))
    )


def load_picture(path: str | Path) -> np.ndarray:
    """A picture from a file, BGR (H, W, 3), uint8.

    Raises:
        InputError: It cannot be decoded.
    """
    try:
        picture = mmcv.imread(path, flag='color')
    except Exception as error:  # decoders raise many kinds
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'{shown(path)}: not a readable picture ({shown(reason)})') from error
    if picture is None:
        raise InputError(f'{shown(path)}: not a readable picture')
    return picture
