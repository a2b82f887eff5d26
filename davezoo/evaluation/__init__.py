"""Scoring of detections: protocols, temporal average precision, files, results, the metric.

Only `davezoo.evaluation.metric` imports torch, so that `davezoo evaluate` starts at once; nothing
is re-exported here for the same reason.
"""
