"""What sessions share: where configurations and classes come from, where gadgets may write, and how much is allowed."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.errors import ServerBusy, StorageError
from gadgetron.foreign.settings import ForeignSettings
from gadgetron.limits import LIMITS, Limits
from gadgetron.loader import Loader

DEFAULT_CONFIGURATION = "default.xml"


class Admission:
    """Counts the sessions that run chains, and refuses one too many."""

    def __init__(self, max_sessions: int = LIMITS.max_sessions) -> None:
        self.max_sessions = max_sessions
        self._lock = threading.Lock()  # guards the count
        self._active = 0

    def enter(self) -> None:
        """Count a session in.

        Raises
        ------
        ServerBusy
            If as many run as are allowed.
        """
        with self._lock:
            if self._active >= self.max_sessions:
                raise ServerBusy(
                    f"{self._active} reconstructions are running, as many as this server allows; try again later"
                )
            self._active += 1

    def leave(self) -> None:
        """Count a session out."""
        with self._lock:
            self._active -= 1

    @property
    def active(self) -> int:
        """Sessions that run."""
        return self._active


@dataclass
class Environment:
    """What a session needs to know of the process it runs in.

    Attributes
    ----------
    loader
        Finds the classes that configurations name.
    search
        Finds configurations by name.
    working_directory
        Folder in which gadgets may write; made on first use, with mode 0700.
    global_parameters
        Name and value of properties for every gadget that declares them.
    parameters
        Free parameters of this run.
    limits
        Sizes and deadlines.
    admission
        How many sessions may run.
    default_configuration
        What a client gets that names no configuration, where its protocol lets it.
    known_clients
        Names of the clients that are served, where their protocol has names; empty for all.
    legacy_images
        Whether MRIImageWriterCPLX, FLOAT and USHORT put the old image messages on the wire.
    foreign
        How foreign modules are started, and what they may be.
    """

    loader: Loader
    search: ConfigurationSearch
    working_directory: Path
    global_parameters: tuple[tuple[str, str], ...] = ()
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    limits: Limits = LIMITS
    admission: Admission = field(default_factory=Admission)
    default_configuration: str = DEFAULT_CONFIGURATION
    known_clients: tuple[str, ...] = ()
    legacy_images: bool = False
    foreign: ForeignSettings = field(default_factory=ForeignSettings)

    def make_working_directory(self) -> Path:
        """Give the working directory, and make it if it is not there.

        Raises
        ------
        StorageError
            If it cannot be made, or belongs to somebody else.
        """
        path = self.working_directory
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = path.stat().st_uid
        except OSError as error:
            raise StorageError(f"the working directory cannot be made: {error.strerror}") from error
        if owner != os.getuid():  # its usual place is below /tmp, where anybody can have made it first
            raise StorageError("the working directory belongs to another user — name one of your own (-W)")
        return path


def default_working_directory() -> Path:
    """Give the working directory where no option names one, an absolute path.

    That is $GADGETRON_WORKING_DIRECTORY, or a folder of the user's below the temporary folder.
    """
    named = os.environ.get("GADGETRON_WORKING_DIRECTORY")
    return (Path(named) if named else Path(tempfile.gettempdir()) / f"gadgetron-{os.getuid()}").resolve()
