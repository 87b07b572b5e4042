"""How far an image must change before a classifier changes its mind."""
