"""The live page, thin over :class:`~mmseg_tapadl.explore.session.ExploreSession`.

Each browser tab has a session of its own; models are shared, and one tab at a time computes, in a thread beside the one
that answers browsers.
"""

import asyncio
import html
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from nicegui import app, ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from mmseg_tapadl.analysis.analysed_model import AnalysedModel
from mmseg_tapadl.analysis.attention_page import as_text, strongest
from mmseg_tapadl.analysis.heat_pictures import BRANCH_COLOURS, OCTAVES, scale_stops
from mmseg_tapadl.datasets.corruptions import CORRUPTIONS, SEVERITIES
from mmseg_tapadl.evaluation.robustness_presets import CLEAN, Cell
from mmseg_tapadl.explore import drawing
from mmseg_tapadl.explore.session import ExploreSession, LayerLook, ModelView, Seen, agreement_of
from mmseg_tapadl.explore.upload_bound import UploadBound
from mmseg_tapadl.explore.uploads import MOST_BYTES
from mmseg_tapadl.utils import InputError, shown

Answer = TypeVar('Answer')
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
LARGE, TILE = 620, 280
STYLE = """
body { background: #f6f7f9; color: #1d2733; }
.explore { max-width: 1320px; margin: 0 auto; width: 100%; }
.card { background: #fff; border: 1px solid #dde2e8; border-radius: 8px; padding: 12px 16px; width: 100%; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; width: 100%; }
.four { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; width: 100%; }
.q-uploader__list { display: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(292px, 1fr)); gap: 10px; width: 100%; }
.tile { border: 2px solid #dde2e8; border-radius: 6px; padding: 6px; background: #fff; text-align: left; cursor: pointer;
        font-size: 12px; line-height: 1.35; }
.tile.chosen { border-color: #0072b2; background: #eef6fb; }
.tile .both { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; margin-top: 4px; }
figure { margin: 0; min-width: 0; } figure img, .tile img { width: 100%; display: block; border-radius: 4px; }
figcaption { font-size: 13px; color: #46525f; margin-bottom: 4px; min-height: 20px; }
.pair img { width: 100%; cursor: crosshair; }
.fault { background: #fdecea; border: 1px solid #b3261e; color: #7a1410; border-radius: 6px; padding: 8px 12px; width: 100%; }
.chip { display: inline-flex; align-items: center; gap: 5px; font-size: 12px; margin-right: 14px; }
.chip i { width: 12px; height: 12px; border-radius: 2px; display: inline-block; border: 1px solid #0003; }
.scale { width: 220px; height: 12px; border-radius: 3px; display: inline-block; }
.legend { font-size: 12px; color: #46525f; } h1 { font-size: 20px; font-weight: 600; } h2 { font-size: 16px; font-weight: 600; }
h3 { font-size: 14px; font-weight: 600; } h1, h2, h3 { line-height: 1.4; margin: 0; }
"""


