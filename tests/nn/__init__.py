"""Tests of the components and of the network they make."""
