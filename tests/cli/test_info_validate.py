"""gadgetron_info and gadgetron_validate, as their users see them."""

from __future__ import annotations

import re

import pytest

from gadgetron import __version__
from gadgetron.cli import info, validate
from gadgetron.cli.daemon import make_parser
from tests.configuration.documents import gadget, v1, v2


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch, tmp_path):
    """No settings of whoever runs the tests."""
    for name in info.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))


@pytest.fixture
def write(tmp_path):
    def write_file(document: bytes, name: str = "mine.xml") -> str:
        path = tmp_path / name
        path.write_bytes(document)
        return str(path)

    return write_file


def test_info_shows_versions_environment_and_configurations(capsys):
    assert info.main([]) == 0
    text = capsys.readouterr().out
    for part in (
        f"gadgetron {__version__}",
        "numpy",
        "expat",
        "GADGETRON_HOME",
        "default.xml",
        "seed_example.xml",
        "gadgets",
    ):
        assert part in text
    assert "one magnitude image" in text


def test_info_shows_a_chain_with_what_is_set(capsys):
    assert info.main(["default.xml"]) == 0
    text = capsys.readouterr().out
    assert "2. AcquisitionAccumulateTriggerGadget: " in text
    assert "trigger_dimension = repetition" in text
    assert 'the default is ""' in " ".join(text.split())
    assert "real_imag_offset = 0" in text


def test_info_shows_what_cannot_be_loaded_beside_what_can(capsys, write):
    path = write(v1([("A", "nolib", "AGadget", ()), ("B", "gadgetroncore", "AccumulatorGadget", [("Mine", "5")])]))
    assert info.main([path]) == 0
    text = capsys.readouterr().out
    assert "1. A: gadget 'AGadget' of 'nolib': neither a known library" in text
    assert "2. B, a AccumulatorGadget: " in text
    assert "Mine = 5  (undeclared)" in text


@pytest.mark.parametrize(
    "target",
    [["ExtractGadget"], ["gadgetron_mricore", "ExtractGadget"], ["gadgets.mri_core.extract.ExtractGadget"]],
)
def test_info_shows_a_gadget(capsys, target):
    assert info.main(target) == 0
    text = capsys.readouterr().out
    for part in (
        "takes    ImageHeader + Array[complex64]",
        "extract_mask = 0",
        "int; 0 to 15",
        "threads = 1",
        "folder",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("AcquisitionReader", "reads message 1008"),
        ("ImageWriter", "for slot 1022"),
        ("MRIImageWriterFLOAT", "slot 1005"),
    ],
)
def test_info_shows_readers_and_writers(capsys, name, part):
    assert info.main([name]) == 0
    assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (["ExtrctGadget"], "did you mean ExtractGadget?"),
        (["defalt.xml"], "did you mean default.xml?"),
        (["os.system"], "not below an allowed prefix"),
        (["nolib", "X"], "neither a known library"),
        (["./not_there.xml"], "there is no file ./not_there.xml"),
    ],
)
def test_info_says_what_it_cannot_find(capsys, target, says):
    assert info.main(target) == 2
    output = capsys.readouterr()
    assert says in output.err
    assert output.out == ""


