"""The program, `peculiar` or `python -m peculiar`."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is loaded ends it at once, for nothing is begun."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from peculiar.cli import app

    app()


if __name__ == "__main__":
    main()
