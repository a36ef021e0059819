"""All that a submission or a workload imports. What is here stays; see docs/submissions.md."""

from bench.budget import Budget
from bench.config import Role, ScaleConfig, WorkloadConfig
from bench.errors import BenchError
from bench.optimizers import build_optimizer
from bench.parts.averaging import Average, plan_average
from bench.parts.batch_norm import estimate_statistics, find_batch_norms, kept_statistics
from bench.parts.clipping import clip_by_global_norm, clip_by_unit, clip_by_value
from bench.parts.schedules import Schedule, make_schedule
from bench.recipe import Recipe, RecipeSubmission
from bench.submission import EvalReport, Submission
from bench.tables import Hparams, Table, parse
from bench.task import Parameter, Reduction, Task
from bench.training_data import TrainingData
from bench.workload import Batch, Split, Workload

__all__ = [
    "Average",
    "Batch",
    "BenchError",
    "Budget",
    "EvalReport",
    "Hparams",
    "Parameter",
    "Recipe",
    "RecipeSubmission",
    "Reduction",
    "Role",
    "ScaleConfig",
    "Schedule",
    "Split",
    "Submission",
    "Table",
    "Task",
    "TrainingData",
    "Workload",
    "WorkloadConfig",
    "build_optimizer",
    "clip_by_global_norm",
    "clip_by_unit",
    "clip_by_value",
    "estimate_statistics",
    "find_batch_norms",
    "kept_statistics",
    "make_schedule",
    "parse",
    "plan_average",
]
