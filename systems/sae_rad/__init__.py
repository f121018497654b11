"""SAE-Rad: a sparse autoencoder over image embeddings, its features described, the descriptions composed."""

from systems.sae_rad.system import SAERad

__all__ = ["SAERad"]
