"""Entry point of `python -m velodrome.scheduler.cli`."""

from velodrome.scheduler.cli import main

if __name__ == "__main__":
    main()
