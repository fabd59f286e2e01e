"""The seam between the pipeline and a trainer."""
