"""``python -m itk_embodied``: the same as ``itk-embodied``, for launchers that start a module."""

from itk_embodied.cli import main

if __name__ == "__main__":
    main()
