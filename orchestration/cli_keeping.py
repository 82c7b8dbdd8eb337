"""Commands that keep a lake: what is forgotten, collected, and which model serves."""

from collections.abc import Callable
from typing import Any

COMMANDS: tuple[Callable[..., Any], ...] = ()
