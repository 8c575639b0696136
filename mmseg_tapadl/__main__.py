"""One command for all tools: ``mmseg-tapadl train ...`` is ``python tools/train.py ...``.

Every file below ``tools/`` is a command under its name, ``init_data.py`` as ``init-data``; some have a shorter one.
"""

import ast
import difflib
import importlib.util
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from mmseg_tapadl.utils.errors import EXIT_INPUT
from mmseg_tapadl.utils.shipped import shipped
from mmseg_tapadl.version import __version__

PROGRAM = 'mmseg-tapadl'
SHORTER = {'check-dataset': 'check', 'test-robustness': 'robustness', 'compare-robustness': 'compare'}
# In this order before all others.
FIRST = ('init-data', 'check', 'train', 'test', 'predict', 'export', 'robustness', 'compare')


def commands() -> dict[str, Path]:
    """The files of the tools by the names of their commands."""
    names = {path.stem.replace('_', '-'): path for path in sorted(shipped('tools').rglob('*.py'))}
    found = {SHORTER.get(name, name): path for name, path in names.items()}
    order = [name for name in FIRST if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def main() -> int:
    """Runs the command that the arguments name; returns the exit status."""
    known = commands()
    name, *arguments = sys.argv[1:] or ['--help']
    answers = {'-h': _help, '--help': _help, '--version': _version, 'configs': _configs}
    if name in answers:
        # A reader such as head may have seen enough.
        with suppress(BrokenPipeError):
            print(answers[name](known), flush=True)
            return 0
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    path = known.get(name)
    if path is None:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f'did you mean {near[0]}?' if near else f'{PROGRAM} --help lists them'
        print(f"{PROGRAM}: error: no command '{name}': {advice}", file=sys.stderr)
        return EXIT_INPUT
    sys.argv = [f'{PROGRAM} {name}', *arguments]
    spec = importlib.util.spec_from_file_location(f'{PROGRAM}.{name}', path)
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    # Its examples as they are typed here.
    tool.__doc__ = _as_commands(tool.__doc__ or '', known)
    return tool.main()


def _as_commands(text: str, known: dict[str, Path]) -> str:
    text = re.sub(
        r'bash tools/dist_(\w+)\.sh (.+) (\d+)$',
        r'torchrun --nproc-per-node \3 -m mmseg_tapadl \1 \2 --launcher pytorch',
        text,
        flags=re.MULTILINE,
    )
    for name, path in known.items():
        file = path.relative_to(shipped('tools')).as_posix()
        text = re.sub(rf'(?:python )?\btools/{re.escape(file)}', f'{PROGRAM} {name}', text)
    return text


def _help(known: dict[str, Path]) -> str:
    width = max(map(len, known))
    lines = [f'  {name:<{width}}  {_first_line(path)}' for name, path in known.items()]
    return '\n'.join(
        [
            f'usage: {PROGRAM} COMMAND ...   ({PROGRAM} COMMAND --help tells its options)',
            '',
            *lines,
            f'  {"configs":<{width}}  Lists the configs that come along; they are named as configs/NAME.py from anywhere.',
        ]
    )


def _first_line(path: Path) -> str:
    """The first sentence of a tool's docstring; nothing is run."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return ' '.join(text.split('\n\n')[0].split())


def _version(known: dict[str, Path]) -> str:
    return f'{PROGRAM} {__version__}'


def _configs(known: dict[str, Path]) -> str:
    names = [f'configs/{path.name}' for path in sorted(shipped('configs').glob('*.py'))]
    return '\n'.join([f'below {shipped("configs")}:', *names])


if __name__ == '__main__':
    sys.exit(main())
