"""The command bin/profile: from tables of features to levels of profiles, scores and a page."""
