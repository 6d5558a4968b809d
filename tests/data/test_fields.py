"""The field that holds the text, by name, and chats as text: alike in JSON lines, Parquet and Arrow."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.corpora import load, put, refusal, text_of
from support.saved import save
from support.tiny import TINY_TOML

from star.errors import UserError
from star.run.settings import from_toml

KINDS = (".jsonl", ".parquet", ".arrow")
BODIES = [f"body {i}" for i in range(12)]


def write_records(folder, kind: str, rows: list[dict]):
    """Rows as objects, or as a table whose types pyarrow finds."""
    path = folder / f"rows{kind}"
    if kind == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    table, held = pa.Table.from_pylist(rows), io.BytesIO()
    if kind == ".parquet":
        pq.write_table(table, held)
    else:
        with pa.ipc.new_stream(held, table.schema) as writer:
            writer.write_table(table)
    path.write_bytes(held.getvalue())
    return path


# The field


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "field, make",
    [
        ("body", lambda body: {"text": "x", "body": body}),
        ("meta.body", lambda body: {"text": "x", "meta": {"id": 1, "body": body}}),
        ("meta.in.body", lambda body: {"meta": {"in": {"body": body, "n": 3}}}),
        ("meta.body", lambda body: {"meta.body": body}),
    ],
)
def test_a_field_by_name(tmp_path, kind, field, make):
    path = write_records(tmp_path, kind, [make(body) for body in BODIES])
    corpus = load(path, field=field)
    assert corpus.train.tobytes().decode().splitlines() == [BODIES[0], *BODIES[2:11]]
    assert corpus.valid.tobytes().decode().splitlines() == [BODIES[1], BODIES[11]]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_name_the_first_of_four_counts(tmp_path, kind):
    row = {
        "conversations": [{"from": "human", "value": "4"}],
        "messages": [{"role": "user", "content": "3"}],
        "content": "2",
        "text": "1",
    }
    for said in ("1", "2", "user: 3", "human: 4"):
        assert text_of(load(write_records(tmp_path, kind, [row]))) == f"{said}\n"
        row.popitem()


@pytest.mark.parametrize("kind", KINDS)
def test_null_on_the_way_is_null(tmp_path, kind):
    rows = [{"meta": {"body": "one"}}, {"meta": None}, {"meta": {"body": None}}, {"meta": {"body": "two"}}]
    corpus = load(write_records(tmp_path, kind, rows), field="meta.body")
    assert text_of(corpus) == "one\ntwo\n"
    assert corpus.report.left_out == (("with null as text", 2),)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "field, said",
    [
        ("bdy", "has no 'bdy'; did you mean 'body'?"),
        ("zzz", "has no 'zzz'; choose from body, meta, tags"),
        ("meta.tilte", "has no 'meta.tilte'; did you mean 'meta.title'?"),
        ("body.text", "has no 'body.text'; did you mean 'body'?"),
        ("", "has no 'text' or 'content'; it has 'body', 'meta', 'tags'"),
    ],
)
def test_a_field_that_is_not_there_gets_the_nearest_name(tmp_path, kind, field, said):
    path = write_records(tmp_path, kind, [{"body": "x", "meta": {"title": 3, "n": 4}, "tags": ["a"]}])
    place = f"{path} line 1" if kind == ".jsonl" else f"{path}"
    assert refusal(path, field=field) == f"{place} {said}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["meta", "meta.title", "tags"])
def test_a_field_that_is_no_text(tmp_path, kind, field):
    path = write_records(tmp_path, kind, [{"meta": {"title": 3}, "tags": ["a"]}])
    sentence = refusal(path, field=field)
    if kind == ".jsonl":
        assert sentence.startswith(("'meta", "message 1 of ")) and f"{path} line 1" in sentence
    else:
        assert sentence.startswith(f"column {field!r} of {path} holds ") and sentence.endswith(", not text")


def test_a_name_with_a_line_break_is_escaped(tmp_path):
    path = write_records(tmp_path, ".jsonl", [{"a\nb": "x"}])
    assert refusal(path, field="zzz") == f"{path} line 1 has no 'zzz'; choose from a\\nb"


def test_the_first_of_two_columns_of_one_name_counts(tmp_path):
    held = io.BytesIO()
    batch = pa.RecordBatch.from_arrays([pa.array(["first"]), pa.array(["second"])], names=["text", "text"])
    with pa.ipc.new_stream(held, batch.schema) as writer:
        writer.write_batch(batch)
    assert text_of(load(put(tmp_path, "a.arrow", content=held.getvalue()) / "a.arrow")) == "first\n"


def test_a_run_reads_the_field_that_was_named(star, refused, tmp_path):
    path = write_records(tmp_path, ".jsonl", [{"body": f"body {i} " * 9, "title": "x"} for i in range(60)])
    (tmp_path / "tiny.toml").write_text(TINY_TOML)
    common = ["--corpus", path, "--scale", tmp_path / "tiny.toml", "--generations", 0, "--population", 2, "--serial"]
    refused(["evolve", *common, "--out", tmp_path / "a", "--text-field", "bdy"], "has no 'bdy'; did you mean 'body'?")
    code, _, err = star("evolve", *common, "--out", tmp_path / "run", "--text-field", "body", "--store", "")
    assert code == 0 and "bytes of 1 file to train on" in err
    assert from_toml((tmp_path / "run/run.toml").read_text()).text_field == "body"


# Chats


CHATS = [
    (
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi\nyou"}],
        "system: Be brief.\n\nuser: Hi\nyou\n",
    ),
    ([{"from": "human", "value": "Grüezi"}, {"from": "gpt", "value": "Sali"}], "human: Grüezi\n\ngpt: Sali\n"),
    (
        [
            {"role": "user", "content": [{"type": "text", "text": "What"}, {"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        ],
        "user: What\nis it?\n\nassistant: A cat.\n",
    ),
    ([{"role": "assistant", "content": None}, {"role": "tool", "content": "4"}], "tool: 4\n"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["messages", "conversations", "meta.dialog"])
@pytest.mark.parametrize("messages, expected", CHATS)
def test_a_chat_is_flattened(tmp_path, kind, field, messages, expected):
    row = {"meta": {"dialog": messages}} if "." in field else {field: messages}
    path = write_records(tmp_path, kind, [row])
    assert text_of(load(path, field=field if "." in field else "")) == expected


def test_parts_that_are_not_text_are_left_out(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    messages = [
        {"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]},
        {"role": "user", "content": [image]},
    ]
    assert text_of(load(write_records(tmp_path, ".jsonl", [{"messages": messages}]))) == "user: What is it?\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_without_text_is_skipped(tmp_path, kind):
    chat = [{"role": "user", "content": "Hi"}]
    rows = [{"messages": chat}, {"messages": []}, {"messages": None}, {"messages": [{"role": "x", "content": None}]}]
    corpus = load(write_records(tmp_path, kind, rows))
    assert text_of(corpus) == "user: Hi\n"
    assert corpus.report.left_out == (("with null as text", 3),)


def test_chats_that_datasets_saved(tmp_path):
    chats = [
        [{"role": "user", "content": f"What is {i} + 1?"}, {"role": "bot", "content": f"{i + 1}"}] for i in range(3)
    ]
    corpus = load(save(tmp_path / "chats", chats, field="messages"))
    assert corpus.valid.tobytes().decode() == "user: What is 1 + 1?\n\nbot: 2\n"
    assert corpus.train.tobytes().decode().startswith("user: What is 0 + 1?\n\nbot: 1\nuser: What is 2")


@pytest.mark.parametrize(
    "messages, said",
    [
        (["hi"], "message 1 of {} is not an object with 'role' and 'content'"),
        (
            [{"role": "a", "content": "b"}, {"content": "b"}],
            "message 2 of {} has no text as 'role' or 'from'; it has 'content'",
        ),
        ([{"role": 3, "content": "b"}], "message 1 of {} has no text as 'role' or 'from'; it has 'role', 'content'"),
        ([{"role": "a", "content": 3}], "'content' of message 1 of {} is not text but 3"),
        ([{"from": "a", "value": {"b": 1}}], "'value' of message 1 of {} is not text but {{\"b\": 1}}"),
        ([{"role": "a", "content": "\ud800"}], "{} is not text: it holds half of a surrogate pair"),
        ([{"role": "a", "content": "\0"}], "{} is not text: it holds a NUL byte"),
        ("hi" * 30, None),
        (3, "'messages' of {} is not text but 3"),
    ],
)
def test_a_chat_that_is_none(tmp_path, messages, said):
    path = write_records(tmp_path, ".jsonl", [{"messages": messages}])
    if said is None:
        assert text_of(load(path)) == messages + "\n", "some tools store chats as text"
    else:
        assert refusal(path) == said.format(f"{path} line 1")


def test_chats_of_a_table_that_are_not_text_are_named(tmp_path):
    path = write_records(tmp_path, ".parquet", [{"messages": [{"role": "a", "content": 3}]}])
    assert refusal(path) == f"'content' of message 1 of {path} row 1 is not text but 3"
    path = write_records(tmp_path, ".parquet", [{"messages": [1, 2]}])
    assert refusal(path).startswith(f"column 'messages' of {path} holds list<")
    bad = pa.array([[{"role": "a", "content": b"caf\xe9"}]]).cast(
        pa.list_(pa.struct({"role": pa.string(), "content": pa.binary()}))
    )
    pq.write_table(pa.table({"messages": bad}), path)
    assert refusal(path).startswith(f"'content' of message 1 of {path} row 1 is not text but ")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "from", "content", "value", "type", "text", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(
    row=st.fixed_dictionaries({"messages": st.lists(JSON, max_size=3)}) | JSON,
    field=st.sampled_from(["", "x", "x.text"]),
)
def test_any_json_is_read_or_is_a_sentence(tmp_path_factory, row, field):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(json.dumps(row) + "\n")
    try:
        load(path, field=field)
    except UserError as error:
        assert "\n" not in str(error)
