"""Training: the step, the program that runs it on devices, the loop around it, and what the loop writes."""
