"""Stored images to what models see: NumPy in, NumPy out; fitted on training data, saved and applied again."""
