from __future__ import annotations

import itertools

import numpy as np
from flops_fit.laws import approach_named, approach_names
from flops_fit.report.style import budget_colours
from matplotlib.colors import to_rgb

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color
# vision deficiency", table of severity 1.0, deuteranomaly; acts on linear RGB.
DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)


def _linear(colour) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _cielab(linear: np.ndarray) -> np.ndarray:
    """Lightness and two opponent axes (CIE 1976, white D65), where distance is what eyes see."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    x, y, z = np.cbrt(np.clip(to_xyz @ linear, 0, None) / to_xyz.sum(axis=1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_stay_apart_for_a_deuteranope():
    approaches = [approach_named(name).colour for name in approach_names()]
    for colours in (approaches, budget_colours(4)):
        seen = [_cielab(np.clip(DEUTERANOPIA @ _linear(c), 0, 1)) for c in colours]
        nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
        # 2.3 is just noticeable side by side; ten is told apart at a glance.
        assert nearest > 10.0


def test_budget_colours_stand_out_from_white():
    for colour in budget_colours(9):
        luminance = np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour)
        assert 1.05 / (luminance + 0.05) > 2.0  # contrast ratio of WCAG 2
