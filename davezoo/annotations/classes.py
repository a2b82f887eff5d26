"""The names of the classes, and the number of each event's class.

Damen et al., "Rescaling Egocentric Vision", IJCV 2022, number an action 300 verb + noun.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import repr as shorten
from typing import Literal

import numpy as np
import pandas as pd

from davezoo.annotations.content import NO_ID, FileContent, is_text
from davezoo.annotations.csv_rows import parse_rows
from davezoo.annotations.table import MOST_CLASSES, AnnotationError, refusal
from davezoo.json_files import read_content

Labels = Literal["verb", "noun", "action"]

NUM_VERBS, NUM_NOUNS = 97, 300  # of EPIC-Kitchens-100

_UNUSED_CLASSES = "class indices without events"
_IDS_IGNORED = "label_id ignored because other events have none"
_IDS_REPLACED = "label_id replaced by the place in the class list"


def read_class_names(
    classes: str | Path | Sequence[str | Path] | None, labels: Labels | None
) -> list[str] | None:
    """Read the names of the classes in order.

    Args:
        classes: a file as `read_class_list` reads it; for `labels="action"` two, of verbs and of
            nouns. None stands for numbered names where `labels` says of what.
        labels: what events of EPIC-Kitchens-100 are labelled with, or None for other data sets.

    Returns:
        Class names, or None where neither argument says them.

    Raises:
        FileNotFoundError: if a file is missing.
        AnnotationError: if a file is damaged, or there are more or fewer than needed.
    """
    paths = [] if classes is None else [classes] if isinstance(classes, str | Path) else classes
    needed = 2 if labels == "action" else 1
    if classes is not None and len(paths) != needed:
        raise AnnotationError(
            f"Expected `classes` to be {needed} file{'s' * (needed - 1)} for `labels` {labels!r}, "
            f"got {len(paths)}; an action needs the list of verbs and the list of nouns, in this "
            "order, everything else one list."
        )
    lists = [read_class_list(Path(path)) for path in paths]
    if labels == "action":
        verbs, nouns = lists or (_numbered("verb", NUM_VERBS), _numbered("noun", NUM_NOUNS))
        if len(nouns) != NUM_NOUNS:
            got = f"{len(nouns)} names"
            raise refusal(str(paths[1]), f"list {NUM_NOUNS} nouns", got, "give verbs, then nouns")
        return [f"{verb} {noun}" for verb in verbs for noun in nouns]
    if lists:
        return lists[0]
    return _numbered(labels, NUM_VERBS if labels == "verb" else NUM_NOUNS) if labels else None


def read_class_list(path: Path) -> list[str]:
    """Read the names of classes in order from one file.

    Args:
        path: a JSON list of names, a csv with the columns `id` and `key` as EPIC-Kitchens-100 has,
            or text with one name a line.

    Raises:
        FileNotFoundError: if there is no such file.
        AnnotationError: if the file is damaged, empty, or names a class twice.
    """
    content = read_content(path, AnnotationError)
    try:
        text = content.decode("utf-8-sig").strip()
        if text.startswith("["):
            names = json.loads(text)
        elif {"id", "key"} <= set(text.partition("\n")[0].replace('"', "").strip().split(",")):
            names = _names_by_id(path, parse_rows(path, content))
        else:
            names = [line.strip() for line in text.splitlines() if line.strip()]
    except AnnotationError:
        raise
    except (ValueError, RecursionError) as fault:
        raise refusal(
            f"the class list {path}", "be text, csv or JSON", str(fault), "correct it"
        ) from fault
    if not names or not all(map(is_text, names)):
        got = shorten(names)
        raise refusal(f"the class list {path}", "hold names", got, "write one name a line")
    if len(set(names)) < len(names):
        double = pd.Index(names)[pd.Index(names).duplicated()][0]
        raise refusal(f"every class in {path}", "occur once", f"{double!r} twice", "remove one")
    return list(names)


def number_classes(
    contents: Sequence[FileContent], class_names: list[str] | None
) -> tuple[np.ndarray, list[str], dict[str, int]]:
    """Number the class of every event.

    With a class list the number is the place in it; otherwise it is `label_id` when every event of
    all files has one; otherwise the rank of the name in alphabetical order, over all files.

    Args:
        contents: what the files say.
        class_names: the class list, or None.

    Returns:
        The class index of every event, file after file, (N,), int64; the class names; the counts of
        repairs.

    Raises:
        AnnotationError: if a name is not in the class list, or two events disagree about the number
            of a name; the message names the event.
    """
    events = pd.concat([content.events for content in contents], ignore_index=True)
    numbered = events["label_id"] != NO_ID
    repairs = {_UNUSED_CLASSES: 0, _IDS_IGNORED: 0, _IDS_REPLACED: 0}
    if class_names is not None:
        labels = pd.Index(class_names).get_indexer(pd.Index(events["name"]))
        if (labels < 0).any():
            _refuse_name(contents, events, int(np.argmax(labels < 0)), class_names)
        repairs[_IDS_REPLACED] = int((numbered & (events["label_id"] != labels)).sum())
    elif numbered.all():
        _check_pairs(contents, events)
        pairs = events.drop_duplicates("label_id")
        name_of: dict[int, str] = dict(zip(pairs["label_id"], pairs["name"], strict=True))
        count = max(name_of, default=-1) + 1
        class_names = [name_of.get(index, f"(no event of class {index})") for index in range(count)]
        labels = events["label_id"].to_numpy()
    else:
        repairs[_IDS_IGNORED] = int(numbered.sum())
        class_names = sorted(set(events["name"]))
        labels = pd.Index(class_names).get_indexer(pd.Index(events["name"]))
    repairs[_UNUSED_CLASSES] = len(class_names) - len(np.unique(labels))
    return labels.astype(np.int64), class_names, repairs


def _numbered(noun: str, count: int) -> list[str]:
    """Return names for classes of which only the number is known."""
    return [f"{noun} {index}" for index in range(count)]


def _names_by_id(path: Path, rows: pd.DataFrame) -> list[str]:
    """Return the column `key` in the order of the column `id`."""
    ids = pd.to_numeric(rows["id"], errors="coerce")
    if len(rows) > MOST_CLASSES or sorted(ids) != list(range(len(rows))):
        raise refusal(
            f"`id` in {path}",
            "hold each number from 0 up once",
            shorten(rows["id"].tolist()),
            "correct the class list",
        )
    names: list[str] = rows["key"].str.strip().iloc[np.argsort(ids.to_numpy())].tolist()
    return names


def _refuse_name(
    contents: Sequence[FileContent], events: pd.DataFrame, index: int, class_names: list[str]
) -> None:
    """Raise the error for an event whose class is not in the list."""
    name = events["name"].iloc[index]
    near = get_close_matches(name, class_names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise refusal(
        f"the class of {_place(contents, index)}",
        f"be one of the {len(class_names)} names in the class list",
        f"{name!r}{hint}",
        "correct the label, or add it to the list",
    )


def _check_pairs(contents: Sequence[FileContent], events: pd.DataFrame) -> None:
    """Refuse a number with two names and a name with two numbers."""
    names = events.groupby("label_id")["name"].transform("first")
    ids = events.groupby("name")["label_id"].transform("first")
    wrong = ((names != events["name"]) | (ids != events["label_id"])).to_numpy(dtype=bool)
    if wrong.any():
        index = int(np.argmax(wrong))
        name, label_id = events["name"].iloc[index], events["label_id"].iloc[index]
        raise refusal(
            f"`label` and `label_id` of {_place(contents, index)}",
            f"agree with the earlier pairs {names.iloc[index]!r}, {label_id} and "
            f"{name!r}, {ids.iloc[index]}",
            f"{name!r}, {label_id}",
            "correct one, or leave `label_id` out of the whole file",
        )


def _place(contents: Sequence[FileContent], index: int) -> str:
    """Say where the event in row `index` of all files together stands."""
    ends = np.cumsum([len(content.events) for content in contents])
    file = int(np.searchsorted(ends, index, side="right"))
    return contents[file].place(index - int(ends[file]) + len(contents[file].events))
