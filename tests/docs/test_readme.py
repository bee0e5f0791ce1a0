"""What README.md shows in Python and XML is run as it stands there."""

import re
from pathlib import Path

import numpy as np

from gadgetron import reconstruct
from gadgetron.phantom import PhantomOptions, write_phantom

ROOT = Path(__file__).resolve().parents[2]


def blocks(language):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_example_without_a_server_shows_every_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_phantom("scan.h5", PhantomOptions(matrix=16, n_coils=2, n_slices=2, n_repetitions=2))
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"{slice_} {rep} (1, 1, 16, 16)" for rep in (0, 1) for slice_ in (0, 1)]


def test_the_gadget_runs_when_its_prefix_is_allowed(tmp_path, monkeypatch):
    module = tmp_path / "my_gadgets" / "scale.py"
    module.parent.mkdir()
    module.write_text(blocks("python")[1], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    write_phantom(tmp_path / "scan.h5", PhantomOptions(matrix=16, n_coils=2))
    plain = (ROOT / "config" / "default.xml").read_text(encoding="utf-8")
    (gadget,) = blocks("xml")
    scaled = plain.replace("<stream>", f"<stream>\n{gadget}")
    (expected,) = reconstruct(tmp_path / "scan.h5", plain.encode())
    (image,) = reconstruct(tmp_path / "scan.h5", scaled.encode(), allow=["my_gadgets"])
    np.testing.assert_allclose(image.data, 2.5 * expected.data, rtol=1e-5)


def test_files_that_it_links_to_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) >= 4
    assert [link for link in links if not (ROOT / link).exists()] == []
