"""Reconstructions without a server. Editors show the parts between `# %%` as the cells of a notebook.

python explore.py scan.h5
"""

# %% A scan: the file that is given, or a simulated one
import sys

import ismrmrd
import numpy as np

from gadgetron import Array, Container, Gadget2, parse_ismrmrd_header, reconstruct, reconstruct_iter
from gadgetron.conversion import as_message
from gadgetron.dataset import ScanFile
from gadgetron.phantom import PhantomOptions, PhantomScan
from gadgetron.testing import run_gadget

if len(sys.argv) > 1:
    with ScanFile(sys.argv[1]) as scan:
        header_xml, readouts = scan.header_xml, list(scan.items())
else:
    phantom = PhantomScan(PhantomOptions(matrix=128, n_slices=4))
    header_xml, readouts = phantom.header_xml, list(phantom.acquisitions())

encoding = parse_ismrmrd_header(header_xml).encoding[0]
print("matrix", encoding.encodedSpace.matrixSize, "->", encoding.reconSpace.matrixSize)
print(len(readouts), "readouts, the first has", readouts[0].data.shape, "(coils, samples)")

# %% All images at once
images = reconstruct((header_xml, readouts), "default.xml")
volume = np.concatenate([image.data[0] for image in images])
print("volume", volume.shape, volume.dtype, "brightest", float(volume.max()))

# %% One after another, as they come
for image in reconstruct_iter((header_xml, readouts)):
    print(image)

# %% What does every second coil alone show? Items may come from any iterable.
fewer_coils = []
for item in readouts:
    header = ismrmrd.AcquisitionHeader.from_buffer_copy(item.header)
    data = np.ascontiguousarray(item.data[::2])
    header.active_channels = header.available_channels = len(data)
    fewer_coils.append((header, data))
half = reconstruct((header_xml, fewer_coils))
print("signal left with half of the coils:", round(float(half[0].data.sum() / images[0].data.sum()), 2))


# %% A gadget of one's own, tried out before it has a package and a configuration
class MirrorGadget(Gadget2[ismrmrd.ImageHeader, Array[np.float32]]):
    """Exchange left and right."""

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.float32]]) -> None:
        """Mirror one image."""
        image.object = np.ascontiguousarray(image.object[..., ::-1])
        self.put_next(header)


mirrored = run_gadget(MirrorGadget(), [as_message((image.header, image.data)) for image in images], header_xml)
print(len(mirrored), "images mirrored")
