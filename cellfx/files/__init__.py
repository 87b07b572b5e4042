"""Files on disk: whose a workdir is, and what is wrong with a table that cannot be read."""
