"""The client: `GadgetronConnector`, a connection to a Gadgetron with a thread that writes and a thread that reads."""

from gadgetron.connector.connector import DEFAULT_PORT, GadgetronConnector

__all__ = ["DEFAULT_PORT", "GadgetronConnector"]
