"""Modules that detectors are built from; plain PyTorch, sequences are (B, T, C) inside."""
