"""Pictures can be saved, and say what they show."""

from __future__ import annotations

import numpy as np

from davezoo.analysis.pictures import draw_coherence, draw_levels, draw_matrix


def test_coherence_shows_how_many_pairs_it_rests_on(tmp_path):
    figure = draw_coherence([0.0, 0.5], [1.0, 0.2], [8, 2])
    means, pairs = (axes.lines[0] for axes in figure.axes)
    assert means.get_xydata().tolist() == [[0.0, 1.0], [0.5, 0.2]]
    assert pairs.get_xydata().tolist() == [[0.0, 8.0], [0.5, 2.0]]
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_matrix_spans_the_video():
    figure = draw_matrix(np.eye(4), 0.5, "a $ b")
    (image,) = figure.axes[0].images
    assert image.get_extent() == [0, 2, 2, 0]
    assert figure.axes[0].get_title() == "a $ b"


def test_long_videos_are_thinned():
    figure = draw_matrix(np.zeros((2500, 2500)), 0.5, "x")
    (image,) = figure.axes[0].images
    assert image.get_array().shape == (834, 834)
    assert image.get_extent() == [0, 1250, 1250, 0]


def test_levels_are_lines_over_the_events(tmp_path):
    curves = {"audio": [[0.0] * 4, [1.0] * 2], "visual": [[0.0] * 4, [1.0] * 2]}
    seconds = [[0.5, 1.5, 2.5, 3.5], [0.5, 2.5]]
    figure = draw_levels(curves, seconds, [(1.0, 2.0), (1.5, 4.0)], "$x_")
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert [axes.get_ylabel() for axes in figure.axes] == ["audio", "visual"]
    assert figure.axes[0].lines[1].get_xdata().tolist() == [0.5, 2.5]
    spans = [(patch.get_x(), patch.get_width()) for patch in figure.axes[1].patches]
    assert spans == [(1.0, 1.0), (1.5, 2.5)]
    figure.savefig(tmp_path / "x.png")  # an odd `$` must not be read as a formula
