"""``python -m hashae.cli``."""

from hashae.cli.main import main

main()
