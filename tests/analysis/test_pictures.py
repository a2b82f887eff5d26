"""Pictures can be saved, and say what they show."""

from __future__ import annotations

import numpy as np

from davezoo.analysis.pictures import draw_curve, draw_levels, draw_matrix


def test_curve(tmp_path):
    figure = draw_curve([0.0, 0.5], [1.0, 0.2], "distance, s", "mean cosine")
    (line,) = figure.axes[0].lines
    assert line.get_xydata().tolist() == [[0.0, 1.0], [0.5, 0.2]]
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_matrix_spans_the_video():
    figure = draw_matrix(np.eye(4), 0.5, "a $ b")
    (image,) = figure.axes[0].images
    assert image.get_extent() == [0, 2, 2, 0]
    assert figure.axes[0].get_title() == "a $ b"


def test_levels_are_lines_at_the_centres_of_their_steps(tmp_path):
    curves = {"audio": [np.zeros(4), np.ones(2)], "visual": [np.zeros(3), np.ones(1)]}
    figure = draw_levels(curves, [1.0, 2.0], "gate", "$x_")
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert figure.axes[0].lines[1].get_xdata().tolist() == [1.0, 3.0]
    figure.savefig(tmp_path / "x.png")  # an odd `$` must not be read as a formula
