"""Early stopping by the monitored value, in one go and resumed."""

from pathlib import Path

import pytest

from tests.training.runs import RUN, last_checkpoint, refusal, rows, run_main, tiny

WORSE = ("trainer.val_check_interval=2", "trainer.limit_train_batches=10", "trainer.max_steps=16")


def patient(number: int) -> list[str]:
    """No value is ever better by so much."""
    return [f"trainer.early_stopping_patience={number}", "trainer.early_stopping_min_delta=1000"]


def test_ends_after_so_many_validations_without_a_better_value(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_main(tmp_path, *tiny("transfer", *WORSE), *patient(2), "hydra.run.dir=run")
    assert [step for step, _ in rows(tmp_path / "run", "val/loss")] == ["1", "3", "5"]
    assert last_checkpoint(tmp_path / "run")["global_step"] == 6
    assert "stopped early: val/loss has not been better" in capfd.readouterr().err


@pytest.mark.parametrize("stop", [3, 4])
def test_a_resumed_run_stops_where_an_uninterrupted_one_does(stop: int, tmp_path: Path) -> None:
    """Of the validation at step 4 last.ckpt knows nothing; the one that the stop at step 3 makes counts too."""
    run_main(tmp_path, *tiny("transfer", *WORSE), f"trainer.max_steps={stop}", *patient(3), "hydra.run.dir=parts")
    run_main(tmp_path, "resume=parts", "trainer.max_steps=16")
    assert [step for step, _ in rows(tmp_path / "parts", "val/loss")] == (["1", "3", "5", "7"] if stop == 4 else ["1", "2", "3", "5"])


def test_a_value_that_gets_better_goes_on(tmp_path: Path) -> None:
    run_main(tmp_path, *tiny("transfer", "trainer.max_steps=15"), *RUN, "trainer.early_stopping_patience=1", "hydra.run.dir=run")
    assert last_checkpoint(tmp_path / "run")["global_step"] == 15


def test_refusals_and_what_has_no_effect(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "trainer.early_stopping_patience=0" in refusal(tmp_path, *tiny("colorizer"), "trainer.early_stopping_patience=0")
    assert "trainer.early_stopping_min_delta=-1" in refusal(tmp_path, *tiny("colorizer"), "trainer.early_stopping_min_delta=-1")
    run_main(tmp_path, *tiny("colorizer", "trainer.max_steps=1"), "trainer.early_stopping_min_delta=0.1", "hydra.run.dir=run")
    assert "trainer.early_stopping_min_delta is ignored by trainer.early_stopping_patience=null" in capfd.readouterr().err
