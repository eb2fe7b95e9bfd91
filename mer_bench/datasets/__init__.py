"""Corpora, one file each; parts that several share begin with an underscore."""
