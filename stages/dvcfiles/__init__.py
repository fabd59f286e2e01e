"""The files that DVC writes and reads: dvc.lock, dvc.yaml, and its cache."""
