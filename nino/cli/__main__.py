"""``python -m nino.cli``."""

from nino.cli.app import main

main()
