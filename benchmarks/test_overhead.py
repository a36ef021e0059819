"""What the harness costs a training step: the trainer against a bare loop, in turns."""

import statistics

import pytest
import torch

from bench.clock import SystemClock
from bench.data.order import ExampleOrder
from bench.data.split import load_split
from bench.manifests import read_submission
from bench.parts.schedules import make_schedule
from bench.seeds import derive_seed

ROUNDS = 9
HORIZON, WARM_UP = 0.75, 0.05
"""Of submissions/adamw/submission.toml."""


class BareLoop:
    """The loop that anybody would write, doing the very same arithmetic as the trainer.

    Otherwise other values would be timed: denormals are slow, and a learning rate brings them.
    """

    def __init__(self, workload, order) -> None:
        self.workload, self.seed = workload, order.seed
        self.name = workload.config.name
        self.split = load_split(workload.scale.data, "train")
        torch.manual_seed(derive_seed(order.seed, self.name, "model"))
        self.model = workload.build_model().train()
        values = read_submission(order.submission_folder).defaults
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        vectors = [p for p in self.model.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": values["weight_decay"]},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=values["lr"],
            betas=(values["beta1"], values["beta2"]),
        )
        steps = round(HORIZON * workload.scale.budget_steps)
        factor = make_schedule("warmup_cosine", steps, warmup=WARM_UP)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        self.order = ExampleOrder(order.seed, self.name, workload.count_examples(self.split))
        self.position = 0

    def train(self, examples: int) -> None:
        workload, size = self.workload, self.workload.scale.batch_size
        for _ in range(0, examples, size):
            ids = self.order.ids(self.position, size)
            seed = derive_seed(self.seed, self.name, "augment", "loader", self.position)
            batch = workload.make_batch(self.split, ids, torch.Generator().manual_seed(seed))
            self.position += size
            self.optimizer.zero_grad()
            loss = workload.example_losses(workload.forward(self.model, batch), batch).mean()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()


@pytest.mark.parametrize("workload", ["cifar_resnet", "gpt", "bert"])
def test_trainer_against_bare_loop(benchmark, open_trainer, workload):
    bench = open_trainer(workload, "adamw")
    bare = BareLoop(bench.workload, bench.trainer.order)
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
    trained = bench.trainer.task.model.state_dict()
    assert all(torch.equal(t, trained[name]) for name, t in bare.model.state_dict().items())
    ratios = [bare / own for bare, own in zip(bare_s[1:], trainer_s[1:], strict=True)]
    benchmark.extra_info["speed against bare loop"] = round(statistics.median(ratios), 4)
    benchmark.extra_info["of rounds"] = f"{min(ratios):.3f} to {max(ratios):.3f}"
