"""The library names of historical configurations, and the packages of ours that stand for them.

A C++ configuration names a shared library and a class in it. Which module of ours has that class is looked up in the
modules' sources, without importing them: loading one gadget does not pay for all of them.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

_READERS_WRITERS = "readers_writers"
_MRI = ("gadgets.mri_core", _READERS_WRITERS)

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "gadgetroncore": _MRI,  # the name of the very first Gadgetron: everything was in one library
    "gadgetron_core": _MRI,
    "gadgetron_mricore": _MRI,
    "gadgetron_mri_core": _MRI,
    "gadgetroncore_readers": (_READERS_WRITERS,),
    "gadgetron_core_readers": (_READERS_WRITERS,),
    "gadgetron_core_writers": (_READERS_WRITERS,),
    "gadgetron_core_parallel": ("gadgets.parallel",),
    "gadgetron_bart": ("gadgets.bart",),
    "gadgetron_cartesian": ("gadgets.cartesian",),
    "gadgetron_cmr": ("gadgets.cmr",),
    "gadgetron_debugging": ("gadgets.debugging", "gadgets.mri_core"),
    "gadgetron_dicom": ("gadgets.dicom", _READERS_WRITERS),
    "gadgetron_distributed": ("gadgets.distributed",),
    "gadgetron_epi": ("gadgets.epi",),
    "gadgetron_examples": ("gadgets.examples",),
    "gadgetron_fatwater": ("gadgets.fatwater",),
    "gadgetron_grappa": ("gadgets.grappa",),
    "gadgetron_moco": ("gadgets.moco",),
    "gadgetron_mri_noncartesian": ("gadgets.mri_noncartesian",),
    "gadgetron_radial": ("gadgets.radial",),
    "gadgetron_spiral": ("gadgets.spiral",),
    "gadgetron_t1": ("gadgets.t1",),
    "gadgetron_util": ("gadgets.util", _READERS_WRITERS),
}

CLASS_ALIASES: Mapping[str, str] = {
    "AcquisitionReader": "GadgetIsmrmrdAcquisitionMessageReader",
    "AcquisitionWriter": "GadgetIsmrmrdAcquisitionMessageWriter",
    "WaveformReader": "GadgetIsmrmrdWaveformMessageReader",
    "WaveformWriter": "GadgetIsmrmrdWaveformMessageWriter",
    "ImageReader": "MRIImageReader",
    "ImageWriter": "MRIImageWriter",
    "GadgetMessageTextWriter": "TextWriter",
    "ImageArrayReader": "IsmrmrdImageArrayReader",
    "ImageArrayWriter": "IsmrmrdImageArrayWriter",
}
"""Names that newer configurations have for what we call by its older name."""

_CLASS = re.compile(r"^class ([A-Za-z][A-Za-z0-9_]*)\b", re.MULTILINE)


@cache
def class_index(package: str) -> Mapping[str, str]:
    """Give the classes that a package's modules define, and the module of each; empty if there is no such package.

    `package` is one of ours, or one that has been imported before: finding it imports the packages above it.
    """
    return {name: module for module, source in _sources(package) for name in _CLASS.findall(source)}


def _sources(package: str) -> Iterator[tuple[str, str]]:
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        return
    if spec is None:
        return
    if spec.origin and spec.origin.endswith(".py"):
        yield package, _text(Path(spec.origin))
    for folder in spec.submodule_search_locations or ():
        for path in sorted(Path(folder).glob("*.py")):
            if path.stem != "__init__":
                yield f"{package}.{path.stem}", _text(path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
