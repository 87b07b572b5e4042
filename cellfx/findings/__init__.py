"""What a model learnt: each finding with its measure, its numbers and its figures. The page puts them in order."""
