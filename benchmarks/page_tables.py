"""Tables of the documentation, made from data files: a page shows what its file holds, and a test compares.

A table stands between ``<!-- table: NAME -->`` and ``<!-- /table -->``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; ``None`` is an empty cell."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(
        '| ' + ' | '.join('' if cell is None else str(cell) for cell in line) + ' |' for line in lines
    )


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """The text of a page with these tables in their places.

    Raises:
        ValueError: The page has no place for one of them.
    """
    for name, table in tables.items():
        start, end = f'<!-- table: {name} -->', '<!-- /table -->'
        places = re.findall(f'{re.escape(start)}.*?{re.escape(end)}', page, flags=re.DOTALL)
        if len(places) != 1:
            raise ValueError(f"the page has {len(places)} places for the table '{name}', one is needed")
        page = page.replace(places[0], f'{start}\n{table}\n{end}')
    return page


def zoo_tables(zoo: Mapping[str, Any]) -> dict[str, str]:
    """The tables of docs/model_zoo.md from docs/model_zoo.json."""
    first = zoo['published_corruptions']
    return {
        'files': markdown_table(
            ['file', 'what it is', 'how', 'config', 'licence'],
            [
                [f'[`{f["file"]}`]({f["from"]})', f['kind'], how_to_use(f), f'`{f["config"]}`', f['licence']]
                for f in zoo['files']
            ],
        ),
        'published': markdown_table(
            ['published', 'Cityscapes', 'Cityscapes-C', 'ACDC test', 'source'],
            [
                [r['model'], r['cityscapes'], r['cityscapes_c'], r['acdc_test'], r['source']]
                for r in zoo['published']
            ],
        ),
        'published_by_mmseg': markdown_table(
            ['published', 'Cityscapes'], [[r['model'], r['cityscapes']] for r in zoo['published_by_mmseg']]
        ),
        'published_corruptions': markdown_table(
            ['published', *first['scores'], 'mean'],
            [[first['model'], *first['scores'].values(), first['mean']]],
        ),
    }


def how_to_use(file: Mapping[str, Any]) -> str:
    """Whether a public file is converted first, and which tool takes it then."""
    tool = '`tools/test.py CONFIG FILE`' if file['segmentor'] else '`tools/train.py CONFIG --pretrained FILE`'
    return f'convert, then {tool}' if file['convert'] else tool


def model_tables(measured: Mapping[str, Any]) -> dict[str, str]:
    """The table of docs/which_model.md from docs/which_model.json."""
    sizes = [f'{size} x {size}' for size in measured['sizes']]
    header = [
        'model',
        'parameters, M',
        *(f'G at {size}' for size in sizes),
        *(f's at {size}' for size in sizes),
    ]
    rows = [
        [
            row['model'],
            f'{row["parameters"] / 1e6:.1f}',
            *(f'{macs / 1e9:.0f}' if macs > 1e10 else f'{macs / 1e9:.1f}' for macs in row['macs']),
            *(None if seconds is None else f'{seconds:.2f}' for seconds in row['seconds']),
        ]
        for row in measured['models']
    ]
    return {'which_model': f'Measured on: {measured["machine"]}.\n\n{markdown_table(header, rows)}'}


PAGES: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    'model_zoo': zoo_tables,
    'which_model': model_tables,
}
"""Name of each page (and of its data file) and what makes its tables."""
