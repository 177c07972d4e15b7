"""Result rows: read from files of `eval`, or imported from the paper's published measurements."""
