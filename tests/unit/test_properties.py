"""Properties: declared, parsed, limited, and resolved through other gadgets."""

from __future__ import annotations

import enum
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gadgetron.errors import PropertyError
from gadgetron.gadget import Gadget
from gadgetron.properties import (
    Property,
    Reference,
    apply_properties,
    declared_properties,
    find_property,
    property_text,
    set_property,
)
from gadgetron.property_types import as_text, nearest_name


class Mode(enum.Enum):
    FAST = "fast"
    GOOD = "good"


class Everything(Gadget):
    """Has a property of every type."""

    flag = Property(False)
    count = Property(3, minimum=0, maximum=10, doc="how many", aliases=("number",))
    factor = Property(1.5, minimum=0.0)
    label = Property("x")
    side = Property("left", choices=("left", "right"))
    mode = Property(Mode.GOOD)
    sizes = Property([1, 2], minimum=0)
    names = Property([], type=list[str])
    target = Property("", folder=True)
    property_aliases: ClassVar[dict[str, str]] = {"lable": "label"}


class Derived(Everything):
    """Declares one more, and one anew."""

    extra = Property(1)
    count = Property(4, maximum=5)


class Open(Gadget):
    """Takes any property."""

    accepts_any_property = True


class Chain:
    """A controller that knows gadgets by name."""

    def __init__(self, **gadgets: Gadget) -> None:
        self.gadgets = gadgets
        for gadget in gadgets.values():
            gadget.controller = self

    def find_gadget(self, name: str) -> Gadget | None:
        return self.gadgets.get(name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("flag", "true", True),
        ("flag", " TRUE ", True),
        ("flag", "1", True),
        ("flag", "0", False),
        ("flag", "False", False),
        ("count", "7", 7),
        ("count", " +7 ", 7),
        ("count", "0", 0),
        ("count", "10", 10),
        ("number", "5", 5),
        ("factor", "2", 2.0),
        ("factor", "2.5e-3", 0.0025),
        ("factor", ".5", 0.5),
        ("label", " two words ", " two words "),
        ("lable", "y", "y"),
        ("side", "right", "right"),
        ("mode", "FAST", Mode.FAST),
        ("mode", "good", Mode.GOOD),
        ("sizes", "3 4, 5\n6", [3, 4, 5, 6]),
        ("sizes", "", []),
        ("names", "a,b c", ["a", "b", "c"]),
    ],
)
def test_text_becomes_a_value_of_the_declared_type(name, text, value):
    gadget = Everything()
    set_property(gadget, name, text)
    found = find_property(Everything, name)
    result = getattr(gadget, found.name)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("flag", "maybe", "expected true or false"),
        ("flag", "yes", "expected true or false"),
        ("count", "3.0", "expected a whole number"),
        ("count", "1_0", "expected a whole number"),
        ("count", "٣", "expected a whole number"),
        ("count", "0x3", "expected a whole number"),
        ("count", "9" * 30, "expected a whole number"),
        ("count", "9223372036854775808", "expected a whole number"),
        ("count", "11", "is 11: the limit is 0 to 10"),
        ("count", "-1", "is -1: the limit is 0 to 10"),
        ("factor", "nan", "expected a number"),
        ("factor", "inf", "expected a number"),
        ("factor", "1e999", "expected a number"),
        ("factor", "-0.5", "the limit is at least 0"),
        ("factor", "", "expected a number"),
        ("side", "up", "expected one of left, right"),
        ("mode", "bad", "expected one of fast, good"),
        ("sizes", "1 x", "expected a whole number"),
        ("sizes", "1 -2", "the limit is at least 0"),
        ("countt", "1", "did you mean count?"),
        ("label", "x" * 70_000, "the limit is 65536"),
        ("__class__", "x", "unknown property"),
        ("process", "x", "unknown property"),
    ],
)
def test_what_is_wrong_is_named_with_value_and_limit(name, text, says):
    gadget = Everything("MyGadget")
    with pytest.raises(PropertyError) as caught:
        set_property(gadget, name, text)
    assert says in str(caught.value)
    assert "gadget MyGadget" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_defaults_hold_until_something_is_set():
    gadget = Everything()
    assert (gadget.flag, gadget.count, gadget.factor, gadget.sizes, gadget.mode) == (False, 3, 1.5, [1, 2], Mode.GOOD)
    gadget.sizes.append(9)
    assert Everything().sizes == [1, 2] == gadget.sizes


def test_values_set_from_python_are_checked_too():
    gadget = Everything()
    gadget.count = 9
    gadget.factor = 2
    assert (gadget.count, gadget.factor) == (9, 2.0)
    with pytest.raises(PropertyError, match="limit"):
        gadget.count = 11
    with pytest.raises(PropertyError, match="whole number"):
        gadget.count = "many"
    with pytest.raises(PropertyError, match="whole number"):
        gadget.count = True
    with pytest.raises(PropertyError, match="limit"):
        gadget.factor = float("nan")
    assert (gadget.count, gadget.factor) == (9, 2.0)


