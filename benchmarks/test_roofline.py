"""How near each step comes to the machine's own matrix product, and what else it does."""

import statistics

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from turns import Turns

SIDE = 2048
STEPS, ROUNDS, SHOWN = 10, 15, 8


def count_flops(train) -> int:
    """Return the floating-point operations of products and convolutions in a step."""
    with FlopCounterMode(display=False) as counter:
        train(1)
    return counter.get_total_flops()


@pytest.mark.parametrize("workload", ["gpt", "bert", "cifar_resnet"])
def test_roofline(benchmark, open_trainer, workload):
    bench = open_trainer(workload, "adamw")
    left, right = torch.randn(2, SIDE, SIDE)
    product = torch.empty(SIDE, SIDE)
    step_flops = count_flops(bench.train)
    stretches = {
        "step": lambda: bench.train(STEPS),
        "product": lambda: [torch.mm(left, right, out=product) for _ in range(STEPS)],
    }
    turns = Turns(stretches, STEPS, ROUNDS)
    benchmark.group = "roofline"
    benchmark.pedantic(turns.take, rounds=1)
    step_s, product_s = (statistics.median(turns.seconds[name]) / STEPS for name in stretches)
    peak = 2 * SIDE**3 / product_s
    benchmark.extra_info["GFLOP a step"] = step_flops / 1e9
    benchmark.extra_info["ms a step"] = step_s * 1e3
    benchmark.extra_info["peak of the product, GFLOP/s"] = peak / 1e9
    shares = [
        step_flops / (2 * SIDE**3) * product / step
        for step, product in zip(turns.seconds["step"], turns.seconds["product"], strict=True)
    ]
    benchmark.extra_info["share of the peak, %"] = 100 * statistics.median(shares)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        bench.train(STEPS)
    operations = profiler.key_averages()
    total = sum(operation.self_cpu_time_total for operation in operations)
    longest = sorted(operations, key=lambda operation: -operation.self_cpu_time_total)
    for operation in longest[:SHOWN]:
        share = 100 * operation.self_cpu_time_total / total
        benchmark.extra_info[f"{operation.key}, % of time"] = share
