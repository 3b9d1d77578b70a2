"""Files: pytrees of arrays as safetensors."""

from anneal.io.safetensors import load_safetensors, save_safetensors

__all__ = ["load_safetensors", "save_safetensors"]
