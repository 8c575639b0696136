"""Videos, patterns and several sources: what is labelled, what is written, and what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_tapadl.inference.interface import PicturePredictor
from mmseg_tapadl.inference.open_model import open_model
from mmseg_tapadl.inference.sources import find_pictures, videos_and_others
from mmseg_tapadl.inference.video_files import label_videos
from mmseg_tapadl.inference.videos import Slides, Video, VideoFile, is_result_video
from mmseg_tapadl.utils import InputError
from tests.engine.tiny_run import run_tool_here

# Right of the middle is bright, and the bright side grows frame by frame.
MODEL = """
import torch

def predict(image):
    return torch.from_numpy((image.mean(axis=2) > 128).astype('int64'))
"""
WIDTH, HEIGHT, FRAMES = 64, 48, 6


def frame(number: int) -> np.ndarray:
    picture = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    picture[:, WIDTH // 2 - 4 * number :] = 230
    return picture


@pytest.fixture
def folder(tmp_path) -> Path:
    """A video, pictures in two folders, a text, and a model of two classes."""
    (tmp_path / 'model.py').write_text(MODEL)
    writer = cv2.VideoWriter(
        str(tmp_path / 'drive.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 5.0, (WIDTH, HEIGHT)
    )
    for number in range(FRAMES):
        writer.write(frame(number))
    writer.release()
    for name in ('a/one.png', 'a/two.png', 'b/one.png', 'b/strange ü.jpg'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(frame(1)).save(path)
    (tmp_path / 'a/notes.txt').write_text('no picture')
    return tmp_path


def model(folder: Path) -> PicturePredictor:
    return open_model(f'python:{folder / "model.py"}:predict')


def frames_of(path: Path) -> list[np.ndarray]:
    return list(Video(path).frames())


def test_a_video_becomes_a_video_of_its_frames_under_colours(folder):
    out = folder / 'out'
    ((path, count),) = label_videos(model(folder), [Video(folder / 'drive.mp4')], out)
    assert (path, count) == (folder / 'drive.mp4', FRAMES)
    result = Video(out / 'videos/drive.mp4')
    assert result.rate == pytest.approx(5.0) and result.num_frames == FRAMES
    seen = frames_of(out / 'videos/drive.mp4')
    assert len(seen) == FRAMES and seen[0].shape == (HEIGHT, WIDTH, 3)
    for number, picture in enumerate(seen):
        # The two classes have two colours; the border moves as it does in the video.
        dark, bright = picture[20, 2].astype(int), picture[20, -2].astype(int)
        assert np.abs(dark - bright).max() > 60
        nearer = np.abs(picture[20].astype(int) - bright).sum(1) < np.abs(picture[20].astype(int) - dark).sum(
            1
        )
        assert abs(int(nearer.argmax()) - (WIDTH // 2 - 4 * number)) <= 2
    # A second time the result is replaced, as pictures are.
    list(label_videos(model(folder), [Video(folder / 'drive.mp4')], out, rate=12))
    assert Video(out / 'videos/drive.mp4').rate == pytest.approx(12.0)


def test_a_video_as_pictures(folder):
    out = folder / 'out'
    list(label_videos(model(folder), [Video(folder / 'drive.mp4')], out, write=('labels', 'overlays')))
    labels = sorted((out / 'labels/drive').glob('*.png'))
    assert [path.name for path in labels] == [f'{number:06d}.png' for number in range(FRAMES)]
    for number, path in enumerate(labels):
        assert np.asarray(Image.open(path))[20].argmax() == pytest.approx(WIDTH // 2 - 4 * number, abs=1)
    assert len(list((out / 'overlays/drive').glob('*.png'))) == FRAMES
    assert not (out / 'videos').exists()


def test_what_stands_there_already_is_not_overwritten(folder):
    target = folder / 'out/videos/drive.mp4'
    target.parent.mkdir(parents=True)
    target.write_bytes((folder / 'drive.mp4').read_bytes())
    before = target.read_bytes()
    with pytest.raises(InputError, match='is there already and was not written by this toolkit'):
        list(label_videos(model(folder), [Video(folder / 'drive.mp4')], folder / 'out'))
    assert target.read_bytes() == before
    # Nor the video itself, wherever the results go.
    (folder / 'videos').symlink_to(folder)
    with pytest.raises(InputError, match='is there already'):
        list(label_videos(model(folder), [Video(folder / 'drive.mp4')], folder))
    for other in (folder / 'drive.avi', folder / 'x/drive.mp4'):
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(before)
    with pytest.raises(InputError, match=r'drive\.mp4 and .*drive\.avi would share'):
        list(
            label_videos(
                model(folder), [Video(folder / 'drive.mp4'), Video(folder / 'drive.avi')], folder / 'o'
            )
        )
    both = [Video(folder / 'drive.mp4'), Video(folder / 'x/drive.mp4')]
    assert len(list(label_videos(model(folder), both, folder / 'o'))) == 2
    assert (folder / 'o/videos/x/drive.mp4').is_file()


def test_a_model_that_stops_in_the_middle_leaves_no_half_video(folder):
    (folder / 'model.py').write_text(
        MODEL.replace(
            '    return', "    if image[20, 20].max() > 128:\n        raise ValueError('no more')\n    return"
        )
    )
    with pytest.raises(InputError, match=r'drive\.mp4, frame \d: the model failed .* no more'):
        list(label_videos(model(folder), [Video(folder / 'drive.mp4')], folder / 'out'))
    assert [path for path in (folder / 'out').rglob('*') if path.is_file()] == []


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('gone.mp4', None, 'gone.mp4: no such video'),
        ('empty.mp4', b'', 'empty.mp4: not a video that OpenCV can decode'),
        ('text.avi', b'not a video' * 99, 'text.avi: not a video that OpenCV can decode'),
    ],
)
def test_a_file_that_is_no_video_is_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        Video(tmp_path / name)


def test_a_video_cut_off_is_labelled_as_far_as_it_goes(folder, capsys):
    whole = folder / 'long.avi'
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*'MJPG'), 5.0, (WIDTH, HEIGHT))
    for number in range(40):
        writer.write(frame(number % FRAMES))
    writer.release()
    cut = folder / 'cut.avi'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    ((_, count),) = label_videos(model(folder), [Video(cut)], folder / 'out')
    assert 0 < count < 40


def test_pictures_become_a_video_and_one_of_another_size_is_named(folder):
    root, pictures = find_pictures([folder / 'a', folder / 'b'])
    assert root == folder
    ((_, count),) = label_videos(model(folder), [Slides('both.mp4', pictures)], folder / 'out')
    assert count == 4 and Video(folder / 'out/videos/both.mp4').rate == pytest.approx(10.0)
    assert is_result_video(folder / 'out/videos/both.mp4')
    Image.fromarray(frame(0)[:, :40]).save(folder / 'b/other.png')
    pictures.append(folder / 'b/other.png')
    with pytest.raises(InputError, match=r'other\.png: 40 x 48 pixels, where the first picture has 64 x 48'):
        list(label_videos(model(folder), [Slides('both.mp4', pictures)], folder / 'out'))
    # What stood there is still whole.
    assert Video(folder / 'out/videos/both.mp4').num_frames == 4


def test_odd_sides_are_written(tmp_path):
    with VideoFile(tmp_path / 'odd.mp4', rate=5) as file:
        for number in range(3):
            file.write(frame(number)[:47, :63])
    assert frames_of(tmp_path / 'odd.mp4')[0].shape == (46, 62, 3)


def test_patterns_find_pictures_folders_and_videos_and_pass_over_the_rest(folder):
    list(label_videos(model(folder), [Video(folder / 'drive.mp4')], folder, write=('video',)))
    videos, others = videos_and_others([folder / '*', folder / '**/*.mp4', folder / 'a/*'])
    assert videos == [folder / 'drive.mp4']  # once, and not its own result
    assert others == [
        folder / 'a',
        folder / 'b',
        folder / 'videos',
        folder / 'a/one.png',
        folder / 'a/two.png',
    ]
    with pytest.raises(InputError, match='this pattern finds no picture, folder or video'):
        videos_and_others([folder / 'a/*.txt'])
    # A name that looks like a pattern is itself where it is a file.
    Image.fromarray(frame(1)).save(folder / 'a/[1].png')
    assert videos_and_others([folder / 'a/[1].png']) == ([], [folder / 'a/[1].png'])


def test_the_tool_takes_all_of_them_at_once(folder):
    name = f'python:{folder / "model.py"}:predict'
    run = run_tool_here(
        'predict.py', '--model', name, folder / '*/one.png', folder / 'drive.mp4', folder / 'b', '--out', folder / 'out',
        cwd=folder,
    )  # fmt: skip
    labels = {
        path.relative_to(folder / 'out/labels').as_posix() for path in (folder / 'out/labels').rglob('*.png')
    }
    assert labels == {'a/one.png', 'b/one.png', 'b/strange ü.png'}
    assert (folder / 'out/videos/drive.mp4').is_file() and not (folder / 'out/labels/drive').exists()
    assert '3 pictures: ' in run.output and f'drive.mp4, {FRAMES} frames: ' in run.output
    other = run_tool_here(
        'predict.py', '--model', name, folder / 'a', '--out', folder / 'slides', '--write', 'video', '--fps', 4,
        cwd=folder,
    )  # fmt: skip
    assert 'a.mp4, 2 frames' in other.output
    assert Video(folder / 'slides/videos/a.mp4').rate == pytest.approx(4.0)
    assert not (folder / 'slides/labels').exists()
    only = run_tool_here(
        'predict.py', '--model', name, folder / 'a', '--out', folder / 'only', '--write', 'labels', cwd=folder
    )
    assert (folder / 'only/labels/one.png').is_file() and not (folder / 'only/overlays').exists(), only.output
    for wrong, message in (
        (['--confidence', folder / 'drive.mp4'], '--confidence is for pictures'),
        ([folder / '*.bmp'], 'this pattern finds no picture'),
        (['--fps', '0', folder / 'a'], 'a number above 0'),
        (['--write', 'film', folder / 'a'], 'invalid choice'),
    ):
        run = run_tool_here(
            'predict.py', '--model', name, *wrong, '--out', folder / 'w', cwd=folder, ok=False
        )
        assert run.status == 2 and message in run.output, run.output
        assert 'Traceback' not in run.output
