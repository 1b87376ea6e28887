"""Damaged and hostile files, made by chance: whatever they are, a decoder refuses them in one line or draws a picture,
within bounds of memory and time.

`PYTHONPATH=tests python -m fuzz --minutes 10 --seed 1` goes on for ten minutes; what fails is kept in `corpus/`, which
the tests decode again.
"""
