"""From files on disk to what a model is shown: frames, faces, flow, and the cache that holds them."""
