"""The models in the box."""
