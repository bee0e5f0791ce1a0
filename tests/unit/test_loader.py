"""Names become classes, below allowed prefixes only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gadgetron.loader
from gadgetron.errors import UnknownClassError
from gadgetron.gadget import Gadget
from gadgetron.libraries import LIBRARIES, class_index
from gadgetron.loader import DEFAULT_PREFIXES, Loader, is_below
from gadgetron.message_io import GadgetMessageReader, GadgetMessageWriter

PACKAGE = {
    "__init__.py": "",
    "invert.py": """
import os
from gadgetron.gadget import Gadget, Gadget1
from gadgetron.message_io import GadgetMessageWriter

class InvertGadget(Gadget1[int]):
    def process(self, m1):
        self.put_next(m1)

class NotAGadget:
    pass

def function():
    pass
""",
    "broken.py": "import a_package_that_is_not_there",
    "raises.py": "raise RuntimeError('at import, in /some/path')",
    "exits.py": "raise SystemExit(3)",
    "syntax.py": "def (",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of gadgets outside our tree."""
    folder = tmp_path / "outside_package"
    folder.mkdir()
    for name, source in PACKAGE.items():
        (folder / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "outside_package"
    for module in [name for name in sys.modules if is_below(name, ["outside_package"])]:
        del sys.modules[module]
    class_index.cache_clear()


@pytest.mark.parametrize(
    ("dll", "classname", "module"),
    [
        ("gadgetroncore", "ExtractGadget", "gadgets.mri_core.extract"),
        ("gadgetron_mricore", "ExtractGadget", "gadgets.mri_core.extract"),
        ("gadgetron_mri_core", "BucketToBufferGadget", "gadgets.mri_core.bucket_to_buffer"),
        ("gadgets.mri_core.extract", "ExtractGadget", "gadgets.mri_core.extract"),
        ("", "gadgets.mri_core.extract.ExtractGadget", "gadgets.mri_core.extract"),
        ("ignored", " gadgets.mri_core.extract.ExtractGadget ", "gadgets.mri_core.extract"),
        ("gadgetroncore", "ImageFinishGadgetFLOAT", "gadgets.mri_core.image_finish"),
    ],
)
def test_gadgets_are_found_by_library_module_and_dotted_name(dll, classname, module):
    cls = Loader().load_gadget(dll, classname)
    assert issubclass(cls, Gadget)
    assert cls.__module__ == module
    assert cls.__name__ == classname.strip().rpartition(".")[2]


@pytest.mark.parametrize(
    "classname",
    [
        "GadgetIsmrmrdAcquisitionMessage{}",
        "GadgetIsmrmrdWaveformMessage{}",
        "Acquisition{}",
        "Waveform{}",
        "Image{}",
        "MRIImage{}",
        "DependencyQuery{}",
        "DicomImage{}",
        "Text{}",
    ],
)
@pytest.mark.parametrize("kind", ["Reader", "Writer"])
def test_historical_readers_and_writers_are_found(kind, classname):
    loader = Loader()
    load = loader.load_reader if kind == "Reader" else loader.load_writer
    base = GadgetMessageReader if kind == "Reader" else GadgetMessageWriter
    for dll in ("gadgetroncore", "gadgetron_mricore", f"gadgetron_core_{kind.lower()}s"):
        cls = load(dll, classname.format(kind))
        assert issubclass(cls, base)
        assert isinstance(int(cls.slot), int)


@pytest.mark.parametrize("classname", ["MRIImageWriterCPLX", "MRIImageWriterFLOAT", "MRIImageWriterUSHORT"])
def test_the_image_writers_of_the_architecture_document_are_found(classname):
    assert Loader().load_writer("gadgetroncore", classname).__name__ == classname


def test_each_class_of_our_rooms_is_defined_once():
    seen: dict[str, str] = {}
    for package in {package for packages in LIBRARIES.values() for package in packages}:
        for name, module in class_index(package).items():
            if name != "AcquisitionFanout":  # two libraries of the C++ Gadgetron have one each, for other messages
                assert seen.setdefault(name, module) == module, name


def test_a_package_outside_our_tree_needs_its_prefix(package):
    classname = f"{package}.invert.InvertGadget"
    with pytest.raises(UnknownClassError, match=rf"--allow {package}, or <allowedPrefix> in gadgetron\.xml") as caught:
        Loader().load_gadget("", classname)
    assert "outside_package" in str(caught.value)
    assert package not in sys.modules
    for prefix in (package, f"{package}.", f"{package}.invert"):
        assert Loader([prefix]).load_gadget("", classname).__name__ == "InvertGadget"
    assert Loader([package]).load_gadget(f"{package}.invert", "InvertGadget").__name__ == "InvertGadget"


@pytest.mark.parametrize("prefix", ["outside", "outside_packag", "outside_package_two", "outside_package.inv"])
def test_prefixes_match_whole_parts(package, prefix):
    with pytest.raises(UnknownClassError, match="not below an allowed prefix"):
        Loader([prefix]).load_gadget("", f"{package}.invert.InvertGadget")
    assert package not in sys.modules


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("invert.NotAGadget", "not a gadget"),
        ("invert.function", "not a gadget"),
        ("invert.os", "not a gadget"),
        ("invert.Gadget", "outside the allowed prefixes"),
        ("invert.Gadget1", "outside the allowed prefixes"),
        ("invert.GadgetMessageWriter", "not a gadget"),
        ("invert.InvrtGadget", "did you mean InvertGadget"),
        ("nothing.InvertGadget", "there is no module outside_package.nothing"),
        ("broken.X", "needs a_package_that_is_not_there, which is not installed"),
        ("raises.X", "failed with RuntimeError"),
        ("exits.X", "failed with SystemExit"),
        ("syntax.X", "failed with SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_is_refused_with_a_reason(package, name, says):
    with pytest.raises(UnknownClassError, match=says) as caught:
        Loader([package]).load_gadget("", f"{package}.{name}")
    assert "/" not in str(caught.value)


def test_a_base_class_is_no_writer():
    with pytest.raises(UnknownClassError, match="base class"):
        Loader().load_writer("", "readers_writers.legacy_image.LegacyImageWriter")


def test_a_reader_is_no_gadget_and_no_writer():
    with pytest.raises(UnknownClassError, match="not a gadget"):
        Loader().load_gadget("gadgetroncore", "AcquisitionReader")
    with pytest.raises(UnknownClassError, match="not a writer"):
        Loader().load_writer("gadgetroncore", "AcquisitionReader")


@pytest.mark.parametrize(
    ("dll", "classname", "says"),
    [
        ("gadgetron_mricor", "FFTGadget", "did you mean gadgetron_mricore"),
        ("gadgetroncore", "ExtrctGadget", "did you mean ExtractGadget"),
        ("", "FFTGadget", "needs a <dll>"),
        ("gadgetron_spiral", "SpiralToGenericGadget", "no such class"),
    ],
)
def test_misspelt_names_get_the_nearest_one(dll, classname, says):
    with pytest.raises(UnknownClassError, match=says):
        Loader().load_gadget(dll, classname)


def test_entry_points_allow_and_name_modules(package, monkeypatch):
    monkeypatch.setattr(gadgetron.loader, "_entry_points", lambda: {"outside": f"{package}.invert"})
    loader = Loader()
    assert f"{package}.invert" in loader.allowed_prefixes
    assert loader.load_gadget("outside", "InvertGadget").__name__ == "InvertGadget"
    with pytest.raises(UnknownClassError, match="not below an allowed prefix"):
        loader.load_gadget("", f"{package}.raises.X")


@pytest.mark.parametrize("prefix", ["", "a-b", "a..b", "/tmp", "__main__", "a.__b__", "1a", "import"])
def test_a_prefix_that_is_none_is_refused(prefix):
    with pytest.raises(UnknownClassError, match="not a name"):
        Loader([prefix])


def test_looking_for_a_class_imports_nothing_else():
    import subprocess

    script = (
        "import sys\n"
        "from gadgetron.loader import Loader\n"
        "Loader().load_writer('gadgetroncore', 'TextWriter')\n"
        "print(sorted(m for m in sys.modules if m.startswith(('gadgets', 'readers_writers.'))))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root, timeout=60
    )
    assert done.stdout.strip() == "['gadgets', 'readers_writers.text']"


def test_the_default_prefixes_are_ours():
    assert DEFAULT_PREFIXES == ("gadgets", "readers_writers", "gadgetron.examples")
