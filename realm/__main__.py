"""`python -m realm`, the same as the command `realm`."""

from realm.cli.app import main

if __name__ == "__main__":
    main()
