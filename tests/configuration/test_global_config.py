"""gadgetron.xml."""

from __future__ import annotations

import pytest

from gadgetron.configuration.global_config import (
    GlobalConfiguration,
    load_global_configuration,
    parse_global_configuration,
)
from gadgetron.configuration.packaged import stock_folder
from gadgetron.errors import ConfigurationError

FULL = b"""<?xml version="1.0"?>
<gadgetronConfiguration xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns="http://gadgetron.sf.net/gadgetron"
  xsi:schemaLocation="http://gadgetron.sf.net/gadgetron gadgetron.xsd">
  <port>9005</port>
  <globalGadgetParameter><name>workingDirectory</name><value>/tmp/gadgetron/</value></globalGadgetParameter>
  <cloudBus><relayAddress>localhost</relayAddress><port>8002</port></cloudBus>
  <rest><port>9080</port></rest>
  <globalGadgetParameter><name>verbose</name><value>true</value></globalGadgetParameter>
  <allowedPrefix>mine.</allowedPrefix>
  <allowedPrefix>yours.gadgets</allowedPrefix>
  <configurationAlias><name>openrecon</name><file>default.xml</file></configurationAlias>
  <externalHost>recon2.example.org</externalHost>
</gadgetronConfiguration>
"""


def test_everything_is_read():
    found = parse_global_configuration(FULL, "gadgetron.xml")
    assert found.port == 9005
    assert found.global_parameters == (("workingDirectory", "/tmp/gadgetron/"), ("verbose", "true"))
    assert found.allowed_prefixes == ("mine", "yours.gadgets")
    assert found.aliases == (("openrecon", "default.xml"),)
    assert found.external_hosts == ("recon2.example.org",)
    assert [notice.split(">")[0] for notice in found.notices] == [
        "gadgetron.xml: <cloudBus",
        "gadgetron.xml: <rest",
    ]


def test_without_a_file_there_are_defaults():
    assert load_global_configuration(None) == GlobalConfiguration()
    assert parse_global_configuration(b"<gadgetronConfiguration/>", "x") == GlobalConfiguration()


def test_the_example_is_valid_and_says_what_the_defaults_are():
    found = load_global_configuration(stock_folder() / "gadgetron.xml.example")
    assert found.port == 9002
    assert found.allowed_prefixes == ()
    assert dict(found.aliases) == {"openrecon": "default_optimized.xml"}


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("<port>90000</port>", "'90000', expected a whole number from 0 to 65535"),
        ("<prot>1</prot>", "unknown element <prot>"),
        ("<allowedPrefix>a/b</allowedPrefix>", "allowed prefix 'a/b': not a name"),
        ("<allowedPrefix>os.__path__</allowedPrefix>", "not a name"),
        ("<configurationAlias><name>a</name></configurationAlias>", "<file> is missing"),
        ("<port>1</port><port>2</port>", "more often"),
    ],
)
def test_mistakes_are_named(inside, says):
    with pytest.raises(ConfigurationError) as caught:
        parse_global_configuration(
            f"<gadgetronConfiguration>{inside}</gadgetronConfiguration>".encode(), "gadgetron.xml"
        )
    assert says in str(caught.value)


def test_another_document_is_refused():
    with pytest.raises(ConfigurationError, match="root element is <configuration>"):
        parse_global_configuration(b"<configuration/>", "gadgetron.xml")
