"""What every table of annotations must keep."""

from davezoo.annotations import Annotations


def check_table(annotations: Annotations) -> None:
    videos, events = annotations.videos, annotations.events
    assert videos.index.is_unique
    assert videos.columns.tolist() == ["subset", "duration", "fps"]
    assert videos.dtypes.map(str).tolist() == ["str", "float64", "float64"]
    assert events.columns.tolist() == ["video", "start", "end", "label"]
    assert events.dtypes.map(str).tolist() == ["str", "float64", "float64", "int64"]
    assert events.index.tolist() == list(range(len(events)))
    assert events["video"].isin(videos.index).all()
    assert ((events["start"] >= 0) & (events["start"] <= events["end"])).all()
    assert (events["end"] <= 1e9).all()
    assert events["label"].between(0, len(annotations.class_names) - 1).all()
    for column in ("duration", "fps"):
        assert (videos[column].isna() | (videos[column] > 0)).all()
    assert len(set(annotations.class_names)) == len(annotations.class_names)
    assert all(count >= 0 for count in annotations.repairs.values())
