"""The price of a plan against numbers worked out by hand, and its text against the price."""

from __future__ import annotations

import pytest
from flops_fit.plan.hours import GivenSpeed, Room, Work, wall_seconds
from flops_fit.plan.price import Price, Priced
from flops_fit.plan.price_text import duration_text, price_text

# One FLOP per unit and process second: an experiment of C FLOPs takes C / processes seconds.
SPEED = GivenSpeed(flops_per_second=1.0, source="a formula", on_gpus=True)


def work(C: float, processes: int = 1) -> Work:
    return Work(N=1e6, flops_per_unit=1.0, batch=1.0, steps=C, processes=processes)


def part(name: str, costs: list[float], done: int = 0, **more) -> Priced:
    trained = tuple(i < done for i in range(len(costs)))
    return Priced(name=name, works=tuple(map(work, costs)), trained=trained, **more)


def price(*parts: Priced, speed=SPEED, room: Room | None = None, **more) -> Price:
    return Price(parts=parts, speed=speed, room=room or Room(cores=2), **more)


def test_hours_are_those_of_all_processes():
    two = price(Priced(name="", works=(work(7200, 2), work(3600)), trained=(False, False)))
    cost = two.cost(two.works)
    assert cost.experiments == 2
    assert cost.flops == 10_800
    # Two processes share 7200 FLOPs: an hour, and two process-hours.
    assert cost.process_hours == pytest.approx(3.0)
    assert cost.money is None


def test_money_is_hours_times_their_price():
    some = price(part("", [3600, 7200]), per_hour=2.5)
    assert some.cost(some.works).money == pytest.approx(7.5)
    unknown = price(part("", [3600]), speed=None, per_hour=2.5)
    assert unknown.cost(unknown.works).money is None
    assert unknown.wall_hours() is None


def test_the_wall_time_is_that_of_what_is_left():
    grid = price(part("low", [3600] * 4, done=3), part("high", [7200, 7200]))
    # 1 hour beside 2, then 2 more after the first.
    assert grid.wall_hours() == pytest.approx(3.0)
    assert price(part("", [3600], done=1)).wall_hours() == 0


def test_a_round_waits_for_the_one_before():
    rounds = [part("pilot", [3600] * 3), part("next", [3600] * 3)]
    assert price(*rounds, in_rounds=True).wall_hours() == pytest.approx(4.0)
    assert price(*rounds).wall_hours() == pytest.approx(3.0)


def test_what_runs_side_by_side_is_decided_by_most_of_the_cost():
    mixed = Priced(name="", works=(work(1, 1), work(1e6, 4)), trained=(False, False))
    room = Room(cores=16, gpus=8)
    assert price(mixed, room=room, threads=2).side_by_side(mixed.works) == 2
    assert price(mixed, room=room, threads=4).side_by_side(mixed.works) == 1


def test_the_text_holds_the_numbers_of_the_price():
    grid = price(part("C = 1e+05", [3600] * 4, done=3), part("C = 2e+05", [7200, 7200]), per_hour=2)
    lines = price_text(grid).splitlines()
    assert lines[0].split() == ["experiments", "FLOPs", "GPU-hours", "money"]
    rows = [line.split() for line in lines[1:5]]
    assert rows[0][-4:] == ["4", "1.44e+04", "4", "8.00"]
    assert rows[1][-4:] == ["2", "1.44e+04", "4", "8.00"]
    assert rows[2] == ["in", "total", "6", "2.88e+04", "8", "16.00"]
    assert rows[3] == ["still", "to", "train", "3", "1.8e+04", "5", "10.00"]
    assert "Time of what is left: about 3 hours with 2 experiments side by side." in lines
    assert "Speed: a formula." in lines
    assert "Money: 2 for a GPU-hour (plan.price_per_gpu_hour)." in lines


def test_a_queue_is_named_where_there_is_one():
    text = price_text(price(part("", [3600] * 9), room=Room(jobs=100)))
    assert "about 60 minutes with 9 experiments side by side, waiting in the queue not" in text


def test_unknown_hours_are_said_to_be_unknown():
    text = price_text(price(part("C = 1", [10]), speed=None), "`snakemake calibrate` does it")
    assert "hours" not in text.splitlines()[0]
    assert text.endswith("\nHours are not known: `snakemake calibrate` does it.\n")


def test_rounds_that_are_only_expected_say_so():
    text = price_text(price(part("round 1", [10]), part("round 2", [10], expected=True)))
    assert "round 2, expected" in text


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.0, "1 second"), (1 / 3600, "1 second"),
     (0.02, "72 seconds"), (0.1, "6 minutes"), (1.5, "90 minutes"),
     (10, "10 hours"), (71.26, "71.3 hours"), (100, "4.17 days")],
)  # fmt: skip
def test_a_time_is_said_in_the_unit_of_its_length(hours, text):
    assert duration_text(hours) == text


def test_waves_are_those_of_list_scheduling():
    assert wall_seconds([work(c).C for c in (3, 3, 3)], 2) == 6
