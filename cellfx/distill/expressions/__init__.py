"""Formulas as trees: read, evaluated, simplified, measured and written down."""
