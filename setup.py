"""Builds the package. The C++ extension of csrc/ will be built here; everything else is in pyproject.toml."""

from setuptools import setup

setup()
