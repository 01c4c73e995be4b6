"""The price of a plan for people to read."""

from __future__ import annotations

from flops_fit.plan.price import Cost, Price


def price_text(price: Price, missing: str = "", unforeseen: str = "") -> str:
    """Return experiments, FLOPs, hours and money by part and in total, and where they are from.

    Parameters
    ----------
    missing
        How to get hours where none are known, or not for all sizes.
    unforeseen
        Why later rounds are missing, where they are.
    """
    names = [part.name + (", expected" if part.expected else "") for part in price.parts]
    rows = [(name, price.cost(part.works)) for name, part in zip(names, price.parts, strict=True)]
    if len(price.parts) != 1:
        rows.append(("in total", price.cost(price.works)))
    if 0 < len(price.left) < len(price.works):
        rows.append(("still to train", price.cost(price.left)))
    width = max(len(name) for name, _ in rows)
    hours = hours_name(price)
    header = f"{'':{width}}  {'experiments':>11}  {'FLOPs':>10}"
    header += f"  {hours:>13}" if price.speed else ""
    header += f"  {'money':>10}" if price.speed and price.per_hour is not None else ""
    lines = [header, *(_row(f"{name:{width}}", cost) for name, cost in rows), ""]
    if unforeseen:
        lines.append(f"Later rounds are not foreseen: {unforeseen}.")
    return "\n".join([*lines, *_time_lines(price, missing)]) + "\n"


def hours_name(price: Price) -> str:
    """Return what the hours of processes are called."""
    on_gpus = price.speed is not None and price.speed.on_gpus
    return "GPU-hours" if on_gpus else "process-hours"


def duration_text(hours: float) -> str:
    """Return a time span in the unit that a person would say it in."""
    seconds = hours * 3600
    if seconds < 100:
        return f"{max(1, round(seconds))} second{'s' * (round(seconds) > 1)}"
    if seconds < 6000:
        return f"{seconds / 60:.2g} minutes"
    return f"{hours:.3g} hours" if hours < 72 else f"{hours / 24:.3g} days"


def _row(name: str, cost: Cost) -> str:
    text = f"{name}  {cost.experiments:>11,}  {cost.flops:>10.3g}"
    if cost.process_hours is not None:
        text += f"  {cost.process_hours:>13.3g}"
    if cost.money is not None:
        text += f"  {cost.money:>10,.2f}"
    return text


def _time_lines(price: Price, missing: str) -> list[str]:
    if price.speed is None:
        return [f"Hours are not known: {missing}."] if missing else []
    lines = []
    if not price.left:
        lines.append("Time: nothing is left to train.")
    else:
        side = min(price.side_by_side(price.left), len(price.left))
        beside = f"{side} experiments side by side" if side > 1 else "one experiment at a time"
        queue = ", waiting in the queue not counted" if price.room.jobs is not None else ""
        left = " of what is left" if len(price.left) < len(price.works) else ""
        wall = duration_text(price.wall_hours())
        lines.append(f"Time{left}: about {wall} with {beside}{queue}.")
    lines.append(f"Speed: {price.speed.source}.")
    if price.beyond:
        lines.append(
            f"{price.beyond} experiments have sizes beyond those that were timed: the FLOP/s of "
            f"the nearest are taken for them{f' ({missing})' if missing else ''}."
        )
    if price.per_hour is not None:
        each = "GPU-hour" if price.speed.on_gpus else "process-hour"
        lines.append(f"Money: {price.per_hour:g} for a {each} (plan.price_per_gpu_hour).")
    return lines
