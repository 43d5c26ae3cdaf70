import subprocess
import sys
from pathlib import Path

PROGRAM = """
from datamodules import CocoConfig, make_data_module
from tests.datamodules.modules import attach_trainer
module = make_data_module(CocoConfig(root={root!r}, image_size=32, num_workers=1), seed=0)
module.prepare_data()
attach_trainer(module)
batches = iter(module.train_dataloader())
print(len(next(batches)))
"""


def test_a_program_ends_while_its_loader_is_alive(coco_root: Path) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(root=str(coco_root))], capture_output=True, text=True, timeout=60, check=False
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == "4\n"
    assert "Traceback" not in completed.stderr
