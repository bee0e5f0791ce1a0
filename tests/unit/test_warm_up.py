import gc
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import structlog

from gadgetron import reconstruct
from gadgetron.blas import _openblas
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import Environment
from gadgetron.loader import Loader
from gadgetron.phantom import PhantomOptions, write_phantom
from gadgetron.toolboxes import fft
from gadgetron.toolboxes.turns import N_TURNS, heavy_work
from gadgetron.warm_up import PlanAhead, _usual_transforms, warm_up


@pytest.fixture
def environment(tmp_path):
    yield Environment(loader=Loader(), search=ConfigurationSearch(), working_directory=tmp_path / "work")
    gc.unfreeze()


def test_after_a_warm_up_the_stock_chain_is_loaded(environment):
    warm_up(environment)
    assert "gadgets.mri_core.simple_recon" in sys.modules
    assert environment.admission.active == 0
    assert not environment.working_directory.exists()


def test_a_broken_default_configuration_is_a_warning_and_no_more(environment, tmp_path):
    (tmp_path / "default.xml").write_text("<configuration>")
    broken = replace(environment, search=ConfigurationSearch(tmp_path))
    with structlog.testing.capture_logs() as logs:
        warm_up(broken)
    assert [entry["event"] for entry in logs] == ["server.warm_up_failed"]


@pytest.mark.slow
def test_the_usual_transforms_are_planned():
    for plan in _usual_transforms():
        plan()
    assert fft._cache.nbytes > 0


def test_the_end_joins_the_thread_begun_or_not():
    PlanAhead().end()
    begun = PlanAhead()
    begun.start()
    begun.end()
    assert not any(thread.name == "plan-ahead" for thread in threading.enumerate())


def test_no_more_than_the_turns_there_are():
    for _ in range(N_TURNS):
        assert heavy_work.acquire(timeout=5)
    assert not heavy_work.acquire(blocking=False)
    for _ in range(N_TURNS):
        heavy_work.release()


ASK_BLAS = """
import ctypes
from gadgetron.warm_up import tune_process
tune_process()
with open("/proc/self/maps") as maps:
    paths = {line.split(maxsplit=5)[5].strip() for line in maps if "openblas" in line}
names = [f"{p}openblas_get_num_threads{s}" for p in ("", "scipy_") for s in ("", "64_", "_64")]
print({getattr(library, name)() for library in map(ctypes.CDLL, paths) for name in names if hasattr(library, name)})
"""


ASK_MEANWHILE = """
from gadgetron.blas import _openblas, one_blas_thread
for setter, _ in _openblas():
    setter(2)
def ask():
    print({n_threads for _, n_threads in _openblas()})
with one_blas_thread():
    with one_blas_thread():
        ask()
    ask()
ask()
try:
    with one_blas_thread():
        raise KeyError
except KeyError:
    ask()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are found in /proc")
def test_blas_has_one_thread_while_anybody_asks_for_it_and_then_as_many_as_before():
    done = subprocess.run([sys.executable, "-c", ASK_MEANWHILE], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() in (["{1}", "{1}", "{2}", "{2}"], ["set()"] * 4)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are found in /proc")
def test_gadgets_of_this_process_have_one_blas_thread(tmp_path):
    write_phantom(tmp_path / "scan.h5", PhantomOptions(matrix=16, n_coils=1))
    before, meanwhile = _openblas(), []
    reconstruct(
        tmp_path / "scan.h5",
        "default.xml",
        on_image=lambda _: meanwhile.extend(n_threads for _, n_threads in _openblas()),
    )
    assert set(meanwhile) <= {1}
    assert len(meanwhile) == len(before)
    assert [n_threads for _, n_threads in _openblas()] == [n_threads for _, n_threads in before]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="libraries are found in /proc")
def test_blas_works_in_the_thread_that_calls_it():
    done = subprocess.run([sys.executable, "-c", ASK_BLAS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() in ("{1}", "set()")  # no OpenBLAS, nothing to set
