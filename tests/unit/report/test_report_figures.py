from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree

import matplotlib
import pytest
from drawn import artists_of
from flops_fit.laws.answer.answer import Question, predict_answer
from flops_fit.report.figures.isoflop_profiles import isoflop_profiles
from flops_fit.report.figures.optimum_scaling import optimum_scaling
from flops_fit.report.figures.saving import save
from flops_fit.report.fitted import ReportedFit
from matplotlib.backends.backend_agg import FigureCanvasAgg

read = ReportedFit.from_json


@pytest.mark.parametrize("budgets", [(5e10, 1.5e11, 5e11, 1.5e12), (5e10,), (5e10, 1.5e11)])
@pytest.mark.parametrize("furthest", [1e13, 1e15, 1e26, None])
def test_tick_labels_do_not_touch(fit, runs, budgets, furthest):
    approach = fit["approaches"]["2"]
    runs = runs[runs["budget"].isin(budgets)]
    answer = fit["answer"]
    for entry in (approach, answer):
        for key in ("points", "profiles", "predictions"):
            entry[key] = [row for row in entry.get(key, ()) if row["C"] in budgets]
    if furthest is not None:
        law, flops = read(fit).answer.law, read(fit).answer.flops
        rows = predict_answer(law, Question(C=(furthest,), measured=budgets), flops)
        answer["predictions"] += [row.to_json() for row in rows]
    for figure in (
        isoflop_profiles(read(fit), runs),
        optimum_scaling(read(fit), runs),
    ):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        for ax, axis in itertools.product(figure.axes, "xy"):
            labels = getattr(ax, f"get_{axis}ticklabels")()
            low, high = sorted(getattr(ax, f"get_{axis}lim")())
            shown = [label for label in labels if low <= label.get_position()[axis == "y"] <= high]
            assert shown
            assert all(label.get_fontsize() >= 9 for label in shown)
            boxes = [label.get_window_extent(canvas.get_renderer()) for label in shown]
            assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_saved_files_repeat_byte_for_byte(fit, runs, tmp_path):
    for draw in (isoflop_profiles, optimum_scaling):
        first = save(draw(read(fit), runs), tmp_path / "one" / "figure.v2")
        # Somebody else's settings must not show in our figures.
        with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "lines.marker": "x"}):
            second = save(draw(read(fit), runs), tmp_path / "two" / "figure.v2")
        assert [path.name for path in first] == ["figure.v2.svg", "figure.v2.png"]
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
            "figure.v2.png",
            "figure.v2.svg",
        ]
        root = ElementTree.parse(first[0]).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        ids = {element.get("id") for element in root.iter()}
        assert set(artists_of(draw(read(fit), runs))) <= ids
        assert b"dc:date" not in first[0].read_bytes()
        assert first[1].read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_the_callers_settings_alone(fit, runs):
    with matplotlib.rc_context({"font.size": 13.0, "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        isoflop_profiles(read(fit), runs)
        assert dict(matplotlib.rcParams) == before
