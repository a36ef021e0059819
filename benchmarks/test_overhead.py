"""What the harness costs a training step: the trainer against a bare loop, in turns."""

import statistics

import pytest
import torch

from bench.clock import SystemClock
from bench.data.order import ExampleOrder
from bench.data.split import load_split
from bench.seeds import derive_seed

ROUNDS = 9


class BareLoop:
    """The loop that anybody would write: same model, batches, optimizer and schedule."""

    def __init__(self, workload, seed: int) -> None:
        self.workload = workload
        self.split = load_split(workload.scale.data, "train")
        self.model = workload.build_model().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        name, count = workload.config.name, workload.count_examples(self.split)
        self.order = ExampleOrder(seed, name, count)
        self.seed = seed
        self.position = 0

    def train(self, examples: int) -> None:
        workload, size = self.workload, self.workload.scale.batch_size
        for _ in range(0, examples, size):
            ids = self.order.ids(self.position, size)
            rng = torch.Generator().manual_seed(derive_seed(self.seed, self.position))
            batch = workload.make_batch(self.split, ids, rng)
            self.position += size
            self.optimizer.zero_grad()
            loss = workload.example_losses(workload.forward(self.model, batch), batch).mean()
            loss.backward()
            self.optimizer.step()


@pytest.mark.parametrize("workload", ["cifar_resnet", "gpt", "bert"])
def test_trainer_against_bare_loop(benchmark, open_trainer, workload):
    bench = open_trainer(workload, "adamw")
    bare = BareLoop(bench.workload, seed=0)
    stretch = bench.workload.scale.eval_every
    clock = SystemClock()
    bare_s, trainer_s = [], []

    def run_bare() -> None:
        began = clock.now()
        bare.train(stretch)
        bare_s.append(clock.now() - began)

    def run_trainer() -> None:
        goal = (bench.trainer.task.data.delivered // stretch + 1) * stretch
        began = clock.now()
        bench.trainer.go({"kind": "go", "examples": goal, "train_s": 0.0, "report": None})
        trainer_s.append(clock.now() - began)

    benchmark.group = "overhead: one stretch between evaluations"
    benchmark.pedantic(run_trainer, setup=run_bare, rounds=ROUNDS, warmup_rounds=1)
    ratios = [bare / own for bare, own in zip(bare_s[1:], trainer_s[1:], strict=True)]
    benchmark.extra_info["speed against bare loop"] = round(statistics.median(ratios), 4)
    benchmark.extra_info["of rounds"] = f"{min(ratios):.3f} to {max(ratios):.3f}"