class ExplorePage:
    """What one browser tab shows.

    Args:
        session: Of this tab.
        lock: Held while anything computes, by all tabs.
    """

    def __init__(self, session: ExploreSession, lock: asyncio.Lock):
        self.session = session
        self.lock = lock
        self.source = session.file(0) if session.paths else None
        self.point: tuple[float, float] | None = None
        self.layer: int | None = None
        self.head: int | None = None
        self.asked = 0
        ui.add_css(STYLE)
        with ui.column().classes('explore gap-3'):
            ui.html('<h1>Where attention looks</h1>', sanitize=False)
            self._build_controls()
            self.fault = ui.label().classes('fault').props('role=alert')
            self.fault.set_visibility(False)
            self.body = ui.column().classes('w-full gap-3')
        with self.body:
            ui.label('Choose a picture, or drop one above.')
        self.looks: list[tuple[list[Any], Any]] = []

    def _build_controls(self) -> None:
        with ui.element('div').classes('card'), ui.row().classes('items-center gap-4 w-full'):
            if self.session.paths:
                names = {number: shown(Path(path).name) for number, path in enumerate(self.session.paths)}
                self.chosen = ui.select(names, value=0, label='Picture', on_change=self._choose)
                self.chosen.classes('w-56').mark('picture')
            self.uploader = (
                ui.upload(
                    label='Or drop a JPEG or PNG',
                    auto_upload=True,
                    max_file_size=MOST_BYTES,
                    on_upload=self._take_upload,
                    on_rejected=lambda: self._name_fault(
                        f'the file was not taken: it is larger than {MOST_BYTES // 2**20} MiB; give a smaller picture'
                    ),
                )
                .props('flat bordered')
                .classes('w-64')
            )
            self.corruption = ui.select(
                {name: name.replace('_', ' ') for name in ('none', *CORRUPTIONS)},
                value='gaussian_noise',
                label='Corruption',
                on_change=self.update,
            ).classes('w-44')
            self.severity = ui.select(
                list(SEVERITIES), value=3, label='Severity', on_change=self.update
            ).classes('w-20')
            self.x = ui.number('x', precision=0, step=1).classes('w-20').on('change', self._type_point)
            self.y = ui.number('y', precision=0, step=1).classes('w-20').on('change', self._type_point)
            with ui.row().classes('items-center gap-2').props('role=status') as self.busy:
                ui.spinner(size='md')
                ui.label('computing …')
            self.busy.set_visibility(False)

    async def _choose(self) -> None:
        self.source = self.session.file(self.chosen.value)
        self.point = None
        await self.update()

    async def _take_upload(self, event: Any) -> None:
        name, content = event.file.name or 'upload', await event.file.read()
        self.uploader.reset()
        source = await self._compute(lambda: self.session.upload(name, content))
        if source is not None:
            self.source, self.point = source, None
            await self.update()

    async def _click(self, seen: Seen, height: int, event: Any) -> None:
        rows, columns = seen.labels.shape
        self.point = (
            float(min(max(int(event.image_x * columns / LARGE), 0), columns - 1)),
            float(min(max(int(event.image_y * rows / height), 0), rows - 1)),
        )
        await self.update()

    async def _type_point(self) -> None:
        if self.x.value is not None and self.y.value is not None:
            self.point = float(self.x.value), float(self.y.value)
            await self.update()

    async def _choose_layer(self, layer: int) -> None:
        self.layer, self.head = layer, None
        await self.update()

    async def _choose_head(self, head: int | None) -> None:
        self.head = head
        await self.update()

    def _name_fault(self, text: str) -> None:
        self.fault.set_text(text)
        self.fault.set_visibility(bool(text))

    async def _compute(self, work: Callable[[], Answer]) -> Answer | None:
        """What ``work`` returns, computed in a thread; ``None`` where the page names a fault instead."""
        self.busy.set_visibility(True)
        try:
            async with self.lock:
                answer = await asyncio.to_thread(work)
            self._name_fault('')
            return answer
        except InputError as error:
            self._name_fault(str(error))
        except Exception as error:  # the page stays up
            logging.getLogger(__name__).exception('the live page: an answer failed')
            self._name_fault(f'{type(error).__name__}: {error}')
        finally:
            self.busy.set_visibility(False)
        return None

    async def update(self) -> None:
        """Brings the page to what is chosen; where more was chosen meanwhile, that alone is computed."""
        self.asked += 1
        mine, source, session = self.asked, self.source, self.session
        if source is None:
            return
        severity = 0 if self.corruption.value == 'none' else self.severity.value
        cell = CLEAN if not severity else Cell(self.corruption.value, severity)

        def answer() -> tuple[bool, list[Any]] | None:
            if mine != self.asked:
                return None
            is_new = session.show(source, cell)
            if self.point is None:
                height, width = session.views[0].clean.labels.shape
                self.point = (float(width // 2), float(height // 2))
            return is_new, [
                view_of(session, view, self.point, self.layer, self.head, is_new) for view in session.views
            ]

        found = await self._compute(answer)
        if found is not None:
            self._draw(*found)
        elif session.source is not None and mine == self.asked:
            self.source = session.source

    def _draw(self, is_new: bool, views: list[dict[str, Any]]) -> None:
        assert self.point is not None
        self.x.value, self.y.value = self.point
        if is_new or not self.looks:
            self.looks = []
            self.body.clear()
            with self.body:
                for view in views:
                    self._draw_model(view)
        for view, (pair, detail) in zip(views, self.looks, strict=True):
            for image, uri in zip(pair, view['looks'], strict=True):
                image.set_source(uri)
            detail.clear()
            with detail:
                self._draw_detail(view)

    def _draw_model(self, view: dict[str, Any]) -> None:
        with ui.element('section').classes('card'), ui.column().classes('w-full gap-3'):
            ui.html(f'<h2>{html.escape(view["title"])}</h2>', sanitize=False)
            pair: list[Any] = []
            with ui.element('div').classes('pair'):
                for caption, seen in zip(view['captions'], view['seen'], strict=True):
                    with ui.element('figure'):
                        ui.html(f'<figcaption>{html.escape(caption)}</figcaption>', sanitize=False)
                        image = ui.interactive_image(
                            view['looks'][len(pair)],
                            size=(LARGE, view['height']),
                            on_mouse=partial(self._click, seen, view['height']),
                            events=['click'],
                        ).classes('look')
                        pair.append(image)
            ui.html(
                'Click a point (or type x and y). '
                f'<span class="scale" style="background:linear-gradient(90deg,{scale_stops()})"></span> '
                f'attention from even (1) to {2**OCTAVES} times even and more, in powers of two; one scale everywhere.',
                sanitize=False,
            ).classes('legend')
            with ui.element('div').classes('four'):
                for caption, uri in view['predictions']:
                    picture(caption, uri)
            ui.html(''.join(chip(name, colour) for name, colour in view['classes']), sanitize=False)
            detail = ui.column().classes('w-full gap-3')
        self.looks.append((pair, detail))

    def _draw_detail(self, view: dict[str, Any]) -> None:
        ui.html('<h3>Layers</h3>', sanitize=False)
        with ui.element('div').classes('tiles layers'):
            for tile in view['layers']:
                draw_tile(tile, partial(self._choose_layer, tile['number']))
        ui.html(f'<h3>Heads of layer {view["layer"]}</h3>', sanitize=False)
        with ui.element('div').classes('tiles heads'):
            for tile in view['heads']:
                draw_tile(tile, partial(self._choose_head, tile['number']))
        if view['branches']:
            ui.html(f'<h3>TAP’s preferred branch, layer {view["layer"]}</h3>', sanitize=False)
            with ui.element('div').classes('four'):
                for caption, uri in view['branches']:
                    picture(caption, uri)
            ui.html(''.join(chip(name, colour) for name, colour in view['branch_names']), sanitize=False)


def draw_tile(tile: dict[str, Any], choose: Callable[[], Any]) -> None:
    """A button with clean beside corrupted."""
    button = ui.element('button').classes('tile' + (' chosen' if tile['chosen'] else ''))
    button.on('click', choose)
    with button:
        ui.html(html.escape(tile['words']), sanitize=False)
        with ui.element('div').classes('both'):
            for uri, alt in tile['pictures']:
                image(uri, alt)


def picture(caption: str, uri: str) -> None:
    """A picture with its caption, which is its text alternative too."""
    with ui.element('figure'):
        ui.html(f'<figcaption>{html.escape(caption)}</figcaption>', sanitize=False)
        image(uri, caption)


def image(uri: str, alt: str) -> None:
    """A picture by its address."""
    ui.html(f'<img src="{uri}" alt="{html.escape(alt)}">', sanitize=False)


def chip(name: str, colour: str) -> str:
    """A name beside a square of its colour."""
    return f'<span class="chip"><i style="background:{colour}"></i>{html.escape(name)}</span>'


def view_of(
    session: ExploreSession,
    view: ModelView,
    point: tuple[float, float],
    layer: int | None,
    head: int | None,
    is_new: bool,
) -> dict[str, Any]:
    """All that the page shows of one model, drawn; predictions only where the picture is new."""
    seen = [view.clean, view.corrupted]
    clean = session.look(view, view.clean, point)
    looks = [clean, clean if view.corrupted is view.clean else session.look(view, view.corrupted, point)]
    place = next((number for number, one in enumerate(clean) if one.layer == layer), len(clean) - 1)
    chosen = [one[place] for one in looks]
    heads = 0 if chosen[0].looks is None else len(chosen[0].looks)
    head = head if head is not None and head < heads else None
    conditions = ['clean', view.corrupted.cell.name.replace('_', ' ')]
    assert session.source is not None
    name = shown(Path(session.source.name).name)
    drawn = {
        'title': view.model.name,
        'seen': seen,
        'layer': chosen[0].layer,
        'captions': [f'{name}, {condition}: where the point looks' for condition in conditions],
        'looks': [
            drawing.look_uri(one, look, head, LARGE, point) for one, look in zip(seen, chosen, strict=True)
        ],
        'height': drawing.scaled(view.clean.picture, LARGE).shape[0],
        'layers': [
            tile_of(f'Layer {pair[0].layer}', seen, pair, None, conditions, pair[0].layer == chosen[0].layer)
            for pair in zip(*looks, strict=True)
        ],
        'heads': [
            tile_of(
                'Mean of all heads' if number is None else f'Head {number}',
                seen,
                chosen,
                number,
                conditions,
                number == head,
            )
            for number in [None, *range(heads)]
        ],
        'branches': [],
    }
    if chosen[0].branch is not None:
        shares = [
            np.bincount(one.branch.ravel()) / one.branch.size for one in chosen if one.branch is not None
        ]
        drawn['branches'] = [
            (
                f'{condition}: '
                + ', '.join(f'{100 * part:.0f} % branch {k}' for k, part in enumerate(share) if part),
                drawing.branch_map_uri(one, look, LARGE),
            )
            for condition, share, one, look in zip(conditions, shares, seen, chosen, strict=True)
        ]
        drawn['branch_names'] = [
            (f'branch {k}', BRANCH_COLOURS[k % len(BRANCH_COLOURS)]) for k in range(max(map(len, shares)))
        ]
    if is_new:
        changed = view.changed
        drawn['predictions'] = [
            (f'Picture, {conditions[1]}', drawing.plain_uri(view.corrupted, LARGE)),
            *(
                (f'Prediction, {condition}', drawing.prediction_uri(view, one, LARGE))
                for condition, one in zip(conditions, seen, strict=True)
            ),
            (
                f'Changed (orange): {100 * changed.mean():.1f} % of the pixels',
                drawing.changed_uri(view, LARGE),
            ),
        ]
        present = np.union1d(view.clean.labels, view.corrupted.labels)
        drawn['classes'] = [
            (view.model.classes[label], 'rgb({},{},{})'.format(*view.model.palette[label]))
            for label in present
            if 0 <= label < len(view.model.classes)
        ]
    return drawn


def tile_of(
    name: str,
    seen: Sequence[Seen],
    pair: Sequence[LayerLook],
    head: int | None,
    conditions: Sequence[str],
    chosen: bool,
) -> dict[str, Any]:
    """A small clean look beside a corrupted one, and how alike they are."""
    if pair[0].looks is None or pair[1].looks is None:
        return {
            'number': pair[0].layer,
            'words': f'{name}: tokens on no grid',
            'pictures': [],
            'chosen': chosen,
        }
    values = [one.looks.mean(0) if head is None else one.looks[head] for one in pair if one.looks is not None]
    return {
        'number': head if not name.startswith('Layer') else pair[0].layer,
        'words': f'{name}: cosine {as_text(agreement_of(*values), 2)}',
        'chosen': chosen,
        'pictures': [
            (
                drawing.look_uri(one, look, head, TILE // 2),
                f'{name}, {condition}. {strongest(value, look.stride)}',
            )
            for one, look, value, condition in zip(seen, pair, values, conditions, strict=True)
        ],
    }


def serve(
    models: Sequence[AnalysedModel],
    paths: Sequence[str],
    *,
    host: str = '127.0.0.1',
    port: int = 8080,
    show: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serves the page until Ctrl-C.

    Args:
        models: What looks at the pictures.
        paths: Pictures to choose from.
        host: Address to listen on.
        port: Its port.
        show: Whether a browser is opened.
        say: Told the page's address.

    Raises:
        InputError: A model without a test pipeline.
    """
    ExploreSession(models, paths)  # a config without a pipeline is named before the page is up
    lock = asyncio.Lock()

    async def root() -> None:
        session = ExploreSession(models, paths)
        page = ExplorePage(session, lock)
        ui.context.client.on_delete(session.release)
        ui.timer(0.1, page.update, once=True)

    app.add_middleware(UploadBound, most_bytes=MOST_BYTES)
    if host in LOOPBACK:
        # A page of elsewhere that had its name point to this machine gets no answer.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=['127.0.0.1', 'localhost', '[::1]'])
    app.on_startup(lambda: say(f'http://{host}:{port}  (Ctrl-C ends it)'))
    with suppress(KeyboardInterrupt):
        ui.run(
            root,
            host=host,
            port=port,
            show=show,
            reload=False,
            title='Where attention looks',
            show_welcome_message=False,
        )
