#!/bin/bash
# A run on a SLURM cluster that goes on where it was:
#   sbatch configs/slurm.sh NAME --config configs/model/gru_one_shot.yaml --config configs/data/hard_tiles.yaml ...
# The same line serves the first start and every other. NAME is the folder of the run.
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120

name=$1
shift
srun lit-rnncomp fit "$@" --trainer.logger.init_args.version "$name" --ckpt_path last \
  --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE"
code=$?

# 143: asked to end (time is up, or the machine is wanted back), and the checkpoint is written. Anything else is an end.
if [ "$code" = 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit
fi
exit "$code"
