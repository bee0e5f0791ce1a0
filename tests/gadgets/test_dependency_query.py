"""DependencyQueryGadget: which noise measurements are stored."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from ismrmrd import Meta

from gadgetron.gadget import CLOSE_ABORTED
from gadgetron.message import make_message
from gadgetron.properties import apply_properties
from gadgetron.testing import run_gadget
from gadgets.mri_core.dependency_query import NOISE_PREFIX, DependencyQueryGadget

HOUR_S = 3600.0


def store(folder, name: str, age_h: float = 0.0) -> None:
    path = folder / name
    path.write_bytes(b"noise")
    changed = datetime.now(UTC).timestamp() - age_h * HOUR_S
    os.utime(path, (changed, changed))


def answer(folder, messages=(), **properties: str) -> dict[str, object]:
    gadget = DependencyQueryGadget()
    apply_properties(gadget, properties.items())
    (message,) = run_gadget(gadget, messages, working_directory=folder)
    assert isinstance(message.object, Meta)
    assert message.cont is None
    return dict(message.object.items())


def test_the_names_of_stored_measurements_are_listed_sorted(tmp_path):
    for name in (f"{NOISE_PREFIX}_b", f"{NOISE_PREFIX}_a", "other", f"x{NOISE_PREFIX}_c"):
        store(tmp_path, name)
    (tmp_path / f"{NOISE_PREFIX}_folder").mkdir()
    (tmp_path / f"{NOISE_PREFIX}_link").symlink_to("other")
    assert answer(tmp_path) == {"NoiseDependencies": [f"{NOISE_PREFIX}_a", f"{NOISE_PREFIX}_b"]}


@pytest.mark.parametrize("exists", [True, False])
def test_nothing_stored_is_a_dummy(tmp_path, exists):
    assert answer(tmp_path if exists else tmp_path / "not_there") == {"NoiseDependencies": "Dummy"}


def test_the_attribute_and_the_prefix_can_be_chosen(tmp_path):
    store(tmp_path, "coil_1")
    store(tmp_path, f"{NOISE_PREFIX}_1")
    properties = {"noise_dependency_prefix": "coil", "noise_dependency_attrib_name": "Coils"}
    assert answer(tmp_path, **properties) == {"Coils": ["coil_1"]}
    # As in C++: empty means the default.
    properties = {"noise_dependency_prefix": "", "noise_dependency_attrib_name": ""}
    assert answer(tmp_path, **properties) == {"NoiseDependencies": [f"{NOISE_PREFIX}_1"]}


def test_what_is_too_old_is_deleted_if_asked_for(tmp_path):
    store(tmp_path, f"{NOISE_PREFIX}_old", 49)
    store(tmp_path, f"{NOISE_PREFIX}_new", 47)
    store(tmp_path, "other_old", 1000)
    assert len(answer(tmp_path, time_limit_in_storage="48")["NoiseDependencies"]) == 2
    properties = {"clean_storage_while_query": "true", "time_limit_in_storage": "48"}
    assert answer(tmp_path, **properties) == {"NoiseDependencies": [f"{NOISE_PREFIX}_new"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NOISE_PREFIX}_new", "other_old"]


@pytest.mark.parametrize("properties", [{"noise_dependency_prefix": "o"}, {"time_limit_in_storage": "0"}])
def test_nothing_else_is_ever_deleted(tmp_path, properties):
    store(tmp_path, "other_old", 1000)
    store(tmp_path, f"{NOISE_PREFIX}_old", 1000)
    answer(tmp_path, clean_storage_while_query="true", **properties)
    assert len(list(tmp_path.iterdir())) == 2


def test_data_is_dropped(tmp_path):
    assert answer(tmp_path, [make_message(1), make_message("x")]) == {"NoiseDependencies": "Dummy"}


def test_a_failed_session_gets_no_answer():
    DependencyQueryGadget().close(CLOSE_ABORTED)  # would fail if it put anything: there is nobody downstream
