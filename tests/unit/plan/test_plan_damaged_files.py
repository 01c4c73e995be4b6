"""A plan that is damaged, or a specs.json, is refused in a sentence and makes room for another."""

from __future__ import annotations

import json

import pytest
from flops_fit.errors import UserError
from flops_fit.plan.files import plan_csv, plan_specs, read_job, read_plan
from hand_computed import planned, small_study


def test_a_plan_that_lost_whole_rows_is_noticed(tmp_path):
    text = plan_csv(planned())
    path = tmp_path / "plan.csv"
    ids = [row.id for row in planned().experiments]
    (tmp_path / "specs.json").write_text(specs_text())
    path.write_text(text)
    assert [row.id for row in read_plan(path)] == ids
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
                    "is plan.csv.damaged now, and a rerun writes it again"
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
            with pytest.raises(UserError, match=r"\.damaged now, and a rerun writes it again"):
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
