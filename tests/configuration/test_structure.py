"""Parallel streams before anything runs: branches and merges in their places, keys that go together, types that fit."""

from __future__ import annotations

import pytest

from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.validate import ValidationReport, validate
from gadgetron.loader import Loader
from tests.configuration.documents import gadget, v2

READERS = (
    "<readers>"
    "<reader><dll>gadgetron_core_readers</dll><classname>AcquisitionReader</classname></reader>"
    "<reader><dll>gadgetron_core_readers</dll><classname>WaveformReader</classname></reader>"
    "<reader><dll>gadgetron_core_readers</dll><classname>ImageReader</classname></reader>"
    "</readers>"
)
WRITERS = "<writers><writer><dll>gadgetron_core_writers</dll><classname>ImageWriter</classname></writer></writers>"


def parallel(branch: str, merge: str, *streams: tuple[str, str]) -> str:
    inside = "".join(f'<stream key="{key}">{nodes}</stream>' for key, nodes in streams)
    return (
        f"<parallel><branch><classname>{branch}</classname></branch>{inside}"
        f"<merge><classname>{merge}</classname></merge></parallel>"
    )


FANOUT = "gadgets.parallel.fanout.ImageFanout"
LAYERER = "gadgets.examples.image_layerer.ImageLayerer"
UNORDERED = "gadgets.parallel.unordered_merge.UnorderedMerge"
SPLIT = "gadgets.examples.acquisition_waveform_branch.AcquisitionWaveformBranch"
INVERTER = gadget("ImageInverter", dll="gadgetron_examples")


def check(stream: str) -> ValidationReport:
    return validate(parse_configuration(v2(stream, readers=READERS, writers=WRITERS), "test.xml"), Loader())


def test_what_fits_is_valid():
    stream = gadget("ExtractGadget") + parallel(FANOUT, LAYERER, ("unchanged", ""), ("inverted", INVERTER))
    assert check(stream).errors == []
    assert check(parallel(SPLIT, UNORDERED, ("acquisitions", ""), ("waveforms", ""))).errors == []


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (parallel(FANOUT, LAYERER, ("unchanged", "")), "takes from a stream with the key 'inverted', which is missing"),
        (
            parallel(SPLIT, UNORDERED, ("acquisitions", ""), ("wavforms", "")),
            "puts to a stream with the key 'waveforms', which is missing — streams: 'acquisitions', 'wavforms'",
        ),
        (
            parallel(SPLIT, UNORDERED, ("acquisitions", ""), ("waveforms", ""), ("x", "")),
            "there is no use for one with the key 'x'",
        ),
        (parallel(UNORDERED, UNORDERED, ("a", "")), "UnorderedMerge is no branch"),
        (parallel(FANOUT, FANOUT, ("a", "")), "ImageFanout is no merge"),
        (gadget("ImageFanout", dll="gadgetron_core_parallel"), "ImageFanout is a branch: it belongs into a <parallel>"),
        (
            parallel(FANOUT, UNORDERED, ("a", gadget("UnorderedMerge", dll="gadgetron_core_parallel"))),
            "UnorderedMerge is a merge: it belongs into a <parallel>",
        ),
        (
            f"<purestream>{gadget('NoiseAdjustGadget')}</purestream>",
            "gadget NoiseAdjustGadget cannot be part of a purestream",
        ),
        (parallel("gadgets.no.Such", "gadgets.no.Thing", ("a", "")), "gadgets.no.Such"),
        (
            "".join(f'<parallelprocess workers="64"><purestream>{INVERTER}</purestream></parallelprocess>' * 5),
            "the chain asks for 320 threads, the limit is 256",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(stream, says):
    assert any(says in error for error in check(stream).errors), check(stream).errors


def test_types_are_followed_through_the_streams():
    acquisitions_only = parallel(SPLIT, UNORDERED, ("acquisitions", gadget("ExtractGadget")), ("waveforms", ""))
    assert any("ExtractGadget (2 in the chain) takes" in text for text in check(acquisitions_only).warnings)
    # What a branch does not accept by-passes its streams: images come out behind, and are written.
    dump = gadget("ImageIndexGadget")
    behind = parallel(SPLIT, UNORDERED, ("acquisitions", ""), ("waveforms", "")) + dump
    assert check(behind).warnings == []
    unfit = parallel(FANOUT, LAYERER, ("unchanged", ""), ("inverted", gadget("ExtractGadget")))
    assert check(unfit).errors == []


def test_a_chain_can_be_built_only_if_its_structure_is_sound(server):
    from tests import raw_client as raw
    from tests.raw_client import exchange

    document = v2(parallel(FANOUT, LAYERER, ("unchanged", "")), readers=READERS, writers=WRITERS)
    reply = exchange(server.port, raw.config_script(document) + raw.header() + raw.close())
    assert "the key 'inverted', which is missing" in str(reply.error)
