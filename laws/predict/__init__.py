"""Predictions for larger budgets: the loss and return to expect, and how to spend a budget."""
