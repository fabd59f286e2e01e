"""From a source of text to a corpus folder: inputs -> sources -> tokenizer -> build. See stages/corpus.py."""
