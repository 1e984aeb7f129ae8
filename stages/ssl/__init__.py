"""Self-supervised training: backbones, views, rows, methods, and the one loop that runs them."""
