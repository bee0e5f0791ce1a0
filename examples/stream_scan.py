"""A scanner in forty lines: readouts leave at the pace of a scan, and images arrive while it runs.

python stream_scan.py scan.h5 [--config default.xml] [--address localhost] [--port 9002] [--ms-per-readout 2]
"""

import argparse
import sys
import time

from gadgetron import GadgetronConnector, GadgetronError, MessageBlock
from gadgetron.conversion import as_image
from gadgetron.dataset import ScanFile


def main() -> int:
    """Send a scan, line by line, and say when each image comes."""
    parser = argparse.ArgumentParser(description="Stream a scan as a scanner does, and watch images arrive.")
    parser.add_argument("scan", help="an ISMRMRD HDF5 file")
    parser.add_argument("--config", default="default.xml", help="a configuration of the server (%(default)s)")
    parser.add_argument("--address", default="localhost")
    parser.add_argument("--port", type=int, default=9002)
    parser.add_argument("--ms-per-readout", type=float, default=2.0, metavar="MS", help="(%(default)s)")
    options = parser.parse_args()
    sent = 0

    def show(_message_id: int, message: MessageBlock) -> None:  # called in the thread that receives
        image = as_image(message)
        if image is not None:
            print(f"after {sent} readouts: {image}")

    try:
        with ScanFile(options.scan) as scan, GadgetronConnector(on_message=show, on_text=print) as connector:
            connector.open(options.address, options.port)
            connector.send_gadgetron_configuration_file(options.config)
            connector.send_gadgetron_parameters(scan.header_xml)
            for sent, message in enumerate(scan.messages(), 1):  # noqa: B007  # `show` tells how many have been sent
                connector.putq(message)
                time.sleep(options.ms_per_readout / 1000)
            connector.send_close()
            connector.wait()
            print(f"{connector.messages_sent} readouts sent, {connector.messages_received} images received")
    except GadgetronError as error:
        print(f"stream_scan: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
