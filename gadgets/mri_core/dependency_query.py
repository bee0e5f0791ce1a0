"""Tell a scanner which noise measurements are stored, so that it knows whether it has to make one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from ismrmrd import Meta

from gadgetron.gadget import CLOSE_NORMAL, Gadget
from gadgetron.message import MessageBlock, make_message
from gadgetron.properties import Property

NOISE_PREFIX = "GadgetronNoiseCovarianceMatrix"
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
        if self.clean_storage_while_query:
            self._clean(prefix)
        names = sorted(path.name for path, _ in self._stored(prefix))
        self.log.info("dependencies.listed", count=len(names))
        meta = Meta()
        meta[self.noise_dependency_attrib_name or "NoiseDependencies"] = names or NOTHING_STORED
        self.put_next(make_message(meta))

    def _stored(self, prefix: str) -> Iterator[tuple[Path, float]]:
        """Path and time of last change [s] of each stored file; what vanishes meanwhile is not stored any more."""
        folder = self.working_directory
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            if not path.name.startswith(prefix):
                continue
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if S_ISREG(status.st_mode):
                yield path, status.st_mtime

    def _clean(self, prefix: str) -> None:
        """Delete what is too old. A prefix of the client's choice deletes nothing: other gadgets store files, too."""
        limit_s = self.time_limit_in_storage * 3600.0
        if prefix != NOISE_PREFIX or limit_s == 0.0:
            self.log.info("dependencies.not_cleaned", prefix=prefix, time_limit_s=limit_s)
            return
        now_s = datetime.now(UTC).timestamp()
        for path, changed_s in self._stored(prefix):
            if now_s - changed_s > limit_s:
                path.unlink(missing_ok=True)
                self.log.info("dependency.deleted", name=path.name, age_h=round((now_s - changed_s) / 3600.0, 1))
