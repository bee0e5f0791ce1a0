"""Collection of readouts into buckets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.header import IsmrmrdHeader
from gadgetron.limits import LIMITS
from gadgetron.message import Array, GadgetContainerMessage, MessageBlock, ParametersMessage
from gadgetron.properties import Property
from gadgetron.recon_completeness import has_all_lines
from gadgetron.recon_types import (
    COUNTERS,
    FLAG_CALIBRATION,
    FLAG_CALIBRATION_AND_IMAGING,
    FLAG_PHASE_CORRECTION,
    FLAGS_NOT_IMAGING,
    Acquisition,
    AcquisitionBucket,
    Waveform,
    acquisition_fields,
)
from gadgetron.toolboxes.arrays import owned

BY_COUNT = "n_acquisitions"
DIMENSIONS = (*COUNTERS, "none", "")
REPETITION = COUNTERS.index("repetition")
IMAGE = tuple(COUNTERS.index(name) for name in ("average", "slice", "contrast", "phase", "repetition", "set"))
MAX_REMEMBERED = 4096


class AcquisitionAccumulateTriggerGadget(
    Gadget2[ismrmrd.AcquisitionHeader | ismrmrd.WaveformHeader, Array[np.complex64] | Array[np.uint32]]
):
    """Collect readouts into buckets, and send the buckets when a counter changes.

    Takes acquisitions and waveforms, emits buckets. When the trigger dimension's counter differs from the last
    readout's, what was collected so far is sent: one bucket for each value of the sorting dimension, in ascending
    order. The rest is sent at the end of the stream. Waveforms go with the first bucket of a trigger.

    A readout is imaging data unless it is calibration only or phase correction, and reference data if it is
    calibration. Noise, feedback, navigator, dummy, surface coil correction and phase stabilization readouts are
    dropped: the C++ Gadgetron keeps all but noise among the imaging data, where they overwrite lines of the image.

    Lines of an image that come after it was sent, because the trigger dimension returned to an earlier value, become an
    image of their own. The client is told at the first of them.
    """

    trigger_dimension = Property(
        "", doc="counter whose change sends the buckets, or n_acquisitions", choices=(*DIMENSIONS, BY_COUNT)
    )
    sorting_dimension = Property("", doc="counter by which readouts are sorted into buckets", choices=DIMENSIONS)
    n_acquisitions_before_trigger = Property(
        40, doc="number of readouts before the first trigger (trigger_dimension n_acquisitions)", minimum=1
    )
    n_acquisitions_before_ongoing_trigger = Property(
        40, doc="number of readouts before each later trigger (trigger_dimension n_acquisitions)", minimum=1
    )

    send_complete_repetitions = Property(
        False,
        doc="without a trigger, send a repetition once all its lines are there, instead of all at the end; for chains "
        "whose buffers keep repetitions apart, and slices, contrasts and averages together",
    )

    emits = ((AcquisitionBucket,),)

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._buckets: dict[int, AcquisitionBucket] = {}
        self._waveforms: list[Waveform] = []
        self._previous: int | None = None
        self._n_since_trigger = 0
        self._n_triggers = 0
        self._n_dropped = 0
        self._n_bytes = 0
        self._header: IsmrmrdHeader | None = None
        self._sent_repetitions: set[int] = set()
        self._n_late = 0
        self._values: set[int] = set()  # of the trigger dimension, for which something was sent
        self._images: dict[tuple[int, ...], None] = {}  # sent last, in order
        self._is_split = False

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the header, which says how many lines a repetition has; data of other formats has none."""
        self._header = parameters.header if self.send_complete_repetitions else None

    def process_many(self, messages: Sequence[MessageBlock]) -> None:
        """Collect readouts and waveforms."""
        trigger = _counter_index(self.trigger_dimension)
        sorting = _counter_index(self.sorting_dimension)
        by_count = self.trigger_dimension == BY_COUNT
        watches_repetitions = trigger is None and sorting is None and not by_count and self._header is not None
        for message in messages:
            if not self.matches(message):
                self.pass_on(message)
                continue
            head, data_block, acquisition = unpack_message(message)
            if acquisition is None:
                self._add_waveform(Waveform(head, owned(data_block.object)))
                continue
            fields = acquisition.fields
            is_data, is_reference = membership(fields.flags)
            if not is_data and not is_reference:
                self._n_dropped += 1
                continue
            if by_count:
                self._trigger_by_count()
            elif trigger is not None:
                value = fields.idx[trigger]
                if self._previous is not None and value != self._previous:
                    self._look_for_split_images(trigger)
                    self._send_buckets()
                self._previous = value
            elif watches_repetitions:
                if fields.idx[REPETITION] in self._sent_repetitions:
                    self._n_late += 1
                    continue
                self._send_if_complete(fields.idx[REPETITION])
            bucket = self._bucket(0 if sorting is None else fields.idx[sorting])
            self._take(acquisition)
            bucket.add(acquisition, is_data=is_data, is_reference=is_reference)

    def _trigger_by_count(self) -> None:
        wanted = self.n_acquisitions_before_ongoing_trigger if self._n_triggers else self.n_acquisitions_before_trigger
        if self._n_since_trigger >= wanted:
            self._send_buckets()
        self._n_since_trigger += 1

    def _send_if_complete(self, repetition: int) -> None:
        """At the first line of another repetition, send what is there if no line is missing in it."""
        if self._previous is not None and repetition != self._previous and self._header is not None:
            bucket = self._buckets.get(0)
            if bucket is not None and has_all_lines(bucket.data, self._header):
                self._sent_repetitions.update(acquisition.fields.idx[REPETITION] for acquisition in bucket.data)
                self._send_buckets()
        self._previous = repetition

    def _look_for_split_images(self, trigger: int) -> None:
        """Warn if lines of what is to be sent belong to an image that was sent before."""
        value = self._previous
        if self._is_split or trigger not in IMAGE or value is None:
            return
        images = {
            tuple(acquisition.fields.idx[counter] for counter in IMAGE)
            for bucket in self._buckets.values()
            for acquisition in bucket.data
        }
        if value in self._values and not images.isdisjoint(self._images):
            self._is_split = True
            self._images.clear()
            self.warn_once(
                "images.split",
                f"{self.trigger_dimension} has returned to {value}, whose images were sent: lines come in pieces, and "
                "so do images. A trigger_dimension wants all lines of one of its values before those of the next; with "
                "an empty one, as in Generic_Cartesian_Grappa.xml and Generic_Cartesian_FFT.xml, images are made when "
                "all lines are there",
                trigger_dimension=self.trigger_dimension,
                value=value,
            )
            return
        self._values.add(value)
        self._images |= dict.fromkeys(images)
        for image in list(self._images)[: max(0, len(self._images) - MAX_REMEMBERED)]:
            del self._images[image]

    def _bucket(self, sorting_index: int) -> AcquisitionBucket:
        bucket = self._buckets.get(sorting_index)
        if bucket is None:
            bucket = self._buckets[sorting_index] = AcquisitionBucket()
        return bucket

    def _take(self, acquisition: Acquisition) -> None:
        """Make an acquisition our own, and count its memory."""
        acquisition.data = owned(acquisition.data)
        if acquisition.trajectory is not None:
            acquisition.trajectory = owned(acquisition.trajectory)
        self._count_bytes(acquisition.data.nbytes)

    def _add_waveform(self, waveform: Waveform) -> None:
        self._count_bytes(waveform.data.nbytes)
        self._waveforms.append(waveform)

    def _count_bytes(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of readouts waiting for a trigger", self._n_bytes, LIMITS.max_session_bytes)

    def _send_buckets(self) -> None:
        buckets = [bucket for _, bucket in sorted(self._buckets.items())]
        self._buckets = {}
        self._n_since_trigger = 0
        self._n_triggers += 1
        if not buckets:
            return
        buckets[0].waveforms = self._waveforms
        self._waveforms = []
        self._n_bytes = 0
        for bucket in buckets:
            self.put_next(GadgetContainerMessage(bucket))

    def close(self, flags: int) -> None:
        """Send what is left."""
        if flags:
            trigger = _counter_index(self.trigger_dimension)
            if trigger is not None:
                self._look_for_split_images(trigger)
            self._send_buckets()
        if self._waveforms:
            self.log.warning("waveforms.without_readouts", n_waveforms=len(self._waveforms))
        if self._n_late:
            self.log.warning("readouts.late", n_readouts=self._n_late, hint="their repetition was complete before")
        if self._n_dropped:
            self.log.info("readouts.not_imaging", n_readouts=self._n_dropped)
        self._buckets = {}
        self._waveforms = []


def _counter_index(dimension: str) -> int | None:
    return COUNTERS.index(dimension) if dimension in COUNTERS else None


def membership(flags: int) -> tuple[bool, bool]:
    """Tell whether a readout is imaging data, and whether it is calibration."""
    if flags & FLAGS_NOT_IMAGING:
        return False, False
    is_reference = bool(flags & (FLAG_CALIBRATION | FLAG_CALIBRATION_AND_IMAGING))
    return not flags & (FLAG_CALIBRATION | FLAG_PHASE_CORRECTION), is_reference


def unpack_message(message: MessageBlock) -> tuple[Any, GadgetContainerMessage[Any], Acquisition | None]:
    """Give header and data block of a message, and the acquisition if it is one."""
    head: Any = message.object  # type: ignore[attr-defined]  # matched
    data_block: GadgetContainerMessage[Any] = message.cont  # type: ignore[assignment]  # matched
    if isinstance(head, ismrmrd.WaveformHeader):
        return head, data_block, None
    fields = acquisition_fields(head)
    trajectory: Any = None
    if fields.trajectory_dimensions:
        block = data_block.cont
        trajectory = block.object if isinstance(block, GadgetContainerMessage) else None
        if not isinstance(trajectory, np.ndarray):
            raise MalformedMessageError(
                f"trajectory_dimensions ({fields.trajectory_dimensions}): the acquisition has no trajectory — "
                f"scan_counter {fields.scan_counter}"
            )
        expected = (fields.number_of_samples, fields.trajectory_dimensions)
        if trajectory.shape != expected:
            raise MalformedMessageError(
                f"trajectory {trajectory.shape}: {expected} expected of number_of_samples, trajectory_dimensions — "
                f"scan_counter {fields.scan_counter}"
            )
    shape = (fields.active_channels, fields.number_of_samples)
    if data_block.object.shape != shape:
        raise MalformedMessageError(
            f"data {data_block.object.shape}: {shape} expected from active_channels and number_of_samples — "
            f"scan_counter {fields.scan_counter}"
        )
    return head, data_block, Acquisition(head, data_block.object, trajectory, fields)
