from davezoo.annotations import read_annotations


def test_class_agnostic(shared):
    annotations = read_annotations(shared / "data/thumos14/thumos14.json.gz").class_agnostic()
    assert annotations.class_names == ["event"]
    assert set(annotations.events["label"]) == {0}
    assert annotations.events.dtypes["label"] == "int64"