def test_declared_properties_are_in_order_and_inherited():
    names = list(declared_properties(Derived))
    assert names[: names.index("flag")] == list(declared_properties(Gadget))
    assert names[-1] == "extra"
    assert declared_properties(Derived)["count"].maximum == 5
    for name in (
        "debug_folder",
        "perform_timing",
        "verbose",
        "threads",
        "pass_on_undesired_data",
        "workingDirectory",
        "using_cloudbus",
    ):
        assert name in names


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_what_is_written_is_read_back(value):
    declared = Property(value)
    declared.name = "p"
    assert declared.parse(as_text(value)) == value


@given(st.text(max_size=50))
def test_any_text_is_a_value_or_a_property_error(text):
    for declared in declared_properties(Everything).values():
        try:
            declared.parse(text)
        except PropertyError:
            pass


def test_a_reference_is_resolved_when_it_is_read():
    source, reader = Everything(), Everything()
    Chain(S=source, R=reader)
    set_property(reader, "count", "count@S")
    assert reader.count == 3
    source.count = 8  # found out while running
    assert reader.count == 8


def test_a_reference_converts_between_types_and_checks_limits():
    source, reader = Everything(), Everything()
    Chain(S=source, R=reader)
    set_property(reader, "label", "sizes@S")
    assert reader.label == "1 2"
    set_property(reader, "count", "label@S")
    source.label = "11"
    with pytest.raises(PropertyError, match="limit"):
        _ = reader.count
    set_property(reader, "sizes", "sizes@S")
    assert reader.sizes == [1, 2]


def test_references_follow_references_and_circles_end():
    a, b, c = Everything(), Everything(), Everything()
    Chain(A=a, B=b, C=c)
    set_property(a, "count", "count@B")
    set_property(b, "count", "count@C")
    assert a.count == 3
    set_property(c, "count", "count@A")
    for gadget in (a, b, c):
        with pytest.raises(PropertyError, match="leads back to itself"):
            _ = gadget.count


def test_a_reference_to_nothing_is_an_error_when_read():
    gadget = Everything()
    Chain(G=gadget)
    set_property(gadget, "count", "count@Nobody")
    with pytest.raises(PropertyError, match="no gadget is called 'Nobody'"):
        _ = gadget.count
    set_property(gadget, "count", "nothing@G")
    with pytest.raises(PropertyError, match="has no property 'nothing'"):
        _ = gadget.count


def test_undeclared_properties_are_kept_where_the_class_says_so():
    gadget = Open()
    set_property(gadget, "MyTestProperty", "Blah Blah")
    set_property(gadget, "MyTestProperty2", "98776.862187")
    assert gadget.get_string_value("MyTestProperty") == "Blah Blah"
    assert gadget.get_double_value("MyTestProperty2") == 98776.862187
    assert not hasattr(gadget, "MyTestProperty")
    set_property(gadget, "__class__", "x")
    assert type(gadget) is Open


def test_undeclared_properties_can_be_references():
    gadget, source = Open(), Everything()
    Chain(G=gadget, S=source)
    set_property(gadget, "free", "count@S")
    source.count = 6
    assert property_text(gadget, "free") == "6"
    set_property(source, "label", "free@G")
    assert source.label == "6"


def test_global_parameters_win_where_the_name_is_declared():
    gadget = Everything()
    apply_properties(gadget, [("count", "1"), ("label", "own")], [("label", "global"), ("unknown", "x")])
    assert (gadget.count, gadget.label) == (1, "global")


def test_folders_lie_below_the_working_directory(tmp_path):
    gadget = Everything()
    set_property(gadget, "target", "sub/folder", working_directory=tmp_path, from_client=True)
    assert gadget.target == str(tmp_path / "sub" / "folder")
    set_property(gadget, "target", "/srv/data", working_directory=tmp_path)
    assert gadget.target == "/srv/data"
    set_property(gadget, "target", "", working_directory=tmp_path, from_client=True)
    assert gadget.target == ""


def test_documentation_texts():
    properties = declared_properties(Everything)
    assert properties["count"].type_name == "int"
    assert properties["count"].limits_text == "0 to 10"
    assert properties["sizes"].type_name == "list of int"
    assert properties["sizes"].default_text == "1 2"
    assert properties["mode"].type_name == "fast | good"
    assert properties["side"].limits_text == "one of left, right"
    assert properties["target"].type_name == "folder"


def test_a_property_of_an_impossible_type_is_a_mistake_in_the_program():
    with pytest.raises(TypeError, match="cannot be of type"):
        Property(None)
    with pytest.raises(TypeError, match="empty list needs"):
        Property([])


def test_nearest_names():
    assert nearest_name("coil_out", ["coils_out", "coil_mask"]) == "coils_out"
    assert nearest_name("zzz", ["coils_out"]) is None
    assert nearest_name("NoiseAdjustGadget", ["ExtractGadget"], ending="Gadget") is None
    assert nearest_name("NoiseAdjst", ["NoiseAdjustGadget"], ending="Gadget") == "NoiseAdjustGadget"


def test_a_reference_is_text_again():
    assert str(Reference("count", "My Gadget")) == "count@My Gadget"
