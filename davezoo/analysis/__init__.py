"""What the papers show of features and networks: coherence, similarity, gates, windows."""
