"""Validation says everything at once; and the stock configurations pass it."""

from __future__ import annotations

import re

import pytest

from gadgetron.configuration.packaged import stock_folder
from gadgetron.configuration.parse import parse_configuration
from gadgetron.configuration.search import ConfigurationSearch, load_configuration
from gadgetron.configuration.validate import validate
from gadgetron.configuration.xml_safe import first_comment
from gadgetron.loader import Loader
from tests.configuration.documents import gadget, v1, v2
from tests.configuration.test_parse import seed_example

STOCK = sorted(path.name for path in stock_folder().glob("*.xml") if path.name != "gadgetron.xml")
READER = "<readers><reader><dll>gadgetroncore</dll><classname>{}</classname></reader></readers>"


def report_of(document: bytes, global_parameters=(), from_client=False):
    return validate(parse_configuration(document, "test.xml", from_client=from_client), Loader(), global_parameters)


def test_everything_wrong_is_found_at_once():
    document = v2(
        gadget(
            "ExtractGadget",
            '<property name="extract_magnitud" value="true"/><property name="extract_mask" value="77"/>',
        )
        + gadget("NoiseAdjstGadget")
        + gadget("os.system")
        + gadget("ImageFinishGadget", '<property name="verbose" value="verbose@Nobody"/>'),
        readers=READER.format("AcquisitonReader"),
    )
    errors = "\n".join(report_of(document).errors)
    for part in (
        "did you mean AcquisitionReader?",
        "gadget ExtractGadget: unknown property 'extract_magnitud': did you mean extract_magnitude?",
        "gadget ExtractGadget: property extract_mask is 77: the limit is 0 to 15",
        "NoiseAdjstGadget",
        "'os' is not below an allowed prefix",
        "verbose@Nobody, but no gadget has that name",
    ):
        assert part in errors, part


def test_neighbours_that_do_not_fit_are_warned_of():
    document = v2(gadget("ExtractGadget") + gadget("ImageFinishGadget"), readers=READER.format("AcquisitionReader"))
    report = report_of(document)
    assert report.is_valid
    assert "ExtractGadget (1 in the chain) takes ImageHeader + Array[complex64]" in report.warnings[0]


def test_neighbours_are_an_error_where_nothing_may_pass():
    inside = '<property name="pass_on_undesired_data" value="false"/>'
    report = report_of(v2(gadget("ExtractGadget", inside), readers=READER.format("AcquisitionReader")))
    assert "may not pass on others" in report.errors[0]


def test_global_parameters_are_checked_where_they_apply():
    document = v2(gadget("ExtractGadget"))
    assert report_of(document, [("extract_mask", "3"), ("unknown_elsewhere", "x")]).errors == []
    assert (
        "gadget ExtractGadget: property extract_mask is 99" in report_of(document, [("extract_mask", "99")]).errors[0]
    )


def test_threads_that_buy_nothing_are_noticed_and_too_many_are_an_error():
    one = ("B", "gadgetroncore", "BucketToBufferGadget", [("threads", "4")])
    assert any(
        "4 threads, but BucketToBufferGadget works on one message" in text for text in report_of(v1([one])).notices
    )
    many = [(f"B{i}", "gadgetroncore", "ExtractGadget", [("threads", "60")]) for i in range(5)]
    assert "300 threads, the limit is 256" in report_of(v1(many)).errors[0]


def test_names_and_slots_that_are_used_twice():
    document = v1([("A", "gadgetroncore", "ExtractGadget", ())] * 2, [("1008", "AcquisitionReader")] * 2)
    report = report_of(document)
    assert "2 gadgets are called A" in report.notices
    assert "2 readers have the slot 1008: the last one counts" in report.warnings


def test_folders_of_clients_are_judged_as_such():
    document = v1([("A", "gadgetroncore", "ExtractGadget", [("debug_folder", "/srv/x")])])
    assert report_of(document).errors == []
    assert "below the working directory" in report_of(document, from_client=True).errors[0]


@pytest.mark.parametrize("name", STOCK)
def test_stock_configurations_are_valid(name):
    search = ConfigurationSearch(environment={"HOME": "/nonexistent"})
    report = validate(load_configuration(name, search), Loader())
    assert report.errors == []
    assert report.warnings == []


@pytest.mark.parametrize("name", STOCK)
def test_stock_configurations_begin_with_what_they_are_for(name):
    comment = first_comment((stock_folder() / name).read_bytes(), max_bytes=1 << 20)
    assert len(comment) > 60
    assert comment.endswith(".")
    assert re.search(
        "float|uint16|16-bit|unsigned short|complex|nothing|image array|sends|names", comment
    )  # what comes out


