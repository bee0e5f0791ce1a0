"""Where configurations are found, and in which order."""

from __future__ import annotations

import pytest

from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.search import ConfigurationSearch, load_configuration
from gadgetron.errors import ConfigurationError, LimitExceeded
from tests.configuration.documents import v1


@pytest.fixture
def search(tmp_path):
    """Every folder of the search below tmp_path, but for the package's own."""
    folders = ["first", "home/config", "home/share/gadgetron/config", "user/gadgetron"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    environment = {"GADGETRON_HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "user")}
    return ConfigurationSearch(config_dir=tmp_path / "first", environment=environment)


def test_folders_are_looked_at_in_order(search):
    assert search.folders[-1] == stock_folder()
    for folder in reversed(search.folders[:-1]):
        (folder / "default.xml").write_bytes(v1([(folder.name, "lib", "X", ())]))
        assert search.find("default.xml") == folder / "default.xml"
    assert load_configuration("default.xml", search).gadgets[0].name == "first"


def test_without_environment_the_users_folder_is_below_home(tmp_path):
    folders = ConfigurationSearch(environment={"HOME": str(tmp_path)}).folders
    assert folders == (tmp_path / ".config" / "gadgetron", stock_folder())


def test_stock_configurations_are_found_by_name(search):
    assert load_configuration("default.xml", search).source == "default.xml"
    assert "default_short.xml" in search.names()


def test_names_may_have_folders_and_unusual_characters(search):
    folder = search.config_dir / "generic" / "cine"
    folder.mkdir(parents=True)
    for name in ("a b (1).xml", "T1=x,y@3T+.xml", "a..b.xml"):
        (folder / name).write_bytes(v1())
        assert load_configuration(f"generic/cine/{name}", search).nodes == ()
        assert f"generic/cine/{name}" in search.names()


def test_aliases_are_followed_once(search):
    aliased = ConfigurationSearch(search.config_dir, {"openrecon": "default.xml", "a": "openrecon"}, search.environment)
    assert aliased.find("openrecon").name == "default.xml"
    with pytest.raises(ConfigurationError):
        aliased.find("a")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("defalt.xml", "did you mean default.xml?"),
        ("default", "did you mean default.xml?"),
        ("zzzzzzzz.xml", "there are "),
        ("gadgetron.xml", "no configuration is called"),
        ("x" * 300 + ".xml", "304 characters, the limit is 255"),
    ],
)
def test_unknown_names_get_help(search, name, says):
    with pytest.raises(ConfigurationError) as caught:
        search.find(name)
    assert says in str(caught.value)


def test_a_link_inside_its_folder_is_followed_and_one_that_leads_out_is_not(search, tmp_path):
    (search.config_dir / "real.xml").write_bytes(v1())
    (search.config_dir / "inside.xml").symlink_to("real.xml")
    (tmp_path / "secret.xml").write_bytes(v1())
    (search.config_dir / "outside.xml").symlink_to(tmp_path / "secret.xml")
    assert search.find("inside.xml")
    with pytest.raises(ConfigurationError):
        search.find("outside.xml")


def test_a_configuration_folder_may_itself_be_a_link(search, tmp_path):
    (tmp_path / "link").symlink_to(search.config_dir)
    (search.config_dir / "linked.xml").write_bytes(v1())
    assert ConfigurationSearch(tmp_path / "link", environment={}).find("linked.xml")


def test_a_file_that_is_too_large_is_not_read_whole(search):
    with (search.config_dir / "large.xml").open("wb") as file:
        file.truncate(10 * 1024 * 1024 * 1024)  # sparse
    with pytest.raises(LimitExceeded, match=r"size of large\.xml"):
        load_configuration("large.xml", search)


def test_the_global_file_is_found_but_never_given_to_clients(search):
    assert search.global_file() is None
    path = search.folders[1] / "gadgetron.xml"
    path.write_text("<gadgetronConfiguration/>")
    assert search.global_file() == path
    assert "gadgetron.xml" not in search.names()
    with pytest.raises(ConfigurationError):
        search.find("gadgetron.xml")
