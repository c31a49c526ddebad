"""The command `lyra-mcp`."""

import sys


def main() -> None:
    from lyra_mcp.cli import app  # noqa: PLC0415 - the command line is loaded when it is run, not when it is imported

    app(args=sys.argv[1:] or ["serve"], prog_name="lyra-mcp")


if __name__ == "__main__":
    main()
