"""Result rows in: of our runs, of the paper's published files."""
