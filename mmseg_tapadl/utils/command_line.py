"""What all command lines share: how options are declared, how a tool ends.

Needs the standard library only, so that a tool can declare its options and answer ``--help`` before anything heavy
is imported.
"""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mmseg_tapadl.utils.errors import (
    EXIT_DISK_FULL,
    EXIT_ERROR,
    EXIT_INPUT,
    DiskFullError,
    RunStopped,
    exit_status_of,
    is_wrong_path,
)
from mmseg_tapadl.utils.process import settle_process

LAUNCHERS = ('none', 'pytorch', 'slurm')
# What the other processes see when one has died; their traceback would only hide the cause.
_PEER_LOST = (
    'closed by peer',
    'Connection reset',
    'Broken pipe',
    'Socket Timeout',
    'recvBytes',
    'remote process',
    'another process',
)


def tool_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that shows a tool's docstring, examples included, as it is written, and takes options in full only."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # A shortened option would change its meaning when another one of the same beginning is added.
        allow_abbrev=False,
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options KEY=VALUE ...``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='changes to the config, e.g. model.test_cfg.mode=whole',
    )


def add_data(parser: argparse.ArgumentParser, use: str) -> None:
    """``--data FILE_OR_FOLDER``.

    Args:
        parser: Gets the option.
        use: What is done with the data, for the help text.
    """
    parser.add_argument(
        '--data',
        metavar='FILE_OR_FOLDER',
        help=f"{use}, in place of the config's data: a data.yaml (docs/own_data.md), a folder in a known layout, or a config; "
        'the heads take its classes',
    )


def add_trust_checkpoint(parser: argparse.ArgumentParser, files: str = 'the checkpoint') -> None:
    """``--trust-checkpoint``, for files whose reading runs a program.

    Args:
        parser: Gets the option.
        files: Which files it is about, for the help text.
    """
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help=f'read {files} even where a file is a program. It can do all that you can: only for files whose origin '
        'you know',
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """``--model`` and ``--model-options``: a model that is told in another way than by CONFIG CHECKPOINT."""
    parser.add_argument(
        '--model',
        metavar='KIND:PLACE',
        help='in place of CONFIG CHECKPOINT: hf:FOLDER_OR_NAME (Hugging Face), onnx:FILE, python:FILE.py:FUNCTION or '
        'python:MODULE:FUNCTION',
    )
    parser.add_argument(
        '--model-options',
        nargs='+',
        metavar='KEY=VALUE',
        help="with --model: in place of the processor's or file's own, e.g. size.height=512 (hf) or size=[512,1024] (onnx)",
    )


