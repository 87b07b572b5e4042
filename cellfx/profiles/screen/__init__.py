"""What is asked of a whole screen: its columns, its treatments and subsets, and every score with its null."""
