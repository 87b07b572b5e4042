"""Scores of profiles, one a file. Each looks at similarities and rules, none at a whole screen."""
