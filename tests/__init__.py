"""Tests of levit_ref; the folders mirror the package."""
