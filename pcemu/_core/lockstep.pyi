from typing import Any

class LockstepDifference(Exception):
    facts: dict[str, Any]
    def __init__(self, facts: dict[str, Any]) -> None: ...
