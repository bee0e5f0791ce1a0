"""Tell a client what is known about the noise of an earlier measurement."""

from __future__ import annotations

from ismrmrd import Meta

from gadgetron.errors import StorageError
from gadgetron.gadget import CLOSE_NORMAL, Gadget
from gadgetron.message import MessageBlock, make_message
from gadgetron.noise_storage import NOISE_PREFIX, load_noise
from gadgetron.properties import Property
from gadgetron.storage import Storage
from gadgetron.toolboxes.noise import NoiseCovariance, noise_sigmas


class NoiseSummaryGadget(Gadget):
    """Answer how much noise a stored noise measurement has.

    Takes and drops any data. Emits one Meta at the end. Its `status` is `success` or `failed`; with success it has
    `channels`, `min_sigma`, `max_sigma`, `mean_sigma` (standard deviations, real and imaginary part together) and
    `noise_dwell_time_us`. Clients that compress readouts with a tolerance relative to the noise ask for it.

    Mended against the C++ Gadgetron: its `mean_sigma` is the sum over the channels.
    """

    emits = ((Meta,),)

    noise_file = Property("", doc="the measurement: its ID, or the name under which a dependency query lists it")

    def process(self, message: MessageBlock) -> None:
        """Drop it: a query has no data."""

    def close(self, flags: int) -> None:
        """Send the answer."""
        if flags != CLOSE_NORMAL:
            return
        meta = Meta()
        try:
            measurement_id = self.noise_file.removeprefix(f"{NOISE_PREFIX}_")
            noise = load_noise(Storage(self.working_directory), NOISE_PREFIX, measurement_id)
        except StorageError as error:
            self.log.warning("noise.not_usable", reason=str(error))
            noise = None
        if noise is None:
            meta["status"] = "failed"
        else:
            self._summarize(noise, meta)
        self.put_next(make_message(meta))

    def _summarize(self, noise: NoiseCovariance, meta: Meta) -> None:
        sigmas = noise_sigmas(noise.covariance)
        meta["status"] = "success"
        meta["channels"] = len(sigmas)
        meta["min_sigma"] = float(sigmas.min())
        meta["max_sigma"] = float(sigmas.max())
        meta["mean_sigma"] = float(sigmas.mean())
        meta["noise_dwell_time_us"] = noise.dwell_time_us
