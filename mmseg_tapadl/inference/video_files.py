"""Labelled videos on disk: the overlay as a video, or each frame's label map and overlay as pictures."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mmseg_tapadl.evaluation.overlay import draw_legend, overlay_labels
from mmseg_tapadl.evaluation.result_files import ResultFiles, common_folder, label_map
from mmseg_tapadl.inference.checked import checked_predictions
from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.inference.label_files import named_classes
from mmseg_tapadl.inference.videos import Slides, Video, VideoFile, refuse_foreign_video
from mmseg_tapadl.utils import InputError, shown

KINDS = ('labels', 'overlays', 'video')


def label_videos(
    predictor: PicturePredictor,
    videos: Sequence[Video | Slides],
    out: str | Path,
    *,
    write: Collection[str] = ('video',),
    rate: float | None = None,
) -> Iterator[tuple[Path, int]]:
    """Labels videos frame by frame, with a progress bar that tells the time left.

    ``'video'``: ``out/videos/<name>.mp4``, the frames under their classes' colours above a legend of all classes;
    ``'labels'`` and ``'overlays'``: ``out/labels/<name>/<frame>.png``, frames counted from 000000. Videos of one folder
    keep their names, of several their folders too.

    Args:
        predictor: Any model.
        videos: Opened, or pictures as a video.
        out: The folder of the results.
        write: Some of :data:`KINDS`.
        rate: Frames a second of what is written; None: as the video has.

    Yields:
        The path of each video and the number of its frames, after its results are on disk.

    Raises:
        InputError: Two videos that would share a result, a result that would overwrite another file, or a model that
            broke its contract; before the first frame where it can be known.
    """
    classes, palette = named_classes(predictor)
    base = Path(common_folder([video.path for video in videos]) or '.')
    targets = {video.path: Path(out) / 'videos' / _name_below(base, video.path) for video in videos}
    owners: dict[Path, Path] = {}
    for path, target in targets.items():
        if owners.setdefault(target, path) != path:
            raise InputError(
                f'{shown(owners[target])} and {shown(path)} would share the result {shown(target)}: rename one of them'
            )
        if 'video' in write:
            refuse_foreign_video(target)
    pictures = {
        kind: ResultFiles(Path(out) / kind, base=base, kind='label map' if kind == 'labels' else 'overlay')
        for kind in ('labels', 'overlays')
        if kind in write
    }
    for files in pictures.values():
        files.check(_frame_path(video.path, i) for video in videos for i in range(video.num_frames))
    for video in videos:
        frames = tqdm(video.frames(), desc=video.path.name, unit='frame', total=video.num_frames or None)
        shown_frames = _labelled(predictor, video, frames, pictures, classes, palette)
        count = 0
        if 'video' in write:
            with VideoFile(targets[video.path], rate=rate or video.rate) as file:
                for overlay in shown_frames:
                    if predictor.classes is not None:
                        overlay = np.vstack([overlay, draw_legend(classes, palette, overlay.shape[1])])
                    file.write(overlay)
                    count += 1
        else:
            count = sum(1 for _ in shown_frames)
        yield video.path, count


def _labelled(
    predictor: PicturePredictor,
    video: Video | Slides,
    frames: Iterator[np.ndarray],
    pictures: dict[str, ResultFiles],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> Iterator[np.ndarray]:
    """The overlay of each frame, BGR, after its pictures are written."""
    for number, frame in enumerate(frames):
        rgb = np.ascontiguousarray(frame[:, :, ::-1])
        (prediction,) = checked_predictions(
            predictor, [rgb], [f'{video.path}, frame {number}'], num_classes=len(classes)
        )
        labels = label_map(prediction.labels[None])
        path = _frame_path(video.path, number)
        if 'labels' in pictures:
            pictures['labels'].save(path, labels)
        if 'overlays' in pictures:
            overlay = overlay_labels(frame, labels, classes=classes, palette=palette)
            pictures['overlays'].save(path, overlay[:, :, ::-1])
        yield overlay_labels(frame, labels, classes=classes, palette=palette, legend=False)


def _frame_path(video: Path, number: int) -> Path:
    return video.with_suffix('') / f'{number:06d}.png'


def _name_below(base: Path, video: Path) -> Path:
    path = video.absolute()
    inside = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
    return inside.with_suffix('.mp4')
