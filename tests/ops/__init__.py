"""Tests of the operations.

``registry`` lists them; ``test_all_*`` hold every one of them to what all must do, the other files one each to its own.
"""
