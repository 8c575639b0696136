"""Label maps and overlays of pictures from files, by whatever labels them."""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmseg_tapadl.evaluation.confidence import levels_of
from mmseg_tapadl.evaluation.overlay import overlay_labels
from mmseg_tapadl.evaluation.probabilities import confidence_of_logits
from mmseg_tapadl.evaluation.result_files import Kind, ResultFiles, check_apart, label_map
from mmseg_tapadl.inference.checked import checked_predictions
from mmseg_tapadl.inference.interface import PicturePredictor, Prediction
from mmseg_tapadl.inference.pictures import load_picture
from mmseg_tapadl.inference.sources import find_pictures
from mmseg_tapadl.inference.temperature import Temperature, at_temperature, weights_digest
from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.colours import distinct_colours

# A path to its prediction and the picture as it was seen, BGR (H, W, 3), uint8.
LabelFile = Callable[[Path], tuple[Prediction, np.ndarray]]
# The folder of each kind of result.
_KINDS: dict[str, Kind] = {'labels': 'label map', 'overlays': 'overlay', 'confidence': 'confidence map'}
# As many classes as an 8-bit label map holds, of a model that does not tell how many it has.
_UNNAMED = 256


def write_labels(
    label_file: LabelFile,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    suffixes: Sequence[str] = (),
    write: Collection[str] = ('labels', 'overlays'),
    confidence: bool = False,
    temperature: Temperature | None = None,
) -> Iterator[tuple[Path, np.ndarray]]:
    """Labels a picture or every picture below a folder and writes the results of each.

    ``out/labels/<name>.png`` is the label map (8 bit, one channel, class ids), and ``out/overlays/<name>.png`` the picture
    under its classes' colours, with a legend; subfolders are kept. Results of this toolkit below ``source`` are not taken
    for pictures.

    Args:
        label_file: Labels one file.
        source: The picture or folder, or several.
        out: The folder of the results.
        classes: Names, by id.
        palette: RGB of each class, 0 to 255, by id.
        suffixes: Ends of names that are pictures beside the usual ones.
        write: ``'labels'``, ``'overlays'`` or both.
        confidence: Also write ``out/confidence/<name>.png``: 16 bit, one channel, the probability of the predicted class
            of every pixel; 65535 stands for 1, level l for (l + 0.5) / 65536.
        temperature: Of these probabilities; None: as the model gives them.

    Yields:
        The path and the label map (H, W) of each picture, after its files are on disk.

    Raises:
        InputError: ``source`` does not exist, holds no picture, two pictures would share a file, a result would
            overwrite another file, a picture cannot be read, or the model does not tell its confidence: with the names.
    """
    kinds = {
        name: kind for name, kind in _KINDS.items() if name in write or (name == 'confidence' and confidence)
    }
    root, pictures = find_pictures(
        source, passed_over=[Path(out) / name for name in kinds], suffixes=suffixes
    )
    files = {name: ResultFiles(Path(out) / name, base=root, kind=kind) for name, kind in kinds.items()}
    for one in files.values():
        one.check(pictures)
    for one, other in combinations(files.values(), 2):
        check_apart(one, other, pictures)
    for path in tqdm(pictures, desc='predict', unit='picture', disable=len(pictures) == 1):
        prediction, picture = label_file(path)
        labels = label_map(prediction.labels[None])
        # Before the others: a model that cannot tell leaves nothing behind.
        if 'confidence' in files:
            if temperature is not None:
                prediction = at_temperature(prediction, temperature.value, str(path))
            files['confidence'].save(path, confidence_map(prediction, str(path)))
        if 'labels' in files:
            files['labels'].save(path, labels)
        if 'overlays' in files:
            overlay = overlay_labels(picture, labels, classes=classes, palette=palette)
            files['overlays'].save(path, overlay[:, :, ::-1])
        yield path, labels


def confidence_map(prediction: Prediction, source: str) -> np.ndarray:
    """The confidence of a prediction as (H, W) levels of 16 bits.

    Args:
        prediction: Of one picture.
        source: Names the picture in errors.

    Raises:
        InputError: The model does not tell, or gave what is no probability.
    """
    labels, logits = prediction.labels, prediction.logits
    if logits is not None:
        known = confidence_of_logits(logits.flatten(1), labels.flatten().long()).view(labels.shape)
    elif prediction.confidence is not None:
        known = prediction.confidence
    else:
        raise InputError(
            f'{shown(source)}: the model gives no probabilities, so there is no confidence to write'
        )
    return levels_of(known, source).cpu().numpy().astype(np.uint16)


def predict_files(
    predictor: PicturePredictor,
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    write: Collection[str] = ('labels', 'overlays'),
    confidence: bool = False,
    temperature: Temperature | None = None,
) -> Iterator[tuple[Path, np.ndarray]]:
    """:func:`write_labels` with any predictor; where it tells no names, classes are called by their number.

    Raises:
        InputError: As there; the predictor broke its contract; a temperature of another model.
    """
    if temperature is not None:
        temperature.check_weights(weights_digest(predictor.identity()))
    classes, palette = named_classes(predictor)

    def label_file(path: Path) -> tuple[Prediction, np.ndarray]:
        picture = load_picture(path)
        (prediction,) = checked_predictions(
            predictor,
            [np.ascontiguousarray(picture[:, :, ::-1])],
            [str(path)],
            num_classes=len(classes),
        )
        return prediction, picture

    return write_labels(
        label_file,
        source,
        out,
        classes=classes,
        palette=palette,
        write=write,
        confidence=confidence,
        temperature=temperature,
    )


def named_classes(predictor: PicturePredictor) -> tuple[tuple[str, ...], list[list[int]]]:
    """Names and RGB colours of a model's classes, by id; where it tells none, numbers and colours of their own."""
    classes = predictor.classes or tuple(f'class {number}' for number in range(_UNNAMED))
    return classes, predictor.palette or distinct_colours(len(classes))
