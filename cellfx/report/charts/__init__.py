"""Figures by subject, drawn in one style from arrays."""
