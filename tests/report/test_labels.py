"""What keys are called on a page: in words, with units, in an order, and nothing that is empty."""

from __future__ import annotations

import pytest

from report import labels

NB = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def test_numbers_bear_their_units_at_a_scale_that_people_read() -> None:
    reported = dict(
        labels.pairs(
            {
                "train_seconds": 12.681155,
                "peak_memory_bytes": 442732544,
                "flops_per_second": 28000000000,
                "tokens_per_second": 70190.745,
                "batch_tokens": 1024,
                "locked_bpb": 1.58059,
            }
        )
    )
    assert reported == {
        "Training took": f"12.681{NB}s",
        "Peak memory": f"442.7{NB}MB",
        "Declared speed": f"28{NB}GFLOP/s",
        "Throughput": f"70{THIN}191{NB}tokens/s",
        "Batch": f"1{THIN}024{NB}tokens",
        "locked_bpb": "1.580590",
    }


def test_what_is_empty_is_left_out_and_what_is_false_or_zero_is_not() -> None:
    assert labels.pairs({"driver": None, "cuda": "", "warnings": [], "compile": False, "checkpoints": 0}) == [
        ("Compiled", "no"),
        ("Checkpoints", "0"),
    ]


def test_blocks_with_value_embeddings_are_named_as_blocks_and_do_not_read_as_a_count() -> None:
    label = "Blocks with value embeddings, counted from 0"
    assert labels.pairs({"value_layers": [0]}) == [(label, "block 0")]
    assert labels.pairs({"value_layers": [1, 3]}) == [(label, "blocks 1, 3")]


def test_keys_stand_in_the_order_of_the_labels_and_unknown_ones_last_under_their_own_name() -> None:
    assert [name for name, _ in labels.pairs({"new_thing": 1, "steps": 2, "val_bpb": 1.5})] == [
        "val_bpb",
        "Steps",
        "new thing",
    ]
    assert labels.name("segments.1.from_step") == "segments 1 from step"


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("train_seconds", 12, f"12.000{NB}s"),
        ("train_seconds", True, f"yes{NB}s"),
        ("train_seconds", "long", f"long{NB}s"),
        ("peak_memory_bytes", 1_000_000, f"1.0{NB}MB"),
        ("peak_memory_bytes", 999_999, f"999{THIN}999{NB}bytes"),
        ("flops_per_second", 1e9, f"1{NB}GFLOP/s"),
        ("model_flops_per_second", 1.26e9, f"1.3{NB}GFLOP/s"),
        ("flops_per_second", 999_999_999, f"999{THIN}999{THIN}999{NB}FLOP/s"),
        ("tokens_per_second", 2.5, f"2{NB}tokens/s"),
        ("tokens_per_second", "many", f"many{NB}tokens/s"),
        ("value_layers", 3, "3"),
        ("seed", 12000, "12000"),
        ("deep.windows", [64, 128], f"64, 128{NB}tokens"),
    ],
)
def test_a_value_is_scaled_where_it_is_a_number_and_large_enough(key: str, value: object, text: str) -> None:
    assert [shown for _, shown in labels.pairs({key: value})] == [text]
    assert [shown for _, shown in labels.pairs({"outer": {key: value}})] == [text]


def test_what_holds_nothing_is_left_out_inside_too_and_a_label_names_the_way_to_it() -> None:
    value = {"machine_part": {"gpu": None, "cores": 4, "deeper": {}}, "a_b": {"c_d": {"torch": "2"}}}
    assert labels.pairs(value) == [("machine part Cores", "4"), ("a b c d torch", "2")]
    assert labels.pairs({"empty": {"gpu": None}}) == []
