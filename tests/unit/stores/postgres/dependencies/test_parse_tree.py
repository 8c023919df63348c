"""What a parse tree refers to, from pieces as PostgreSQL 14 to 18 write them."""

from __future__ import annotations

import pytest

from neural_gpu_bus.stores.postgres.dependencies.parse_tree import TreeFacts, read_tree


def test_an_empty_tree_refers_to_nothing() -> None:
    assert read_tree("") == TreeFacts()


def test_every_kind_of_reference() -> None:
    tree = (
        "{RANGETBLENTRY :rtekind 0 :relid 16385 :inh true} {RTE :rtekind 1 :relid 0} "
        "{FUNCEXPR :funcid 16394} {OPEXPR :opno 97 :opfuncid 66} {AGGREF :aggfnoid 2803} "
        "{WINDOWFUNC :winfnoid 3100} {SCALARARRAYOPEXPR :opno 96 :opfuncid 65 :hashfuncid 7} "
        "{ROWCOMPAREEXPR :opnos (o 98 664)} {SORTGROUPCLAUSE :eqop 99 :sortop 665} "
        "{COERCEVIAIO :arg {VAR :varno 1} :resulttype 1184}"
    )

    assert read_tree(tree) == TreeFacts(
        relations=frozenset({16385}),
        functions=frozenset({16394, 66, 65, 7, 2803, 3100}),
        operators=frozenset({97, 96, 98, 664, 99, 665}),
        read_types=frozenset({1184}),
    )


@pytest.mark.parametrize(
    ("tree", "flag"),
    [
        ("{SQLVALUEFUNCTION :op 0 :type 1082}", "tells_time"),
        ("{SQLVALUEFUNCTION :op 8 :type 1114}", "tells_time"),
        (":rowMarks ({ROWMARKCLAUSE :rti 1})", "locks_rows"),
        ("{TABLESAMPLECLAUSE :tsmhandler 1 :args <> :repeatable <>}", "draws_sample"),
        ("{NEXTVALUEEXPR :seqid 5 :typeId 20}", "counts_up"),
    ],
)
def test_what_else_it_does(tree: str, flag: str) -> None:
    assert getattr(read_tree(tree), flag) is True


def test_the_user_is_no_moment_and_a_repeatable_sample_is_no_draw() -> None:
    tree = (
        "{SQLVALUEFUNCTION :op 10 :type 19} "
        "{TABLESAMPLECLAUSE :tsmhandler 1 :args <> :repeatable {FUNCEXPR :funcid 316}}"
    )

    assert read_tree(tree) == TreeFacts(functions=frozenset({316}))


def test_a_name_that_looks_like_a_field_is_none() -> None:
    assert read_tree(r"{ALIAS :aliasname :relid\ 99 :colnames (\":funcid\\ 98\")}") == TreeFacts()
