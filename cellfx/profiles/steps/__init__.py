"""Steps from features to profiles: each is fitted to some wells, kept, and applied to others."""
