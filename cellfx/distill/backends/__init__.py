"""Searches for formulas, each of which returns formulas as text, and what they need to run."""
