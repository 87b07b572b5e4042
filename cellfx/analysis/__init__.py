"""Functions in, arrays out: what a trained encoder and decoder have learned, as numbers, figures and a report."""
