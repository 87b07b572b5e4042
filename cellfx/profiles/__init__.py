"""Treatment profiles: features of cells or wells and what is known of them in, profiles and their scores out."""
