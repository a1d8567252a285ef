"""``python -m levit_ref``: the same as the command ``levit-ref``."""

from levit_ref.cli import main

if __name__ == "__main__":
    main()
