"""Fixtures of the network's parts."""

from tests.nn.tokens import golden_tokens

__all__ = ["golden_tokens"]