def check_model(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the tool where neither or both of ``--model`` and CONFIG CHECKPOINT are given."""
    if args.model:
        if args.config or args.checkpoint:
            parser.error(f'give --model or CONFIG CHECKPOINT, not both ({args.config} is too much)')
        if args.cfg_options or args.trust_checkpoint:
            parser.error('--cfg-options and --trust-checkpoint go with CONFIG CHECKPOINT, not with --model')
    elif not args.config or not args.checkpoint:
        parser.error('CONFIG and CHECKPOINT are needed, or --model KIND:PLACE')
    elif args.model_options:
        parser.error('--model-options goes with --model')


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """CONFIG and CHECKPOINT or ``--model``, what they are measured on, and how the names of the classes meet."""
    parser.add_argument('config', nargs='?', help='config of the model; its test_dataloader is measured on')
    parser.add_argument('checkpoint', nargs='?', help='its weights, .pth or .safetensors')
    add_model(parser)
    parser.add_argument(
        '--data',
        metavar='FILE_OR_FOLDER',
        help='what to measure on: a data.yaml (its test, else its val; docs/own_data.md), the folder of Cityscapes, CamVid or '
        "ACDC (its val), or a config (its test_dataloader); needed with --model, else in place of the config's own",
    )
    parser.add_argument(
        '--class-map',
        metavar='FILE',
        help='YAML, "name of the model: name of the data set", where the names differ (null: none of them)',
    )
    add_cfg_options(parser)
    add_trust_checkpoint(parser)


def check_model_and_data(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the tool where the options of :func:`add_model_and_data` do not go together."""
    check_model(parser, args)
    if args.model and not args.data:
        parser.error('--model needs --data: the folder of a data set, or a config')
    if args.class_map and not args.model:
        parser.error('--class-map goes with --model')


def add_temperature(parser: argparse.ArgumentParser) -> None:
    """``--temperature FILE_OR_NUMBER``."""
    parser.add_argument(
        '--temperature',
        metavar='FILE_OR_NUMBER',
        help='compute the probabilities at this temperature: what tools/calibrate.py --out wrote, or a number; the labels '
        'stay what they are',
    )


def add_models_and_pictures(parser: argparse.ArgumentParser, *, bound: str = '') -> None:
    """Adds what :func:`split_models` reads: CONFIG CHECKPOINT IMAGE ..., and ``--compare``.

    Args:
        parser: Gets the arguments.
        bound: What the help of ``--compare`` says of how many models there may be.
    """
    parser.add_argument(
        'words',
        nargs='*',
        metavar='CONFIG CHECKPOINT IMAGE',
        help='config of the model, its weights (.pth or .safetensors), then pictures or folders of pictures',
    )
    parser.add_argument(
        '--compare',
        nargs='+',
        default=[],
        metavar='CONFIG:CHECKPOINT',
        help=f'models to show side by side, after CONFIG CHECKPOINT where these are given{bound}',
    )


def split_models(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Tells models and pictures apart: ``args.models`` (config, checkpoint) and ``args.images``.

    Args:
        parser: Ends the tool where the words make no sense.
        args: With the arguments of :func:`add_models_and_pictures`.
    """
    words = list(args.words)
    args.models = []
    if words and words[0].endswith('.py'):
        if len(words) < 2:
            parser.error(f'CONFIG {words[0]} needs a CHECKPOINT after it')
        args.models.append((words[0], words[1]))
        words = words[2:]
    for word in args.compare:
        config, found, checkpoint = word.partition('.py:')
        if found and checkpoint:
            args.models.append((f'{config}.py', checkpoint))
        elif Path(word).exists() and not word.endswith('.py'):
            words.append(word)  # a picture behind the models
        else:
            parser.error(f'--compare {word}: must be CONFIG.py:CHECKPOINT')
    if not args.models:
        parser.error('CONFIG CHECKPOINT are needed, or --compare CONFIG:CHECKPOINT ...')
    args.images = words


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """``--launcher``, and the ``--local_rank`` that old launchers give."""
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='how processes start (default: none, one process)',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def run_tool(tool: str, body: Callable[[], int | None]) -> int:
    """Runs a tool's body and turns what goes wrong into one clear line and an exit status.

    Foreseen errors are one line on stderr; others keep their traceback. Both are in the log file once
    there is one. In distributed training the process that failed speaks first and in full; the others
    say only that they stopped because of it.

    Args:
        tool: The tool's file, ``__file__``; its name begins the line.
        body: What to do; returns None or an exit status.

    Returns:
        The exit status, see :mod:`mmseg_tapadl.utils.errors`.
    """
    settle_process()
    who = Path(tool).name
    distributed = int(os.environ.get('WORLD_SIZE', os.environ.get('SLURM_NTASKS', '1'))) > 1
    if distributed:
        who += f' (process {os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))})'
    if os.path.expanduser('~') == '~':
        # HOME is unset and no table knows the user's number, as in containers: libraries that look for a cache below the
        # home folder do without one, but stop where there is no home at all.
        os.environ['HOME'] = '/nonexistent'
    # What a screen cannot show (a file name in another script) is shown with escapes, not a reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
    try:
        status = body() or 0
    except SystemExit as error:
        return int(error.code or 0) if isinstance(error.code, (int, type(None))) else EXIT_INPUT
    except (Exception, KeyboardInterrupt) as error:
        status = exit_status_of(error)
        if status == EXIT_ERROR and distributed and any(text in str(error) for text in _PEER_LOST):
            print(f'{who}: stopped, because another process stopped', file=sys.stderr, flush=True)
        else:
            _report(who, error, status)
        if distributed:
            # The peers may hang in a collective call or be gone: an orderly end would wait for them.
            sys.stdout.flush()
            os._exit(status)
        return status
    _leave_group()
    return status


def _leave_group() -> None:
    # A tool that never loaded torch has no processes to wait for.
    torch = sys.modules.get('torch')
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _report(who: str, error: BaseException, status: int) -> None:
    trace = ''.join(traceback.format_exception(error))
    if isinstance(error, RunStopped):
        text = f'{who}: {error}'
    elif isinstance(error, KeyboardInterrupt):
        text = f'{who}: interrupted; nothing was saved since the last checkpoint'
    elif status == EXIT_ERROR:
        text = f'{trace}{who}: error: {type(error).__name__}: {error}'
    elif status == EXIT_DISK_FULL and not isinstance(error, DiskFullError):
        text = f'{who}: error: the disk is full ({error}). Free some space, or set another --work-dir.'
    elif is_wrong_path(error):
        text = f'{who}: error: {error.filename}: {error.strerror}'  # type: ignore[attr-defined]
    else:
        text = f'{who}: error: {error}'
    # A screen that cannot show a name's bytes shows them escaped.
    print(text.encode('utf-8', 'backslashreplace').decode('utf-8'), file=sys.stderr, flush=True)
    _into_log_file(text if status == EXIT_ERROR else f'{text}\n{trace}')


def _into_log_file(text: str) -> None:
    """Appends to the log file alone, if it can be written; the screen has it already."""
    logging = sys.modules.get('mmengine.logging')
    loggers = logging.MMLogger._instance_dict.values() if logging is not None else ()
    for logger in list(loggers):
        for handler in logger.handlers:
            file = getattr(handler, 'baseFilename', None)
            if file and os.path.exists(file):
                # On a full disk what there is to say must not be lost to a second error.
                with suppress(OSError), open(file, 'a', encoding='utf-8', errors='backslashreplace') as log:
                    log.write(f'{text}\n')
