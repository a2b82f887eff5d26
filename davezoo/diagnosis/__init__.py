"""Why detections are wrong: durations, error types, sensitivity, boundaries, classes, modalities.

Imports no torch, so that `davezoo diagnose` answers at once.
"""
