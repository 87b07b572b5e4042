"""Folders of images prepared once as records by TFDS builders, and read in any order."""
