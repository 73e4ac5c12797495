"""``python -m mrinterp``."""

from __future__ import annotations

from mrinterp.cli import main

if __name__ == "__main__":
    main()
