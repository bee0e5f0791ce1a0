"""`python -m gadgetron`: run a foreign module for a Gadgetron that has started this process."""

from __future__ import annotations

import sys

from gadgetron.external.runner import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
