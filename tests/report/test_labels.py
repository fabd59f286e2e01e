"""What keys are called on a page: in words, with units, in an order, and nothing that is empty."""

from __future__ import annotations

from report import labels

NB = "\N{NO-BREAK SPACE}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def test_numbers_bear_their_units_at_a_scale_that_people_read() -> None:
    told = dict(
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
    assert told == {
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
