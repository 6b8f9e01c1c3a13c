"""``python -m hashae.cli``."""

from hashae.cli.main import run

run()
