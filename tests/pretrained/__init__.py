"""The models in the box, and pictures as they want them."""
