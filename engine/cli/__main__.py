"""``python -m merkit.engine.cli`` is mer-label."""

from .label import main

if __name__ == "__main__":
    main()