def test_validate_is_silent_about_nothing_and_exits_zero_for_what_is_valid(capsys):
    assert validate.main(["default.xml", "default_short.xml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "default.xml: valid (dialect 2; 2 readers, 1 writer, 7 gadgets)",
        "default_short.xml: valid (dialect 1; 2 readers, 1 writer, 9 gadgets)",
    ]
    assert validate.main(["-q", "default.xml"]) == 0
    assert capsys.readouterr().out == ""


def test_validate_says_everything_and_exits_one(capsys, write):
    distributed = "<distributed><distributor><classname>D</classname></distributor><stream/></distributed>"
    path = write(v2(gadget("ExtractGadget", '<property name="extract_magnitud" value="1"/><property/>') + distributed))
    assert validate.main([path]) == 1
    text = capsys.readouterr().out
    assert f"{path}: 3 errors (dialect 2; 0 readers, 0 writers, 1 gadget)" in text
    assert text.count("error: ") == 3
    assert "did you mean extract_magnitude?" in text
    assert "<distributed>, is not supported yet" in text


def test_warnings_count_only_if_asked_for(capsys, write):
    readers = "<readers><reader><dll>gadgetroncore</dll><classname>AcquisitionReader</classname></reader></readers>"
    path = write(v2(gadget("ExtractGadget"), readers=readers))
    assert validate.main([path]) == 0
    assert "1 warning" in capsys.readouterr().out
    assert validate.main(["--strict", path]) == 1


def test_validate_exits_two_for_what_is_not_there(capsys):
    assert validate.main(["nope.xml", "default.xml"]) == 2
    output = capsys.readouterr()
    assert "no configuration is called 'nope.xml'" in output.err
    assert "default.xml: valid" in output.out


def test_validate_checks_the_global_configuration_too(capsys, write):
    assert validate.main([write(b"<gadgetronConfiguration><port>1</port><rest/></gadgetronConfiguration>")]) == 0
    assert "<rest> has no effect" in capsys.readouterr().out
    assert validate.main([write(b"<gadgetronConfiguration><port>x</port></gadgetronConfiguration>")]) == 1
    assert "'x', expected a whole number" in capsys.readouterr().out


def test_what_a_client_may_not_do_can_be_asked(capsys, write):
    path = write(v1([("A", "gadgetroncore", "ExtractGadget", [("debug_folder", "/srv")])]))
    assert validate.main([path]) == 0
    assert validate.main(["--from-client", path]) == 1
    assert "below the working directory" in capsys.readouterr().out


def test_a_documents_own_folder_and_prefix_are_used(capsys, tmp_path, monkeypatch):
    package = tmp_path / "cli_outside_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from gadgetron.gadget import Gadget\nclass MineGadget(Gadget):\n    '''Mine.'''\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    home = tmp_path / "home"
    (home / "config").mkdir(parents=True)
    (home / "config" / "own.xml").write_bytes(
        v2("<gadget><classname>cli_outside_package.MineGadget</classname></gadget>")
    )
    assert validate.main(["-G", str(home), "own.xml"]) == 1
    assert "--allow cli_outside_package" in capsys.readouterr().out
    assert validate.main(["-G", str(home), "--allow", "cli_outside_package", "own.xml"]) == 0
    (home / "config" / "gadgetron.xml").write_text(
        "<gadgetronConfiguration><allowedPrefix>cli_outside_package</allowedPrefix></gadgetronConfiguration>"
    )
    assert validate.main(["-G", str(home), "own.xml"]) == 0
    assert info.main(["-G", str(home)]) == 0
    assert "own.xml" in capsys.readouterr().out


@pytest.mark.parametrize("program", [info, validate])
def test_help_helps(capsys, program):
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "--allow PREFIX" in text


def test_info_shows_parallel_streams(capsys, write):
    assert info.main(["parallel_bypass_example.xml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = [
        "streams side by side (unchanged, inverted), from their branch",
        "8. ImageFanout: Give a copy of every image, of any data type, to every stream.",
        "stream unchanged: a plain wire",
        "stream inverted:",
        "9. ImageInverter: Subtract every pixel from the image's largest.",
        "end of the streams unchanged, inverted, in their merge",
        "10. ImageLayerer: Lay an image of the stream `unchanged` and its counterpart",
    ]
    found = [next((i for i, line in enumerate(lines) if line.startswith(part)), None) for part in expected]
    assert None not in found
    assert found == sorted(found)
    pure = f"<purestream>{gadget('ExtractGadget')}</purestream>"
    assert info.main([write(v2(f'<parallelprocess workers="3">{pure}</parallelprocess>'))]) == 0
    assert "in 3 threads:" in capsys.readouterr().out


def test_every_environment_variable_of_the_daemon_is_shown(capsys):
    named = set(re.findall(r"GADGETRON_[A-Z_]+", make_parser().format_help()))
    assert info.main([]) == 0
    shown = capsys.readouterr().out
    assert not [name for name in named if f"{name} " not in shown]
