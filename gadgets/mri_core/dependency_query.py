"""Tell a scanner which noise measurements are stored, so that it knows whether it has to make one."""

from __future__ import annotations

from ismrmrd import Meta

from gadgetron.gadget import CLOSE_NORMAL, Gadget
from gadgetron.message import MessageBlock, make_message
from gadgetron.noise_storage import NOISE_PREFIX
from gadgetron.properties import Property
from gadgetron.storage import Storage

NOTHING_STORED = "Dummy"


class DependencyQueryGadget(Gadget):
    """Answer which noise measurements are stored in the working directory.

    Takes and drops any data. Emits one Meta at the end: the attribute holds the names of what is stored, sorted, or the
    word Dummy if nothing is, as scanners expect it.
    """

    emits = ((Meta,),)

    noise_dependency_prefix = Property(NOISE_PREFIX, doc="what the names of stored noise measurements begin with")
    noise_dependency_attrib_name = Property("NoiseDependencies", doc="attribute of the answer that holds the names")
    clean_storage_while_query = Property(False, doc="first delete stored noise measurements that are too old")
    time_limit_in_storage = Property(24.0, doc="age above which they are too old [h]; 0 for no limit", minimum=0.0)

    def process(self, message: MessageBlock) -> None:
        """Drop it: a query has no data."""

    def close(self, flags: int) -> None:
        """Send the answer."""
        if flags != CLOSE_NORMAL:
            return
        prefix = self.noise_dependency_prefix or NOISE_PREFIX
        storage = Storage(self.working_directory)
        limit_s = self.time_limit_in_storage * 3600.0
        # A prefix of the client's choice deletes nothing: other gadgets store files, too.
        if self.clean_storage_while_query and prefix == NOISE_PREFIX and limit_s:
            deleted = Storage(self.working_directory, limit_s).clean(prefix)
            self.log.info("dependencies.cleaned", names=deleted, time_limit_h=self.time_limit_in_storage)
        names = [file.name for file in storage.files(prefix)]
        self.log.info("dependencies.listed", count=len(names))
        meta = Meta()
        meta[self.noise_dependency_attrib_name or "NoiseDependencies"] = names or NOTHING_STORED
        self.put_next(make_message(meta))
