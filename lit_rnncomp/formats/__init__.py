"""What Pillow does not read right of picture files, and what stands in them beside the pixels; one module a format.

NumPy and Pillow only. `lit_rnncomp.images` is the way in.
"""
