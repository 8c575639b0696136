"""Fixtures shared by all tests: where the real pictures are, and how a tool is run as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# One thread a process: make test runs two test processes, on two cores. Set before torch is imported.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('MKL_NUM_THREADS', '1')

ROOT = Path(__file__).resolve().parents[1]
CAMVID = ROOT.parent / 'shared' / 'camvid'


def pytest_configure() -> None:
    """An unknown device for the tests of layers and models ends the run before anything is collected."""
    if os.environ.get('TAPADL_TEST_DEVICE'):
        from tests.device import check_device, device_name

        check_device(device_name())


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """The checkout's top folder."""
    return ROOT


@pytest.fixture(scope='session')
def camvid_release() -> Path:
    """The public CamVid release as downloaded; tests of its own pictures skip where it is absent."""
    if not CAMVID.is_dir():
        pytest.skip(f'the CamVid release is not at {CAMVID}')
    return CAMVID


@pytest.fixture(scope='session')
def painted_camvid(tmp_path_factory) -> Path:
    """A stand-in for the CamVid release: its folders, sizes and ids, a few painted streets."""
    from tests.painted_camvid import paint_camvid

    return paint_camvid(tmp_path_factory.mktemp('painted') / 'CamVid')


@pytest.fixture(scope='session')
def camvid_source(request) -> Path:
    """CamVid's release where it is, else the painted stand-in: what needs streets of this form never skips."""
    return CAMVID if CAMVID.is_dir() else request.getfixturevalue('painted_camvid')


@pytest.fixture(scope='session')
def run_tool():
    """Runs ``python tools/<tool> args...`` from the checkout in a process of its own.

    Returns the finished process with its stdout and stderr as text; with ``ok=True`` (the default) a
    non-zero exit status fails the test and shows both.
    """

    def run(
        tool: str,
        *args: object,
        ok: bool = True,
        timeout: float = 240,
        env: dict | None = None,
        cwd: Path = ROOT,
    ):
        command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, args)]
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if ok and done.returncode != 0:
            pytest.fail(
                f'{" ".join(command)}\nexit status {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}'
            )
        return done

    return run
