"""Floor 1: the networks, in torch with `rnncomp_kernels`; in NumPy what must not wait for torch to start. Nothing is
imported here."""
