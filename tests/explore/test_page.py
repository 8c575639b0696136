"""The live page as a person uses it: a real server, a real browser."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'explore.py'
LOOKS = '.look img'


def free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


@pytest.fixture(scope='module')
def server(street, pictures):
    """The page's address; Ctrl-C must end it in order."""
    port = free_port()
    words = [street / 'fan.py', street / 'fan.pth', *pictures[:2], '--port', port, '--device', 'cpu']
    # NiceGUI takes a process with pytest's variables for a test of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST')}
    # A shell's background processes ignore Ctrl-C, and so would their children.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, str(TOOL), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    signal.signal(signal.SIGINT, previous)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert f'http://127.0.0.1:{port}' in line, process.communicate()
    yield f'http://127.0.0.1:{port}'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, '')


@pytest.fixture(scope='module')
def browser():
    path = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if path is None:
        pytest.skip('there is no chromium on this machine (Debian: apt install chromium)')
    sync_api = pytest.importorskip('playwright.sync_api')
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()


def changed(page, former: list[str]) -> None:
    """Waits until both looks are other ones."""
    page.wait_for_function(
        'former => { const now = [...document.querySelectorAll(".look img")].map(e => e.src);'
        ' return now.length == former.length && now.every((src, n) => src != former[n]); }',
        arg=former,
    )


def looks(page) -> list[str]:
    return [one.get_attribute('src') for one in page.locator(LOOKS).all()]


def test_load_choose_click_upload(server, browser, pictures, tmp_path):
    page = browser.new_page(viewport={'width': 1280, 'height': 1000})
    page.set_default_timeout(20_000)
    said, asked = [], []
    page.on('console', lambda message: said.append(f'{message.type}: {message.text}'))
    page.on('pageerror', lambda error: said.append(str(error)))
    page.on('request', lambda request: asked.append(request.url))
    page.goto(server)
    page.wait_for_selector('.heads .tile')
    assert page.locator('.layers .tile').count() == 3
    assert page.locator('.heads .tile').count() == 5
    assert 'branch' in page.inner_text('body')

    former = looks(page)
    box = page.locator(LOOKS).first.bounding_box()
    page.mouse.click(box['x'] + box['width'] * 0.1, box['y'] + box['height'] * 0.1)
    changed(page, former)
    # The file has 64 x 48 pixels.
    assert (
        page.get_by_label('x', exact=True).input_value(),
        page.get_by_label('y', exact=True).input_value(),
    ) == ('6', '4')

    former = looks(page)
    page.locator('.heads .tile').nth(2).click()
    changed(page, former)
    assert 'chosen' in page.locator('.heads .tile').nth(2).get_attribute('class')
    page.locator('.layers .tile').first.click()
    page.wait_for_selector('text=Heads of layer 0')

    page.get_by_label('Picture').click()
    page.locator('.q-menu .q-item').nth(1).click()
    page.wait_for_selector(f'text={Path(pictures[1]).name}, clean')
    page.get_by_label('Corruption').click()
    page.locator('.q-menu .q-item', has_text='contrast').click()
    page.wait_for_selector('text=Prediction, contrast 3')

    page.get_by_label('x', exact=True).fill('64')
    page.get_by_label('x', exact=True).press('Tab')
    page.wait_for_selector('.fault:has-text("the point 64")')

    no_picture = tmp_path / 'notes.png'
    no_picture.write_text('these are notes')
    page.set_input_files('input[type=file]', str(no_picture))
    page.wait_for_selector('.fault:has-text("notes.png: is no picture")')
    sent = tmp_path / 'sent.png'
    sent.write_bytes(Path(pictures[0]).read_bytes())
    page.set_input_files('input[type=file]', str(sent))
    page.wait_for_selector('text=sent.png, clean')
    assert not page.locator('.fault').is_visible()

    assert said == []
    other = [
        url for url in asked if not url.startswith((server, server.replace('http', 'ws'), 'data:', 'blob:'))
    ]
    assert asked and other == []
    page.close()


def test_other_hosts_and_large_bodies_are_refused(server):
    request = urllib.request.Request(server, headers={'Host': 'elsewhere.example'})
    with pytest.raises(urllib.error.HTTPError, match='400'):
        urllib.request.urlopen(request, timeout=10)
    port = int(server.rsplit(':', 1)[1])
    with socket.create_connection(('127.0.0.1', port), timeout=10) as line:
        line.sendall(
            b'POST /_nicegui/client/x/upload/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999999999\r\n\r\n'
        )
        assert b' 413 ' in line.recv(200)


def test_a_port_in_use_and_wrong_ports_are_named(server, run_tool, street):
    port = server.rsplit(':', 1)[1]
    for wrong, told in ((port, 'cannot listen there'), ('70000', 'from 1 to 65535')):
        done = run_tool('explore.py', street / 'fan.py', street / 'fan.pth', '--port', wrong, ok=False)
        assert done.returncode == 2
        assert re.fullmatch(rf'explore\.py: error: .*--port {wrong}: .*{told}.*\n', done.stderr), done.stderr


def test_without_nicegui_it_says_what_to_install(street):
    program = (
        f'import sys, runpy; sys.modules["nicegui"] = None; sys.argv = ["explore.py", "{street}/fan.py", "{street}/fan.pth"]\n'
        f'runpy.run_path({str(TOOL)!r}, run_name="__main__")'
    )
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 2
    assert (
        done.stderr == 'explore.py: error: the live page needs nicegui: pip install "mmseg_tapadl[explore]"\n'
    )


def test_more_than_two_models_are_too_many(run_tool):
    done = run_tool('explore.py', '--compare', 'a.py:a.pth', 'b.py:b.pth', 'c.py:c.pth', ok=False)
    assert done.returncode == 2 and '3 models' in done.stderr
