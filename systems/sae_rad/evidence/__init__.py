"""Evidence that features mean something: scores on held-out images, and the controls that such scores need."""
