"""Floor 2: pictures to files and back. numpy, torch, Pillow and constriction; no lightning, no wandb."""
