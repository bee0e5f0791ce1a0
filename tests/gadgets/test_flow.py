"""Flow encoding, concomitant fields, and interpolation to phases of the heartbeat."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.errors import MalformedMessageError
from gadgetron.message import make_message
from gadgets.mri_core.flow_phase_subtraction import FlowPhaseSubtractionGadget
from gadgets.mri_core.maxwell_correction import MaxwellCorrectionGadget
from gadgets.mri_core.physio_interpolation import PhysioInterpolationGadget
from tests.gadgets.support import complex_noise, header_xml, image, is_quiet_after_abort, objects, run
from tests.toolboxes.test_heartbeats import stamps


def limits(**maxima):
    return header_xml(limits={name: (0, maximum, 0) for name, maximum in maxima.items()})


def flow_images(rng, n_sets, n_slices=2, repetition=0):
    return {
        (s, k): image(complex_noise(rng, 2, 1, 4, 5), slice=s, set=k, repetition=repetition, image_index=1 + s + 7 * k)
        for s in range(n_slices)
        for k in range(n_sets)
    }


@pytest.mark.parametrize("n_sets", [2, 3])
def test_sets_lose_the_phase_of_the_first(n_sets, rng):
    messages = flow_images(rng, n_sets)
    data = {key: objects(message)[1].copy() for key, message in messages.items()}
    order = sorted(messages, key=lambda key: (-key[1], key[0]))  # the reference comes last
    results = run(FlowPhaseSubtractionGadget(), [messages[key] for key in order], limits(set=n_sets - 1, slice=1))
    assert len(results) == 2 * (n_sets - 1)
    for message in results:
        head, pixels = objects(message)
        reference, other = data[head.slice, 0], data[head.slice, head.set + 1]
        np.testing.assert_allclose(np.abs(pixels), (np.abs(reference) + np.abs(other)) / 2, rtol=1e-5)
        np.testing.assert_allclose(np.angle(pixels * reference / other), 0, atol=1e-5)


def test_one_set_passes(rng):
    messages = list(flow_images(rng, 1).values())
    assert run(FlowPhaseSubtractionGadget(), messages, limits(set=0)) == messages
    assert run(FlowPhaseSubtractionGadget(), messages, header_xml()) == messages


def test_images_without_partner_are_counted(rng, capsys):
    messages = flow_images(rng, 2)
    del messages[1, 0]
    results = run(FlowPhaseSubtractionGadget(), list(messages.values()), limits(set=1))
    assert len(results) == 1
    assert "n_images=1" in "".join(capsys.readouterr())


def test_partners_of_other_shapes_and_sets_beyond_the_limit_are_refused(rng):
    pair = [image(complex_noise(rng, 1, 1, 4, 4), set=0), image(complex_noise(rng, 1, 1, 4, 5), set=1)]
    with pytest.raises(MalformedMessageError, match="set 0"):
        run(FlowPhaseSubtractionGadget(), pair, limits(set=1))
    with pytest.raises(MalformedMessageError, match=r"set \(2\)"):
        run(FlowPhaseSubtractionGadget(), [image(complex_noise(rng, 1, 1, 4, 4), set=2)], limits(set=1))


def maxwell_header(position="<patientPosition>HFS</patientPosition>", **coefficients):
    parameters = "".join(
        f"<userParameterDouble><name>MaxwellCoefficient_{name[1:]}</name><value>{value}</value></userParameterDouble>"
        for name, value in coefficients.items()
    )
    more = f"<measurementInformation>{position}</measurementInformation>" if position else ""
    return header_xml(more=f"{more}<userParameters>{parameters}</userParameters>" if parameters else more)


def one_image(n_channels=1):
    message = image(np.ones((n_channels, 1, 4, 4), np.complex64))
    head = message.object
    head.field_of_view[:] = (400.0, 400.0, 5.0)
    head.position[:] = (10.0, 20.0, 100.0)
    head.read_dir[:], head.phase_dir[:], head.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    return message


@pytest.mark.parametrize(("directions", "sign"), [("scanner", -1), ("header", 1)])
def test_concomitant_phases_are_added(directions, sign):
    gadget = MaxwellCorrectionGadget(directions=directions)
    (message,) = run(gadget, [one_image(2)], maxwell_header(c1=4.0))
    x = 0.010 + sign * (np.arange(4) - 1.5) * 0.1
    y = (0.020 + sign * (np.arange(4) - 1.5) * 0.1)[:, np.newaxis]
    expected = np.exp(2j * np.pi * 4 * (x * x + y * y))
    for pixels in objects(message)[1]:
        np.testing.assert_allclose(pixels[0], expected, atol=1e-5)


def test_how_the_patient_lies_matters_and_may_be_unknown():
    coefficients = {"c2": 30.0}
    lying = {
        name: objects(run(MaxwellCorrectionGadget(), [one_image()], maxwell_header(position, **coefficients))[0])[1]
        for name, position in {
            "HFS": "<patientPosition>HFS</patientPosition>",
            "FFP": "<patientPosition>FFP</patientPosition>",
            "unknown": "",
        }.items()
    }
    np.testing.assert_array_equal(lying["HFS"], lying["unknown"])
    assert np.abs(lying["HFS"] - lying["FFP"]).max() > 0.1


@pytest.mark.parametrize("header", [header_xml(), maxwell_header(cX=1.0)])
def test_without_coefficients_images_pass(header):
    message = one_image()
    data = message.cont.object
    assert run(MaxwellCorrectionGadget(), [message], header)[0].cont.object is data


def cine(lengths, n_slices=1, meta=None):
    """A pixel that goes once around the circle in each heartbeat, and one that does not change."""
    times = stamps(lengths, step=40.0, offset=0.0)
    beats = np.cumsum(np.diff(times, prepend=times[0]) < 0)
    messages = []
    for t, beat in zip(times, beats, strict=True):
        for s in range(n_slices):
            data = np.array([np.exp(2j * np.pi * t / lengths[beat]), 2.0], np.complex64).reshape(1, 1, 1, 2)
            message = image(data, None if meta is None else ismrmrd.Meta(meta), slice=s, repetition=len(messages))
            message.object.physiology_time_stamp[0] = round(t)
            messages.append(message)
    return messages


@pytest.mark.parametrize("method", ["Spline", "BSpline"])
def test_each_complete_heartbeat_becomes_a_series(method):
    messages = cine([800, 1000, 900, 800], n_slices=2)
    gadget = PhysioInterpolationGadget(phases=10, interp_method=method)
    results = run(gadget, list(messages), limits(slice=1))
    assert results[: len(messages)] == messages
    interpolated = [objects(message) for message in results[len(messages) :]]
    assert [head.image_series_index for head, _ in interpolated] == [10] * 10 + [20] * 10 + [11] * 10 + [21] * 10
    assert [head.phase for head, _ in interpolated] == list(range(10)) * 4
    assert [head.image_index for head, _ in interpolated] == list(range(1, 11)) * 4
    for head, pixels in interpolated:
        tolerance = 0.02 if method == "Spline" else 0.5
        np.testing.assert_allclose(pixels.ravel(), [np.exp(0.2j * np.pi * head.phase), 2.0], atol=tolerance)
    assert interpolated[5][0].physiology_time_stamp[0] == pytest.approx(500, abs=25)


def test_the_first_heartbeat_only_and_its_attributes():
    messages = cine([800, 1000, 900], meta={"GADGETRON_DataRole": "Image", "GADGETRON_ImageComment": "GT"})
    results = run(PhysioInterpolationGadget(mode=1, phases=5), messages, limits(slice=3))[len(messages) :]
    assert len(results) == 5
    head, _, meta = objects(results[2])
    assert meta["GADGETRON_DataRole"] == ["Image", "PhysionInterp"]
    assert meta["GADGETRON_ImageComment"] == ["GT", "PhysioInterp_SLC_0_RR2500ms"]
    assert meta["GADGETRON_SeqDescription"] == "_PhysioInterp_SLC_0_RR2500ms"
    assert (meta["PHS"], meta["GADGETRON_ImageNumber"]) == (2, 3)
    assert head.image_series_index == 10


@pytest.mark.parametrize("lengths", [[800], [800, 900]])
def test_without_a_complete_heartbeat_there_is_a_warning(lengths, capsys):
    messages = cine(lengths)
    assert run(PhysioInterpolationGadget(), list(messages), header_xml()) == messages
    assert "heartbeats.none_complete" in "".join(capsys.readouterr())


def test_what_is_passed_on_belongs_to_others():
    messages = cine([800, 1000, 900])
    gadget = PhysioInterpolationGadget(phases=4)
    expected = [objects(message)[1].copy() for message in run(gadget, cine([800, 1000, 900]), header_xml())[-4:]]

    class Vandal(PhysioInterpolationGadget):
        def put_next(self, message):
            result = super().put_next(message)
            if not self.is_closing:
                message.cont.object[:] = 99
            return result

        is_closing = False

        def close(self, flags):
            self.is_closing = True
            super().close(flags)

    found = [objects(message)[1] for message in run(Vandal(phases=4), messages, header_xml())[-4:]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("make", [FlowPhaseSubtractionGadget, MaxwellCorrectionGadget, PhysioInterpolationGadget])
def test_others_pass_and_an_abort_gives_nothing(make, rng):
    other = make_message(1)
    assert run(make(), [other], limits(set=1)) == [other]
    assert run(make(), [], limits(set=1)) == []
    assert is_quiet_after_abort(make(), cine([800, 1000, 900]), limits(set=1))
