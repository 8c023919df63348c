"""Why a value is refused, in words, with the way out."""

from __future__ import annotations

from neural_gpu_bus.stores.postgres.decoding import layouts
from neural_gpu_bus.stores.postgres.decoding.type_tree import Value

#: Faults of bytes that are no value of their type at all.
MALFORMED = {
    layouts.BAD_BOOL: "boolean that is neither 0 nor 1",
    layouts.BAD_JSONB: "jsonb version",
    layouts.BAD_NUMERIC: "form of numeric",
}


def refusal(node: Value, fault: int, expression: str, *, inside: bool = False) -> tuple[str, str]:
    """What the value is, after its place, and a hint; ``expression``: what to cast, in which the
    value may stand ``inside``: of a range or an array neither isfinite nor nullif can be asked.
    """
    kind = node.type_name
    if node.layout in (layouts.DECIMAL, layouts.NUMERIC_FLOAT):
        return _numeric(node, fault, expression, inside=inside)
    if fault == layouts.IS_INFINITE:
        hint = (
            f"leave such rows out (WHERE isfinite({expression})), or replace them: "
            f"nullif(nullif({expression}, 'infinity'), '-infinity')"
        )
        if inside:
            hint = f"leave such rows out, or cast it: {expression}::text"
        return f"is an infinite {kind}, which Arrow cannot hold", hint
    if node.layout == layouts.TIME:
        return "is 24:00:00, which Arrow cannot hold", f"cast it: {expression}::text"
    if node.layout == layouts.INTERVAL:
        return (
            "is an interval whose time has more nanoseconds than 64 bits hold (292 years)",
            f"cast it: {expression}::text, or justify_interval({expression})"
            if not inside
            else f"cast it: {expression}::text",
        )
    return (
        f"is a {kind} later than Arrow can hold (294247-01-10)",
        f"leave such rows out, or cast it: {expression}::text",
    )


def _numeric(node: Value, fault: int, expression: str, *, inside: bool) -> tuple[str, str]:
    ways = f"read it as it is: numeric='text', or cast it: {expression}::text"
    if fault == layouts.NOT_A_NUMBER:
        return (
            f"is NaN or infinite, which {node.arrow} cannot hold",
            "read it with numeric='float64' or numeric='text'"
            + ("" if inside else f", or nullif({expression}, 'NaN')"),
        )
    if fault == layouts.INEXACT:
        return f"has more digits behind the point than {node.arrow} holds", ways
    if node.layout == layouts.NUMERIC_FLOAT:
        return "is too large or too small for a double", ways
    return f"has more digits than {node.arrow} holds", ways