def test_the_example_of_the_architecture_document_is_valid_as_printed():
    report = report_of(seed_example())
    assert (report.errors, report.warnings) == ([], [])


def test_the_seeds_accumulator_takes_its_properties_and_threads():
    properties = [("MyTestProperty", "Blah Blah"), ("MyTestProperty2", "98776.862187"), ("threads", "5")]
    report = report_of(v1([("Accumulator", "gadgetroncore", "AccumulatorGadget", properties)]))
    assert report.errors == []


MRICORE_PROPERTIES = {
    "AcquisitionAccumulateTriggerGadget": {
        "trigger_dimension": ["", "none", "repetition", "slice", "average", "n_acquisitions"],
        "sorting_dimension": ["", "none", "slice", "repetition"],
        "n_acquisitions_before_trigger": ["40"],
        "n_acquisitions_before_ongoing_trigger": ["40"],
    },
    "BucketToBufferGadget": {
        "N_dimension": ["", "none", "contrast", "repetition", "phase", "average"],
        "S_dimension": ["", "none", "average", "set", "repetition"],
        "split_slices": ["true", "false"],
        "ignore_segment": ["true", "false"],
        "verbose": ["true"],
    },
    "NoiseAdjustGadget": {
        "noise_dependency_prefix": ["GadgetronNoiseCovarianceMatrix"],
        "perform_noise_adjust": ["true"],
        "pass_nonconformant_data": ["true", "false"],
        "noise_dwell_time_us_preset": ["0.0", "5"],
        "scale_only_channels_by_name": [""],
        "noise_dependency_folder": [""],
    },
    "PCACoilGadget": {"uncombined_channels_by_name": [""], "present_uncombined_channels": ["0"]},
    "CoilReductionGadget": {"coil_mask": ["", "1 1 0 1"], "coils_out": ["16", "8", "128"]},
    "ExtractGadget": {
        "extract_mask": ["1"],
        "extract_magnitude": ["true"],
        "extract_real": ["false"],
        "extract_imag": ["false"],
        "extract_phase": ["false"],
        "real_imag_offset": ["0.0", "4096"],
    },
    "AutoScaleGadget": {"max_value": ["2048", "2048.0"], "histogram_bins": ["100"]},
    "FloatToUShortGadget": {
        "max_intensity": ["32767", "4095"],
        "min_intensity": ["0"],
        "intensity_offset": ["0", "2048"],
    },
    "FloatToShortGadget": {"max_intensity": ["32767"], "min_intensity": ["-32768"], "intensity_offset": ["0"]},
    "FloatToIntGadget": {"max_intensity": ["4095"], "min_intensity": ["0"], "intensity_offset": ["2048"]},
    "FloatToUIntGadget": {"max_intensity": ["4095"], "min_intensity": ["0"], "intensity_offset": ["2048"]},
    "IsmrmrdDumpGadget": {
        "folder": [""],
        "file_prefix": ["ISMRMRD_DUMP"],
        "ip_no_data_saving": ["192.168.2.2"],
        "save_xml_header_only": ["false"],
        "pass_waveform_downstream": ["true"],
    },
    "AccumulatorGadget": {"image_series": ["0"]},
    "DependencyQueryGadget": {
        "noise_dependency_prefix": ["GadgetronNoiseCovarianceMatrix"],
        "noise_dependency_attrib_name": ["NoiseDependencies"],
        "clean_storage_while_query": ["true"],
        "time_limit_in_storage": ["48", "24.0"],
    },
}
"""What stock files set on the gadgets we have, and values that they or their documentation name."""


@pytest.mark.parametrize("classname", MRICORE_PROPERTIES)
def test_the_properties_that_stock_files_name_are_accepted(classname):
    for name, values in MRICORE_PROPERTIES[classname].items():
        for value in values:
            assert report_of(v1([("G", "gadgetron_mricore", classname, [(name, value)])])).errors == [], (name, value)


@pytest.mark.parametrize("classname", MRICORE_PROPERTIES)
def test_every_gadget_takes_the_properties_that_all_gadgets_have(classname):
    properties = [
        ("debug_folder", "debug"),
        ("perform_timing", "true"),
        ("verbose", "false"),
        ("threads", "2"),
        ("pass_on_undesired_data", "true"),
        ("workingDirectory", ""),
        ("using_cloudbus", "true"),
    ]
    assert report_of(v1([("G", "gadgetron_mricore", classname, properties)])).errors == []
