"""What a tool sets for its own process, and what of the user's it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmseg_tapadl.utils.process import settle_process

ROOT = Path(__file__).resolve().parents[2]
TOOLS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'tools').rglob('*.py'))
HAS_GPU = os.path.exists('/dev/nvidiactl')

# glibc raises the size from which it maps a block by itself with every mapped one that is freed: as it comes, the second
# of two equal blocks lies elsewhere than the first. A fixed size leaves both in one place.
WHERE_BLOCKS_LIE = """
import ctypes, sys
from mmseg_tapadl.utils.command_line import run_tool

class Facts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in 'a b c mapped e f g h i j'.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Facts
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def is_mapped():
    before = libc.mallinfo2().mapped
    block = libc.malloc(24 << 20)
    after = libc.mallinfo2().mapped
    libc.free(block)
    return after > before

def body():
    print('same' if is_mapped() == is_mapped() else 'moved')

run_tool('x', body)
"""
ORDER = """
import os, sys
from mmseg_tapadl.utils.command_line import run_tool

assert 'torch' not in sys.modules and 'numpy' not in sys.modules
run_tool('x', lambda: print('torch' in sys.modules, os.environ.get('OMP_WAIT_POLICY')))
"""
HELP = """
import atexit, runpy, sys
atexit.register(lambda: print('torch' in sys.modules))
sys.argv = [sys.argv[1], '--help']
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def python(code: str, *args: str, **variables: str) -> str:
    own = ('MALLOC_', 'OMP_', 'GOMP_', 'KMP_', 'GLIBC_')
    environment = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    command = [sys.executable, '-c', code, *args]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split('\n')[-2]


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc alone is told')
def test_a_tool_fixes_where_memory_comes_from_unless_the_user_has():
    assert python(WHERE_BLOCKS_LIE) == 'same'
    assert python(WHERE_BLOCKS_LIE, MALLOC_ARENA_MAX='1') == 'moved'
    assert python(WHERE_BLOCKS_LIE, GLIBC_TUNABLES='glibc.malloc.tcache_count=3') == 'moved'


def test_it_happens_before_torch_is_loaded_and_children_inherit_it():
    assert python(ORDER) == f'False {None if HAS_GPU else "PASSIVE"}'


@pytest.mark.parametrize('tool', TOOLS)
def test_no_tool_loads_torch_before_it_has_parsed_its_arguments(tool):
    assert python(HELP, tool) == 'False'


@pytest.mark.parametrize(
    'own', [{'OMP_WAIT_POLICY': 'ACTIVE'}, {'GOMP_SPINCOUNT': '1000'}, {'KMP_BLOCKTIME': '10'}]
)
def test_a_users_own_threads_wait_as_they_were_told(own):
    environment = {**own, 'MALLOC_ARENA_MAX': '2'}
    settle_process(environment)
    assert environment == {**own, 'MALLOC_ARENA_MAX': '2'}


def test_a_long_test_gives_memory_back_every_so_many_pictures():
    from mmseg.registry import HOOKS

    import mmseg_tapadl.register  # noqa: F401

    hook = HOOKS.build(dict(type='ReturnMemoryHook', interval=3))
    given_back = []
    hook.trim = given_back.append
    for picture in range(7):
        hook.after_test_iter(None, picture)
    assert given_back == [0, 0]
