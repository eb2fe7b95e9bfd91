"""The command line: words around `answering`."""
