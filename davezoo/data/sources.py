"""The files of a data set beside its features: annotations, lists, scores of other models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from davezoo.annotations import Annotations, read_annotations, read_blocked
from davezoo.annotations.video_scores import VideoScores, read_video_scores
from davezoo.errors import InputError
from davezoo.json_files import read_content


@dataclass(frozen=True)
class Sources:
    """Which files they are; names are relative to the folder of the data set.

    Where only a file with `.gz` behind its name is there, that is read.

    Args:
        root: folder of the data set.
        annotations: annotation file, or one file a subset; None where there is none.
        classes: file with the names of the classes, or several.
        video_info: table of durations and frame rates, or several.
        labels: what EPIC-Kitchens-100's events are labelled with.
        blocked: list of the videos that the protocol leaves out.
        video_scores: scores of the classes in each video.
    """

    root: Path
    annotations: str | Mapping[str, str] | None
    classes: str | Sequence[str] | None = None
    video_info: str | Sequence[str] | Mapping[str, str] | None = None
    labels: Literal["verb", "noun", "action"] | None = None
    blocked: str | None = None
    video_scores: str | None = None

    def check_annotations(self) -> None:
        """Refuse to go on without annotations.

        Raises:
            InputError: if there are none.
        """
        if self.annotations is None:
            raise InputError(
                "Expected `annotations` to name a file to train, to evaluate or to know the "
                "classes, got null; name it. Without annotations `davezoo predict --ckpt_path` "
                "predicts every video whose features are there."
            )

    def read_annotations(self) -> Annotations:
        """Read the annotations of all subsets.

        Raises:
            InputError: if there are none.
            FileNotFoundError: if a file is absent.
            AnnotationError: if a file is damaged.
        """
        self.check_annotations()
        return read_annotations(
            self._find(self.annotations),
            classes=self._find(self.classes),
            video_info=self._find(self.video_info),
            labels=self.labels,
        )

    def read_blocked(self) -> list[str]:
        """Read which videos the protocol leaves out; none if no list is named."""
        return [] if self.blocked is None else read_blocked(self._find(self.blocked))

    def read_video_scores(self, class_names: Sequence[str]) -> VideoScores | None:
        """Read the scores of the classes in each video, if a file is named."""
        if self.video_scores is None:
            return None
        return read_video_scores(self._find(self.video_scores), class_names)

    def digest(self) -> str:
        """Return the SHA-256 of all files that a score depends on beside the features.

        The same wherever the files lie, whatever they are called and gzipped or not.
        """
        digest = hashlib.sha256(f"labels {self.labels}\n".encode())
        lists = (self.classes, self.video_info, self.blocked, self.video_scores)
        for names in (self.annotations, *lists):
            for key, path in _named(self._find(names)):
                content = read_content(path, InputError)
                # With its length: two files are not the same as one that holds both.
                digest.update(f"{key}: {len(content)} bytes\n".encode() + content)
            digest.update(b"end\n")
        return digest.hexdigest()

    def _find(self, names: Any) -> Any:
        """Return the paths in place of one name, of several, of one a subset, or of none."""
        if isinstance(names, Mapping):
            return {subset: self._find(name) for subset, name in names.items()}
        if isinstance(names, (list, tuple)):
            return [self._find(name) for name in names]
        if names is None:
            return None
        path = self.root / names
        zipped = path.with_name(path.name + ".gz")
        return zipped if zipped.is_file() and not path.is_file() else path


def _named(files: Any) -> list[tuple[str, Path]]:
    """Return one path, several, one a subset or none as pairs of a key and a path."""
    if isinstance(files, Mapping):
        return [(str(key), file) for key, file in files.items()]
    if isinstance(files, list):
        return [(str(key), file) for key, file in enumerate(files)]
    return [] if files is None else [("", files)]
