"""docs/configuration.md: every document in it is valid, and its tables say what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gadgetron.cli.lookup import Lookup
from gadgetron.cli.validate import check
from gadgetron.configuration.global_config import GlobalConfiguration
from gadgetron.configuration.packaged import schema_folder, stock_folder
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.gadget import Gadget
from gadgetron.limits import LIMITS
from gadgetron.loader import Loader
from gadgetron.properties import declared_properties

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
DOCUMENTS = re.findall(r"```xml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_every_document_on_the_page_is_valid(document):
    lookup = Lookup(ConfigurationSearch(environment={}), Loader(), GlobalConfiguration())
    _, report = check("page", document.encode(), lookup)
    assert report.errors == []
    assert report.warnings == []


def test_there_are_documents_of_all_kinds():
    roots = {"<gadgetronStreamConfiguration", "<configuration>", "<gadgetronConfiguration"}
    assert all(any(root in document for document in DOCUMENTS) for root in roots)


def test_every_element_of_the_schemas_is_explained():
    inside_unsupported_nodes = {
        "branch", "merge", "execute", "connect", "distributor", "purestream",
        "relayAddress", "loadBalancedEndpoint",
    }  # fmt: skip
    for path in schema_folder().glob("*.xsd"):
        names = set(re.findall(r'<xs:element name="(\w+)"', path.read_text(encoding="utf-8")))
        for name in names - inside_unsupported_nodes:
            assert f"`{name}`" in PAGE or f"<{name}" in PAGE, (path.name, name)


def test_every_property_that_all_gadgets_have_is_in_the_table():
    for name, declared in declared_properties(Gadget).items():
        row = re.search(rf"^\| `{name}` \| (\w+).*? \| (\S*) ?\|", PAGE, re.MULTILINE)
        assert row, name
        assert row[1] == declared.type_name
        assert row[2] == declared.default_text


def test_every_stock_configuration_is_in_the_table():
    for path in stock_folder().glob("*.xml"):
        assert path.name == "gadgetron.xml" or f"| `{path.name}` |" in PAGE


def test_the_limits_are_those_of_the_program():
    assert f"| gadgets | {LIMITS.max_gadgets} |" in PAGE
    assert f"| {LIMITS.max_threads_per_gadget}; {LIMITS.max_threads_per_session} |" in PAGE
    assert LIMITS.max_config_bytes == 1024 * 1024
    assert f"| elements; depth | 20 000; {LIMITS.max_xml_depth} |" in PAGE


def test_links_inside_the_page_lead_somewhere():
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= headings
