"""Profiles as tables: read from the files of labs and other tools, joined, annotated, aggregated and written."""
