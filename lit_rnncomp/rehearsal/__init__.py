"""What an hour on a machine with GPUs is for: kernels, and every recipe a few steps in every way, into one file."""
