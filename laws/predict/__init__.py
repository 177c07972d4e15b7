"""Larger budgets: what they will give, and how to spend them."""
