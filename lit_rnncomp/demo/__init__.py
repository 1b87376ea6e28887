"""`lit-rnncomp demo`: a page on this machine that shows the codec at work on a photograph, beside JPEG and WebP."""
