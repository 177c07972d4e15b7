"""Games played by an expert and recorded, one module a family of games."""
