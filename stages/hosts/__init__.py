"""Host blocks, and how several hosts work on one study through a DVC remote."""
