"""`python -m davezoo`."""

from davezoo.cli import main

if __name__ == "__main__":
    main()
