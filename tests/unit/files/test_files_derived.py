"""Derived files: what is damaged is refused in one sentence and makes room for another one."""

from __future__ import annotations

import json

import pytest
from flops_fit.errors import UserError
from flops_fit.files.reading import read_csv_rows, read_json_object
from flops_fit.plan.plan import plan_csv, plan_specs, read_plan
from flops_fit.plan.planned_files import read_job
from hand_computed import planned, small_study


def refusal(path, read) -> str:
    """Return why a file is refused, which has to be renamed for it."""
    content = path.read_bytes()
    with pytest.raises(UserError) as caught:
        read()
    assert not path.exists()
    aside = path.with_name(f"{path.name}.damaged")
    assert aside.read_bytes() == content
    before, reason, after = str(caught.value).partition(": ")[0], *str(caught.value).split("; ")
    assert before == str(path)
    assert after == f"it is {aside.name} now, and a rerun writes it anew"
    return reason.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON file (Expecting value"),
        (b'{"a": 1', "is no JSON file (Expecting ',' delimiter"),
        (b"\xff", "is no JSON file ('utf-8' codec can't decode"),
        (b"[1]", "found list, expected an object"),
        (b'{"b": 1}', "a: is missing"),
    ],
)
def test_json(tmp_path, content, reason):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert refusal(path, lambda: read_json_object(path, ("a",))).startswith(reason)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "column a: is missing"),
        (b"a\n1\n", "column b: is missing"),
        (b"a,b\n1,2\n3", "row 2 has 1 fields, expected the 2 columns"),
        (b"a,b\n1,2,3\n", "row 1 has 3 fields, expected the 2 columns"),
        (b'a,b\n1,"2', "is no CSV file (unexpected end of data"),
        (b"a,b\n\xff,1\n", "is no CSV file ('utf-8' codec can't decode"),
    ],
)
def test_csv(tmp_path, content, reason):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert refusal(path, lambda: read_csv_rows(path, ("a", "b"))).startswith(reason)


def test_what_is_whole_is_read(tmp_path):
    (tmp_path / "file.json").write_text('{"a": [1]}')
    assert read_json_object(tmp_path / "file.json", ("a",)) == {"a": [1]}
    (tmp_path / "file.csv").write_text('a,b\n1,"2,5"\n')
    assert read_csv_rows(tmp_path / "file.csv", ("b",)) == [{"a": "1", "b": "2,5"}]


def test_a_plan_that_lost_whole_rows_is_noticed(tmp_path):
    text = plan_csv(planned())
    path = tmp_path / "plan.csv"
    ids = [row.id for row in planned().experiments]
    (tmp_path / "specs.json").write_text(specs_text())
    path.write_text(text)
    assert [row["id"] for row in read_plan(path)] == ids
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"its experiments are not those of specs\.json; run"):
        read_plan(path)
    assert path.exists()


def specs_text() -> str:
    specs = plan_specs(planned(), small_study(), data_folder="data", search_folder="studies")
    return json.dumps(specs)


def test_a_changed_number_of_the_plan_makes_room_for_another(tmp_path):
    """Every field of every row, by one digit; and what is no number at all."""
    path = tmp_path / "plan.csv"
    (tmp_path / "specs.json").write_text(specs_text())
    header, *rows = [line.split(",") for line in plan_csv(planned()).splitlines()]
    for i, row in enumerate(rows):
        for j, name in enumerate(header[1:], 1):
            digit = str((int(row[j][0]) + 1) % 10)
            for text in (digit + row[j][1:], row[j][:-1] + "x", row[j] + "0", "", "nan", "1e999"):
                changed = [*rows[:i], [*row[:j], text, *row[j + 1 :]], *rows[i + 1 :]]
                path.write_text("\n".join(",".join(line) for line in [header, *changed]) + "\n")
                with pytest.raises(UserError) as caught:
                    read_plan(path)
                assert str(caught.value).startswith(f"{path}: "), (name, text)
                assert str(caught.value).endswith(
                    "is plan.csv.damaged now, and a rerun writes it anew"
                )
                assert not path.exists()
    path.write_text(plan_csv(planned()))
    assert len(read_plan(path)) == len(rows)


def test_a_changed_value_of_the_specs_makes_room_for_others(tmp_path):
    """Whatever is read of them: no training starts that would be refused at its end."""
    plan, file = tmp_path / "plan.csv", tmp_path / "specs.json"
    run_id = planned().experiments[1].id
    whole = json.loads(specs_text())

    def spoilt(name: str, value: object) -> None:
        plan.write_text(plan_csv(planned()))
        file.write_text(json.dumps(whole | {run_id: {**whole[run_id], name: value}}))

    for name, value in whole[run_id].items():
        others = [None if value is not None else 7, [], "text", {}]
        others += [value + 1] if isinstance(value, int | float) else []
        for other in others:
            spoilt(name, other)
            with pytest.raises(UserError, match=r"\.damaged now, and a rerun writes it anew"):
                read_plan(plan)
            assert plan.exists() != file.exists(), (name, other)
    spec = whole[run_id]["spec"]
    for name, value in spec.items():
        spoilt("spec", spec | {name: [value]})
        with pytest.raises(UserError, match=f"{run_id}: spec: gives the id"):
            read_job(file, run_id)
        assert file.with_name("specs.json.damaged").exists()
        assert not file.exists()
    spoilt("budget", whole[run_id]["budget"])
    assert read_job(file, run_id).to_json() == whole[run_id]
    file.write_text(json.dumps(whole | {run_id: {}}))
    with pytest.raises(UserError, match=f"specs.json: {run_id}: spec: is missing; it is specs.jso"):
        read_job(file, run_id)
