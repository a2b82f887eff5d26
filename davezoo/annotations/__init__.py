"""Annotation files of the data sets, read into one table of videos, one of events, one of classes.

Imports neither torch nor lightning: `davezoo evaluate` must start at once.
"""

from davezoo.annotations.activitynet import write_annotations
from davezoo.annotations.lists import read_blocked
from davezoo.annotations.reading import read_annotations
from davezoo.annotations.table import AnnotationError, Annotations

__all__ = [
    "AnnotationError",
    "Annotations",
    "read_annotations",
    "read_blocked",
    "write_annotations",
]
