"""Whole networks against PyTorch. A missing PyTorch or transformers is a failure here, never a skip."""
