"""laws.json, figures and the HTML report, written into a folder."""
