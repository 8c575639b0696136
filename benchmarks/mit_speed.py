"""How fast and how large MiT is: mmseg's own against TAPMixVisionTransformer.

Each case runs in a process of its own, on two threads unless told otherwise. Time is the best of the runs,
memory the growth of the process's largest resident size over its size before the first step.

    python benchmarks/mit_speed.py                          # B2 at 1024 x 1024, inference and a training step
    python benchmarks/mit_speed.py --arch b0 --size 512     # smaller
    python benchmarks/mit_speed.py --out results.json       # the figures as a file, too
"""

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path

# works from a checkout without installing
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

ENCODERS = ('mmseg', 'ours', 'ours with TAP', 'ours with TAP and ADL')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--arch', default='b2', help='size of MiT, b0 to b5 (default: b2)')
    parser.add_argument(
        '--size', type=int, default=1024, help='side of the picture in pixels (default: 1024)'
    )
    parser.add_argument('--repeats', type=int, default=3, help='runs after one to warm up (default: 3)')
    parser.add_argument('--threads', type=int, default=2, help='threads of torch (default: 2)')
    parser.add_argument('--out', help='write the figures to this JSON file')
    return parser.parse_args()


def measure(
    encoder: str, training: bool, arch: str, size: int, repeats: int, threads: int
) -> tuple[float, float]:
    """Seconds of one step and its memory in MiB."""
    import torch
    from mmseg.registry import MODELS

    import mmseg_tapadl.register  # noqa: F401  registers the encoders
    from mmseg_tapadl.layers import AttentionWatch
    from mmseg_tapadl.models.backbones import MIT_ARCHS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = MIT_ARCHS[arch]
    if encoder == 'mmseg':
        names = ('embed_dims', 'num_layers', 'num_heads', 'patch_sizes', 'strides', 'sr_ratios')
        config = dict(type='MixVisionTransformer', **{name: getattr(sizes, name) for name in names})
    else:
        tap = dict(num_branches=4) if 'TAP' in encoder else None
        config = dict(type='TAPMixVisionTransformer', arch=arch, tap=tap)
    model = MODELS.build(config).train(training)
    watch = AttentionWatch(model) if 'ADL' in encoder and training else None
    image = torch.randn(1, 3, size, size)

    def step() -> None:
        if not training:
            with torch.no_grad():
                model(image)
            return
        if watch is None:
            loss = sum(feature.mean() for feature in model(image))
        else:
            with watch.listening() as similarities:
                loss = sum(feature.mean() for feature in model(image))
            loss = loss + torch.stack(similarities).mean()
        loss.backward()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return min(times[1:]), memory


def main() -> int:
    args = parse_args()
    rows = []
    context = multiprocessing.get_context('spawn')
    print(f'MiT-{args.arch.upper()} at {args.size} x {args.size}, {args.threads} threads')
    print(f'{"":34}{"time":>9}{"memory":>12}')
    for training in (False, True):
        base: tuple[float, float] | None = None
        for encoder in ENCODERS if training else ENCODERS[:-1]:
            with context.Pool(1) as pool:
                seconds, memory = pool.apply(
                    measure, (encoder, training, args.arch, args.size, args.repeats, args.threads)
                )
            base = base or (seconds, memory)
            name = f'{"training step" if training else "inference"}, {encoder}'
            share = (
                ''
                if encoder == 'mmseg'
                else f'   {base[0] / seconds:.1f} x as fast, {memory / base[1]:.2f} of the memory'
            )
            print(f'{name:34}{seconds:7.2f} s{memory:8.0f} MiB{share}', flush=True)
            rows.append(
                dict(
                    step='training' if training else 'inference',
                    encoder=encoder,
                    seconds=seconds,
                    mebibytes=memory,
                )
            )
    if args.out:
        from mmseg_tapadl.utils import write_json

        write_json(args.out, dict(arch=args.arch, size=args.size, threads=args.threads, rows=rows))
    return 0


if __name__ == '__main__':
    sys.exit(main())
