"""The working directory: made for the user alone, and nobody else's."""

import os
from pathlib import Path

import pytest

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.environment import Environment, default_working_directory
from gadgetron.errors import StorageError
from gadgetron.loader import Loader


def environment(folder: Path) -> Environment:
    return Environment(Loader(), ConfigurationSearch(environment={}), folder)


def test_it_is_made_on_first_use_for_the_user_alone(tmp_path):
    folder = tmp_path / "parent" / "work"
    assert environment(folder).make_working_directory() == folder
    assert folder.stat().st_mode & 0o777 == 0o700
    assert environment(folder).make_working_directory() == folder


def test_one_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("gadgetron.environment.os.getuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StorageError, match="belongs to another user"):
        environment(tmp_path).make_working_directory()


def test_a_file_in_its_place_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StorageError, match="cannot be made: File exists"):
        environment(file).make_working_directory()


def test_each_user_has_a_default_of_their_own(monkeypatch):
    monkeypatch.delenv("GADGETRON_WORKING_DIRECTORY", raising=False)
    assert default_working_directory().name == f"gadgetron-{os.getuid()}"


def test_the_variable_names_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GADGETRON_WORKING_DIRECTORY", "work")
    assert default_working_directory() == tmp_path.resolve() / "work"
