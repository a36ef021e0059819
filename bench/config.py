"""What people write in TOML: workloads, submissions, rulesets, editions. Unknown keys fail."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BenchError, nearest

Scalar = bool | int | float | str
Hparams = dict[str, Scalar]
Direction = Literal["min", "max"]
Role = Literal["matrix", "conv", "embedding", "norm", "bias", "head"]

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_name(name: str) -> str:
    """Return the name if it can be a folder and a table cell everywhere.

    Raises:
        ValueError: for path separators, blanks, leading punctuation and the like.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"'{name}' is no name: letters, digits, '_' and '-' only")
    return name


Name = Annotated[str, AfterValidator(check_name)]


class Table(BaseModel):
    """A TOML table: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Table):
    """Where a workload's data comes from (bench/data/)."""

    source: Literal["embedded", "hub", "folder"]
    name: str
    """Of the embedded set, the hub's repository, or the folder's path."""
    kind: Literal["images", "text"]
    config: str | None = None
    """The hub's configuration, such as `wikitext-103-raw-v1`."""
    revision: str | None = None
    """The hub's commit."""
    train: int | None = None
    """Examples (images) or bytes (text) to take from the start of the split; None is all."""
    validation: int | None = None
    test: int | None = None


class ScaleConfig(Table):
    """One size of a workload: its data, model, target and budget."""

    target: float
    target_status: Literal["provisional", "calibrated"] = "provisional"
    budget_steps: int = Field(gt=0)
    """Budget in reference steps: the workload's plain SGD step at `batch_size`."""
    batch_size: int = Field(gt=0)
    """Examples in a reference step, and what a submission gets unless it asks for another."""
    eval_every: int = Field(gt=0)
    """Examples between two evaluations."""
    eval_batch_size: int = Field(gt=0)
    data: DataConfig
    model: dict[str, Scalar] = {}
    """Handed to the workload's code, which checks it."""


class WorkloadConfig(Table):
    """workload.toml."""

    name: Name
    title: str
    source: str
    metric: str
    direction: Direction
    loss_lower_bound: float = 0.0
    scales: dict[str, ScaleConfig]


class Dimension(Table):
    """One line of a search space: a range, or a list of choices."""

    low: float | None = None
    high: float | None = None
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    choices: list[Scalar] | None = None

    @model_validator(mode="after")
    def _range_or_choices(self) -> Self:
        if self.choices is not None:
            if not self.choices or self.low is not None or self.high is not None:
                raise ValueError("give either `choices` (one or more), or `low` and `high`")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range needs both `low` and `high`")
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a log scale needs low > 0, not {self.low:g}")
        return self


class RecipeConfig(Table):
    """`[recipe]` of submission.toml: the standard training step, composed of parts."""

    optimizer: str
    """`torch:AdamW`, `package:Class` of an installed library, or `file:Class` of submission.py."""
    options: dict[str, Scalar | list[float]] = {}
    """Keyword arguments of the optimizer that are not tuned."""
    schedule: str = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the horizon in which the learning rate rises linearly from zero."""
    horizon: float = Field(default=1.0, gt=0)
    """Length of the schedule as a fraction of the budget's step hint."""
    end_factor: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end of the horizon, as a fraction of its peak."""
    clip_norm: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, gt=0)
    decay_roles: list[Role] = ["matrix", "conv", "embedding", "head"]
    """Parameters that weight decay applies to."""
    bn_batches: int = Field(default=0, ge=0)
    """Batches that re-estimate batch-norm statistics at the weights to be judged; timed."""


class SubmissionConfig(Table):
    """submission.toml."""

    name: Name
    title: str
    source: str
    requires: list[str] = []
    """Packages that it imports beyond the project's own."""
    recipe: RecipeConfig | None = None
    """None: submission.py defines `configure` or `Submission`."""
    defaults: Hparams = {}
    search_space: dict[str, Dimension] = {}


class RulesetConfig(Table):
    """bench/rulesets/NAME.toml."""

    name: Name
    title: str
    studies: int = Field(gt=0)
    trials: int = Field(gt=0)
    """In each study."""
    budget_factor: float = Field(gt=0)
    """Of the workload's budget."""
    ranked: bool
    """Whether a leaderboard made by these rules may call itself one."""


class EditionConfig(Table):
    """bench/editions/NAME.toml: what is held fixed, so that numbers can be compared."""

    name: str
    title: str
    scale: str
    threads: int = Field(gt=0)
    baseline: Name
    submissions: list[Name]
    """Those that `bench run` takes when it is given none."""
    workloads: dict[Name, str]
    """SHA-256 of each workload's folder; another hash is another edition."""


Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model]) -> Model:
    """Read a TOML file as a config model.

    Raises:
        BenchError: if the file is missing, is not TOML, or does not fit; names file and key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"cannot read {path}: {error.strerror}", "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is not TOML: {error}", "mend the named line") from error
    return parse(table, model, str(path))


def parse(table: Any, model: type[Model], where: str) -> Model:  # noqa: ANN401 - not yet checked
    """Check plain values against a config model.

    Args:
        table: as TOML or JSON gave it.
        model: the expected shape.
        where: the file's path, for the error.

    Raises:
        BenchError: names the file, the key and the nearest key that exists.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise _explain(error, model, where) from error


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> BenchError:
    # A mistyped key is also a missing one: the mistyping is what to tell.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = first["loc"]
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        return BenchError(f"{where}: unknown key '{key}'", nearest(str(location[-1]), known))
    if first["type"] == "missing":
        return BenchError(f"{where}: key '{key}' is missing", "add it")
    reason = first["msg"].removeprefix("Value error, ")
    return BenchError(f"{where}: '{key}': {reason}", "mend that value")


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Follow a path of keys through nested models to the keys allowed at its end."""
    for part in location:
        field = model.model_fields.get(str(part))
        inner = _model_within(field.annotation) if field else None
        if inner is not None:
            model = inner
    return set(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any annotation
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_within(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)
