"""Tables of results: the published ones, beside which one's own are set.

Nothing here imports torch, so that the commands start at once; nothing is re-exported for the same
reason.
"""
