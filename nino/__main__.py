"""``python -m nino``, which is what ``torchrun -m nino`` starts."""

from nino.cli.app import main

if __name__ == "__main__":
    main()
