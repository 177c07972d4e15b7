"""laws.json, report.html and the figures, written into a folder."""
