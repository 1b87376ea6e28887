"""Options of a run of seconds: a network of one or two iterations on a few pictures."""

NETWORK = ["--model.init_args.width=0.02", "--model.init_args.iterations=2"]
GRU = ["--model=GRUCompressor", "--model.init_args.reconstruction=one_shot", *NETWORK]
DATA_AND_TRAINER = [
    "--data.batch_size=2",
    "--data.steps_per_epoch=3",
    "--data.max_side=64",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.log_every_n_steps=1",
]
