import gc
import sys
import threading

import pytest
import structlog

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import Environment
from gadgetron.loader import Loader
from gadgetron.toolboxes.turns import N_TURNS, heavy_work
from gadgetron.warm_up import WarmUp, warm_up


@pytest.fixture
def environment(tmp_path):
    yield Environment(loader=Loader(), search=ConfigurationSearch(), working_directory=tmp_path / "work")
    gc.unfreeze()


@pytest.mark.slow
def test_after_a_warm_up_the_stock_chain_is_loaded_and_planned(environment):
    from gadgetron.toolboxes import fft

    warm_up(environment)
    assert "gadgets.mri_core.simple_recon" in sys.modules
    assert fft._cache.nbytes > 0
    assert environment.admission.active == 0
    assert not environment.working_directory.exists()


def test_a_warm_up_that_is_told_to_end_skips_the_rest(environment):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) > 1

    warm_up(environment, should_stop)
    assert len(asked) == 2


def test_a_broken_default_configuration_is_a_warning_and_no_more(tmp_path):
    (tmp_path / "default.xml").write_text("<configuration>")
    environment = Environment(
        loader=Loader(), search=ConfigurationSearch(tmp_path), working_directory=tmp_path / "work"
    )
    with structlog.testing.capture_logs() as logs:
        warm_up(environment)
    assert [entry["event"] for entry in logs] == ["server.warm_up_failed"]


def test_the_end_joins_the_thread_begun_or_not(environment):
    never_begun = WarmUp(environment)
    never_begun.end()
    begun = WarmUp(environment)
    begun.start()
    begun.end()
    assert not any(thread.name == "warm-up" for thread in threading.enumerate())


def test_no_more_than_the_turns_there_are():
    for _ in range(N_TURNS):
        assert heavy_work.acquire(timeout=5)
    assert not heavy_work.acquire(blocking=False)
    for _ in range(N_TURNS):
        heavy_work.release()
