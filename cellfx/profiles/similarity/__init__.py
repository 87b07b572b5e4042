"""Similarities of all pairs of profiles, a block at a time, and rules that say which pairs count."""
