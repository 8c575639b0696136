"""Labels pictures, folders of pictures and videos, and writes label maps, overlays to look at, or a video.

Examples:
  python tools/predict.py configs/fan_tapadl_cityscapes.py work_dirs/fan_tapadl_cityscapes/iter_160000.pth street.jpg --out out
  python tools/predict.py CONFIG CHECKPOINT data/camvid/leftImg8bit/val --out work_dirs/predictions
  python tools/predict.py CONFIG CHECKPOINT "drive/*.jpg" drive.mp4 --out out
  python tools/predict.py CONFIG CHECKPOINT drive_frames --out out --write video --fps 12
  python tools/predict.py --model onnx:model.onnx street.jpg --out out

Of pictures, OUT/labels/NAME.png holds class ids (8 bit, one channel), OUT/overlays/NAME.png the picture under its classes'
colours. Subfolders are kept. With --confidence, OUT/confidence/NAME.png holds the probability of the predicted class
(16 bit, one channel; 65535 stands for 1), with --temperature at a temperature that
tools/calibrate.py fitted.
Of a video, OUT/videos/NAME.mp4 shows the frames under their classes' colours. --write chooses otherwise: labels and overlays of
a video are OUT/labels/NAME/000000.png and so on; a video of pictures, one of a size, is OUT/videos/FOLDER.mp4.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmseg_tapadl.utils import InputError, shown
from mmseg_tapadl.utils.command_line import (
    add_cfg_options,
    add_data,
    add_model,
    add_temperature,
    add_trust_checkpoint,
    check_model,
    run_tool,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('config', nargs='?', help='config file of the model')
    parser.add_argument('checkpoint', nargs='?', help='its weights (.pth or .safetensors)')
    parser.add_argument(
        'source',
        nargs='+',
        metavar='SOURCE',
        help='pictures, folders, videos, or patterns of them ("*.jpg", quoted)',
    )
    parser.add_argument('--out', required=True, metavar='DIR', help='the folder of all results')
    parser.add_argument(
        '--write',
        nargs='+',
        choices=('labels', 'overlays', 'video'),
        help='what to write (default: labels and overlays of pictures, a video of videos)',
    )
    parser.add_argument(
        '--fps',
        type=positive_number,
        metavar='N',
        help='frames a second of the video that is written (default: as the video has; 10 for pictures)',
    )
    parser.add_argument('--device', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    parser.add_argument(
        '--confidence', action='store_true', help='also write how sure the model is, as 16-bit pictures'
    )
    add_data(parser, 'whose classes the model has')
    add_temperature(parser)
    add_cfg_options(parser)
    add_trust_checkpoint(parser)
    add_model(parser)
    # Options may stand between CONFIG, CHECKPOINT and the pictures.
    args = parser.parse_intermixed_args()
    if args.model and not (args.config or '').endswith('.py'):
        # Without CONFIG and CHECKPOINT what stands there are pictures.
        args.source = [word for word in (args.config, args.checkpoint) if word] + args.source
        args.config = args.checkpoint = None
    check_model(parser, args)
    if args.write and args.confidence and set(args.write) == {'video'}:
        parser.error('--confidence goes with pictures as results, not with --write video alone')
    if args.temperature and not args.confidence:
        parser.error('--temperature goes with --confidence: the labels do not depend on it')
    return args


def positive_number(text: str) -> float:
    value = float(text)
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f'{text}: a number above 0 and below 1000 is needed')
    return value


def run(args: argparse.Namespace) -> None:
    from mmseg_tapadl.engine.console import quiet_warnings

    quiet_warnings()
    from mmseg_tapadl.inference.label_files import predict_files
    from mmseg_tapadl.inference.predictor import Predictor
    from mmseg_tapadl.inference.sources import find_pictures, videos_and_others
    from mmseg_tapadl.inference.temperature import read_temperature
    from mmseg_tapadl.inference.video_files import label_videos
    from mmseg_tapadl.inference.videos import Slides, Video

    paths, others = videos_and_others(args.source)
    if paths and args.confidence:
        raise InputError(f'--confidence is for pictures; {shown(paths[0])} is a video')
    videos = [Video(path) for path in paths]
    temperature = read_temperature(args.temperature) if args.temperature else None
    predictor = open_predictor(args)
    kinds = args.write or ('labels', 'overlays')
    if others and set(kinds) != {'video'}:
        chosen = dict(write=kinds, confidence=args.confidence, temperature=temperature)
        if isinstance(predictor, Predictor):
            results = predictor.predict_files(others, args.out, **chosen)
        else:
            results = predict_files(predictor, others, args.out, **chosen)
        count = sum(1 for _ in results)
        folders = [f'{args.out}/{kind}' for kind in kinds if kind != 'video']
        print(f'{count} picture{"s" if count != 1 else ""}: {" and ".join(folders)}')
    jobs: list = [(videos, args.write or ('video',))]
    if others and 'video' in kinds:
        root, pictures = find_pictures(others, passed_over=[Path(args.out)])
        jobs.append(([Slides(f'{root.resolve().name or "pictures"}.mp4', pictures)], ('video',)))
    for some, written in jobs:
        for path, count in label_videos(predictor, some, args.out, write=written, rate=args.fps):
            print(f'{path.name}, {count} frame{"s" if count != 1 else ""}: {args.out}')


def open_predictor(args: argparse.Namespace) -> Any:
    """The model that the arguments name."""
    from mmseg_tapadl.checkpoints.checkpoint_loader import trust_checkpoint
    from mmseg_tapadl.engine.config import load_config, parse_options
    from mmseg_tapadl.inference.names_and_colours import name_classes
    from mmseg_tapadl.inference.open_model import open_model
    from mmseg_tapadl.inference.predictor import Predictor

    if args.model:
        options = parse_options(args.model_options or [], '--model-options')
        predictor = open_model(args.model, options=options, device=args.device)
        if args.data:
            name_classes(predictor, args.data)
        return predictor
    if args.trust_checkpoint:
        trust_checkpoint(args.checkpoint)
    config = load_config(args.config, args.cfg_options, data=args.data)
    return Predictor(config, args.checkpoint, device=args.device)


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
