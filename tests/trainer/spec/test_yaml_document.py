import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.spec.errors import InvalidRunError
from igpo_trainer.spec.yaml_document import MAX_BYTES, MAX_VALUES, read_documents, write_document


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return read_documents(path)

    return read_text


def refused(read, text):
    with pytest.raises(InvalidRunError) as caught:
        read(text)
    assert "\n" not in str(caught.value)
    return str(caught.value).partition("run.yaml")[2]


def test_documents_come_in_file_order_and_empty_ones_are_left_out(read):
    documents = read("---\n# nothing\n---\na: 1\n---\nnull\n---\n- b\n--- text\n")
    assert [document.value for document in documents] == [{"a": 1}, ["b"], "text"]


def test_a_file_without_documents_is_an_empty_list(read):
    assert read("# only a comment\n") == []


def test_json_is_read_too(read):
    assert read('{"a": [1, 2.5, "5", null, true]}')[0].value == {"a": [1, 2.5, "5", None, True]}


def test_every_value_knows_its_line(read):
    [document] = read("a:\n  b: 1\n  c:\n    - x\n    -\n      d: 2\n")
    paths = {(): 1, ("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 6, ("a", "c", 1, "d"): 6}
    assert {path: document.line(path) for path in paths} == paths


def test_a_missing_field_has_the_line_of_what_should_hold_it(read):
    [document] = read("# a run\na:\n  b: {}\n")
    assert document.line(("a", "b", "c", 0, "d")) == 3


def test_lines_count_from_the_start_of_the_file(read):
    assert read("a: 1\n---\n\nb: 2\n")[1].line(("b",)) == 4


def test_quoted_scalars_stay_text(read):
    assert read("[\"5\", '5e-7', \"yes\", '', !!str 5]")[0].value == ["5", "5e-7", "yes", "", "5"]


def test_a_tag_of_a_plain_type_is_obeyed(read):
    assert read('[!!int "5", !!float 5, !!float "5e-7", !!bool "yes", !!null ""]')[0].value == [5, 5, 5e-7, True, None]


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x", "a: !foo 5", "a: !!set {b}", "a: !!omap [b: 1]"])
def test_any_other_tag_is_refused(read, text):
    assert refused(read, text).endswith("has no meaning in a manifest; remove it")


@pytest.mark.parametrize("text", ["a: !!int x", "a: !!bool 5", "a: !!int yes", "a: !!float yes"])
def test_a_value_against_its_tag_is_refused(read, text):
    assert ":1: " in refused(read, text)
    assert "correct the value or the tag" in refused(read, text)


def test_a_number_that_is_not_finite_names_its_line(read):
    assert refused(read, "a: 1\nb: .nan\n") == ":2: .nan is not a finite number; write one"


def test_keys_are_text_as_kubectl_writes_them(read):
    assert read('{yes: 1, 0x10: 2, "017": 3, x: 4}')[0].value == {"true": 1, "16": 2, "017": 3, "x": 4}


@pytest.mark.parametrize("key", ["~", "1.5", "? [a]", "? {a: 1}"])
def test_a_key_that_is_not_text_is_refused(read, key):
    assert refused(read, f"a:\n  {key} : 1\n") == ":2: a key is not text; put it in quotes"


def test_a_key_written_twice_names_both_lines(read):
    assert refused(read, "a: 1\nb: 2\na: 3\n") == ":3: a is already set on line 1; remove one of the two"


def test_keys_that_become_the_same_text_are_duplicates(read):
    assert refused(read, '1: a\n"1": b\n') == ":2: 1 is already set on line 1; remove one of the two"


def test_anchors_fill_in_values(read):
    assert read("a: &x {b: 1}\nc: *x\nd: [*x]\n")[0].value == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}]}


def test_anchors_end_with_their_document(read):
    assert "undefined alias" in refused(read, "a: &x 1\n---\nb: *x\n")


# What kubectl makes of `<<`, order included.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: {b: 1}, c: 2}", {"b": 1, "c": 2}),
        ("{<<: {b: 1}, b: 2}", {"b": 2}),
        ("{b: 2, <<: {b: 1}}", {"b": 1}),
        ("{<<: [{b: 1}, {b: 2, c: 3}], d: 1}", {"b": 1, "c": 3, "d": 1}),
        ('{"<<": {b: 1}}', {"<<": {"b": 1}}),
    ],
)
def test_merge_keys_do_what_they_do_in_kubectl(read, text, value):
    assert read(text)[0].value == value


def test_only_mappings_can_be_merged(read):
    assert refused(read, "a:\n  <<: [5]\n") == ":2: << merges mappings only; give it an alias of a mapping"


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "&x a: {b: *y}\nc: &y {d: *y}\n", "a: &x\n  <<: *x\n"])
def test_a_value_inside_itself_is_refused(read, text):
    problem = refused(read, text)
    assert "itself" in problem or "undefined alias" in problem


def test_aliases_cannot_multiply_without_end(read):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert f"more than {MAX_VALUES} values" in refused(read, "\n".join(lines))


def test_deep_nesting_is_refused(read):
    assert "depth" in refused(read, "[" * 500 + "]" * 500)


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("a: 1\n\tb: 2\n", 2), ("a: b: c\n", 1), ("a: 'x\n", 2), ("a: *none\n", 1)]
)
def test_broken_yaml_names_the_line(read, text, line):
    assert refused(read, text).startswith(f":{line}: not YAML: ")


def test_characters_outside_yaml_are_refused(read):
    assert "not YAML" in refused(read, "a: \x00\n")


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(
        InvalidRunError, match=r"none.yaml: cannot be read \(No such file or directory\); give the path"
    ):
        read_documents(tmp_path / "none.yaml")


def test_a_folder_is_not_a_manifest(tmp_path):
    with pytest.raises(InvalidRunError, match="cannot be read"):
        read_documents(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "run.yaml").write_bytes("name: Müller".encode("latin-1"))
    with pytest.raises(InvalidRunError, match="byte 7 is not UTF-8"):
        read_documents(tmp_path / "run.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_documents(tmp_path / "run.yaml")[0].value == {"a": 1}


def test_a_file_beyond_the_api_servers_limit_is_refused(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InvalidRunError, match=f"larger than the limit of {MAX_BYTES} bytes"):
        read_documents(tmp_path / "run.yaml")


def in_yaml(text):
    return all(c in "\t\n\r\x85" or "\x20" <= c <= "\x7e" or c >= "\xa0" for c in text) and not any(
        "\ud800" <= c <= "\udfff" or c in "\ufffe\uffff\ufeff" for c in text
    )


texts = st.one_of(
    st.text(max_size=20).filter(in_yaml),
    st.sampled_from(
        ["yes", "017", "5e-7", "0o17", "<<", ".inf", "~", "1:30", "2001-01-01", "-", "? a", "a: b", "0b-1"]
    ),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_what_is_written_is_read_back_as_the_same_value(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "written.yaml"
    path.write_text(write_document(value), encoding="utf-8")
    [document] = read_documents(path)
    assert document.value == value
