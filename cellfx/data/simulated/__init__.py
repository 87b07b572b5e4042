"""What simulated data sets share: numbered examples, and the light of a nucleus in a camera."""
