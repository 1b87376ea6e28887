"""Full-resolution image compression with recurrent neural networks: models, codec, training, evaluation."""
