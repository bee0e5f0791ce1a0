"""Multiplexed streams: what each one carries, as declared or as first seen, and which one output goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from gadgetron.errors import ManifestError
from gadgetron.limits import LIMITS, Limits, check
from gadgetron.protocol.entity.control import ManifestEntry
from gadgetron.protocol.entity.frames import FrameHead
from gadgetron.protocol.entity.tables import (
    ACQUISITION_STREAM,
    FIRST_CONTROL_STREAM,
    FIRST_FREE_STREAM,
    SAME_SAMPLES,
    SEED,
    STORAGE,
    Dialect,
    EntityType,
    StorageType,
    entity_name,
    storage_name,
)

_ENTITY_TYPES = frozenset(int(kind) for kind in EntityType)
_HAS_STORAGE = (EntityType.ACQUISITION, EntityType.WAVEFORM, EntityType.IMAGE)


def check_manifest(manifest: Iterable[ManifestEntry]) -> None:
    """Check that a manifest says something that can be, once for each stream.

    Raises
    ------
    ManifestError
        Naming the stream.
    """
    declared: dict[int, ManifestEntry] = {}
    for entry in manifest:
        if entry.entity_type not in _ENTITY_TYPES:
            raise ManifestError(
                f"the manifest declares entity type {entry.entity_type} for stream {entry.stream} — known are 0 to 7"
            )
        if not _is_storage_possible(entry):
            raise ManifestError(
                f"the manifest declares {_describe(entry)} for stream {entry.stream}, which does not exist"
            )
        earlier = declared.setdefault(entry.stream, entry)
        if _used(earlier) != _used(entry):
            raise ManifestError(
                f"the manifest declares stream {entry.stream} twice: as {_describe(earlier)} and as {_describe(entry)}"
            )


def _is_storage_possible(entry: ManifestEntry) -> bool:
    storage_type = entry.storage_type
    if storage_type == StorageType.NONE:
        return True
    storage = STORAGE.get(storage_type)
    if storage is None:
        return False
    if entry.entity_type == EntityType.ACQUISITION:
        return storage.component is not None
    return entry.entity_type != EntityType.WAVEFORM or storage_type == StorageType.DOUBLE


def _describe(entry: ManifestEntry) -> str:
    text = entity_name(entry.entity_type)
    return f"{text}, {storage_name(entry.storage_type)}" if entry.entity_type in _HAS_STORAGE else text


def _used(entry: ManifestEntry) -> tuple[int, int | None]:
    """Give what of an entry a frame must match: entity type, and storage type where it matters."""
    if entry.entity_type not in _HAS_STORAGE or entry.storage_type == StorageType.NONE:
        return entry.entity_type, None
    if entry.entity_type == EntityType.ACQUISITION:
        return entry.entity_type, SAME_SAMPLES.get(entry.storage_type, entry.storage_type)
    return entry.entity_type, entry.storage_type


class InputStreams:
    """Makes sure that every stream of a peer carries one type of entity.

    Parameters
    ----------
    manifest
        What the peer has declared.
    """

    def __init__(self, manifest: Iterable[ManifestEntry] = (), limits: Limits = LIMITS) -> None:
        self._declared = {entry.stream: entry for entry in manifest}
        self._seen: dict[tuple[int, int, int], None] = {}  # (stream, entity type, storage type) that are right
        self._type_of = {entry.stream: entry.entity_type for entry in self._declared.values()}
        self._limits = limits

    def check(self, head: FrameHead) -> None:
        """Check a frame before its body is read.

        Raises
        ------
        ManifestError
            Naming the stream, what was expected and what came.
        LimitExceeded
            If a session uses too many streams.
        """
        if head[2::-1] not in self._seen:
            self._check_new(head)

    def _check_new(self, head: FrameHead) -> None:
        stream = head.stream
        declared = self._declared.get(stream)
        came = ManifestEntry(stream, head.entity_type, head.storage_type)
        if declared is not None:
            entity_type, storage_type = _used(declared)
            found = _used(came)
            if found[0] != entity_type or (storage_type is not None and found[1] != storage_type):
                raise ManifestError(
                    f"stream {stream} was declared for {_describe(declared)} — expected that, {_describe(came)} came"
                )
        expected = self._type_of.get(stream)
        if expected is None:
            check("streams of a session", len(self._type_of) + 1, self._limits.max_streams)
            self._type_of[stream] = head.entity_type
        elif expected != head.entity_type:
            what, instead = entity_name(expected), entity_name(head.entity_type)
            raise ManifestError(f"stream {stream} has carried {what} — expected that, {instead} came")
        check("streams of a session", len(self._seen) + 1, 4 * self._limits.max_streams)
        self._seen[head[2::-1]] = None

    @property
    def types(self) -> dict[int, int]:
        """Entity type of each stream that has been declared or seen."""
        return self._type_of


class OutputStreams:
    """Chooses the streams for what is sent: as the peer declared; then by the standard's numbers; then free ones.

    Each series of images has a stream of its own, in the order in which the series appear.

    Parameters
    ----------
    manifest
        What the peer has declared.
    peer_streams
        Entity type of each stream that the peer uses: those of another type are avoided.

    Notes
    -----
    For several threads.
    """

    def __init__(
        self,
        manifest: Iterable[ManifestEntry] = (),
        dialect: Dialect = SEED,
        peer_streams: dict[int, int] | None = None,
    ) -> None:
        self._declared = list(manifest)
        self._dialect = dialect
        self._peer_streams = peer_streams or {}
        self._lock = threading.Lock()  # guards the two
        self._chosen: dict[tuple[int, int, int], int] = {}
        self._taken: set[int] = set()

    def choose(self, entity_type: int, storage_type: int, series: int = 0) -> int:
        """Give the stream for an entity: the same one for all of a type, a storage type and a series."""
        key = (entity_type, storage_type, series)
        stream = self._chosen.get(key)
        if stream is not None:
            return stream
        with self._lock:
            stream = self._find(entity_type, storage_type)
            self._taken.add(stream)
            self._chosen[key] = stream
            return stream

    def _find(self, entity_type: int, storage_type: int) -> int:
        wanted = _used(ManifestEntry(0, entity_type, storage_type))
        fitting = [entry.stream for entry in self._declared if _used(entry) in (wanted, (entity_type, None))]
        for stream in fitting:
            if stream not in self._taken:
                return stream
        if fitting and self._dialect.has_magic:
            return fitting[-1]  # the C++ programs take nothing from a stream that they have not declared
        preferred = {
            EntityType.ACQUISITION: ACQUISITION_STREAM if not self._dialect.has_magic else None,
            EntityType.XML_HEADER: self._dialect.header_stream,
        }.get(EntityType(entity_type))
        if preferred is not None and self._is_free(preferred, entity_type):
            return preferred
        stream = FIRST_FREE_STREAM if not self._dialect.has_magic else 1000
        while not self._is_free(stream, entity_type):
            stream += 1
            if stream == FIRST_CONTROL_STREAM:
                raise ManifestError("no stream is left for output: every number below 65536 is in use")
        return stream

    def _is_free(self, stream: int, entity_type: int) -> bool:
        if stream in self._taken or any(entry.stream == stream for entry in self._declared):
            return False
        return self._peer_streams.get(stream, entity_type) == entity_type
