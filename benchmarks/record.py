"""Timing of functions side by side, and the file in which a run is kept; rules in `README.md`."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import davezoo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = Path(__file__).parent / "results"
_SCHEMA = 1
_PACKAGES = ("numpy", "torch", "lightning", "torchmetrics", "pandas", "array-api-compat")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "suite": str,
    "version": str,
    "commit": str,
    "dirty": bool,
    "date": str,
    "machine": dict,
    "device": str,
    "threads": int,
    "seed": int,
    "software": dict,
    "measurements": list,
    "ratios": list,
    "scores": list,
}
_MACHINE_KEYS = {"name", "processor", "cores", "memory_gib", "system", "load"}


class RecordError(ValueError):
    """A benchmark record breaks the layout; the message names the entry."""


@dataclass(frozen=True)
class Measurement:
    """Wall-clock time of one function.

    Args:
        name: what was timed.
        problem: on what, with its size.
        median: seconds.
        quartiles: first and third quartile, seconds.
        repeats: timed calls.
        warm_up: calls before them.
    """

    name: str
    problem: str
    median: float
    quartiles: tuple[float, float]
    repeats: int
    warm_up: int


@dataclass(frozen=True)
class Ratio:
    """Ratio of the medians of two measurements of one run.

    Args:
        name: what it says.
        numerator: name of a measurement.
        denominator: name of a measurement.
        value: the ratio.
    """

    name: str
    numerator: str
    denominator: str
    value: float


@dataclass(frozen=True)
class Score:
    """What trainings reached, one value a seed.

    Args:
        name: what was trained.
        problem: data, settings and unit in words.
        seeds: one a training.
        values: one a training.
    """

    name: str
    problem: str
    seeds: list[int]
    values: list[float]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float:
        """Sample standard deviation over the seeds; 0 for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


def measure(
    functions: dict[str, Callable[[], object]],
    problem: str,
    repeats: int,
    warm_up: int = 1,
    synchronize: Callable[[], None] | None = None,
    prepare: Callable[[str], None] | None = None,
) -> list[Measurement]:
    """Time functions in turns.

    Args:
        functions: calls without arguments, by name.
        problem: what they work on.
        repeats: timed calls of each.
        warm_up: untimed calls of each before.
        synchronize: waits for the device; called before every clock reading.
        prepare: called with the name of a function before it is, untimed.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(-warm_up, repeats):
        for name, function in functions.items():
            if prepare is not None:
                prepare(name)
            if synchronize is not None:
                synchronize()
            start = time.perf_counter()
            function()
            if synchronize is not None:
                synchronize()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    return [
        Measurement(name, problem, statistics.median(times), _quartiles(times), repeats, warm_up)
        for name, times in seconds.items()
    ]


def ratio(name: str, measurements: Sequence[Measurement], over: str, under: str) -> Ratio:
    """Return the ratio of two measurements, given by their names."""
    median = {measurement.name: measurement.median for measurement in measurements}
    return Ratio(name, over, under, median[over] / median[under])


def write_record(
    suite: str,
    measurements: Sequence[Measurement],
    ratios: Sequence[Ratio],
    seed: int,
    threads: int,
    device: str = "cpu",
    folder: Path = RESULTS,
    scores: Sequence[Score] = (),
) -> Path:
    """Write the file of a run and print its path and numbers.

    Args:
        suite: name of the script.
        measurements: all of the run.
        ratios: of measurements of this run.
        seed: seed of the problem.
        threads: threads that each function could use.
        device: `cpu` or the name of the accelerator.
        folder: where versions are kept.
        scores: of trainings.
    """
    record = {
        "schema": _SCHEMA,
        "suite": suite,
        "version": davezoo.__version__,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "device": device,
        "threads": threads,
        "seed": seed,
        "software": {"python": platform.python_version()} | _package_versions(),
        "measurements": [asdict(measurement) for measurement in measurements],
        "ratios": [asdict(ratio) for ratio in ratios],
        "scores": [asdict(score) for score in scores],
    }
    record = json.loads(json.dumps(record, allow_nan=False))
    check_record(record)
    path = folder / davezoo.__version__ / _file_name(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    for m in measurements:
        low, high = m.quartiles
        print(f"{m.name:<32} {m.median:10.4f} s  ({low:.4f}-{high:.4f})  {m.problem}")
    for s in scores:
        print(f"{s.name:<32} {s.mean:10.2f} +- {s.spread:.2f}  {s.values}  {s.problem}")
    for r in ratios:
        print(f"{r.name:<32} {r.value:10.2f}")
    print(path)
    return path


def check_record(record: Any, path: Path | None = None) -> None:
    """Refuse a record that breaks the layout of `README.md`.

    Args:
        record: the content of a file.
        path: the file, whose name must tell the content; None for a record not written yet.

    Raises:
        RecordError: at the first entry that is missing, of another type or inconsistent.
    """
    _require(isinstance(record, dict) and set(record) == set(_TYPES), f"keys {sorted(_TYPES)}")
    for key, kind in _TYPES.items():
        _require(type(record[key]) is kind, f"`{key}` of type {kind}")
    _require(record["schema"] == _SCHEMA, f"`schema` {_SCHEMA}")
    _require(set(record["machine"]) == _MACHINE_KEYS, f"`machine` with {sorted(_MACHINE_KEYS)}")
    _require(record["threads"] >= 1, "`threads` of at least 1")
    datetime.fromisoformat(record["date"])
    for entry in record["measurements"]:
        _require(set(entry) == set(Measurement.__annotations__), "measurements with all fields")
        low, high = entry["quartiles"]
        _require(0 < low <= entry["median"] <= high, f"ordered quartiles of {entry['name']!r}")
        _require(entry["repeats"] >= 1 <= entry["warm_up"], f"repeats of {entry['name']!r}")
    median = {entry["name"]: entry["median"] for entry in record["measurements"]}
    _require(len(median) == len(record["measurements"]), "each measurement once")
    _require(bool(median or record["scores"]), "measurements or scores")
    for entry in record["scores"]:
        _require(set(entry) == set(Score.__annotations__), "scores with all fields")
        _require(0 < len(entry["seeds"]) == len(entry["values"]), "one value a seed")
    for entry in record["ratios"]:
        _require(set(entry) == set(Ratio.__annotations__), "ratios with all fields")
        _require({entry["numerator"], entry["denominator"]} <= set(median), "ratios of this run")
        value = median[entry["numerator"]] / median[entry["denominator"]]
        _require(abs(entry["value"] / value - 1) < 1e-9, f"the value of {entry['name']!r}")
    if path is not None:
        expected = f"{record['version']}/{_file_name(record)}"
        _require(f"{path.parent.name}/{path.name}" == expected, f"the file to be {expected}")


def _require(holds: bool, expectation: str) -> None:
    if not holds:
        raise RecordError(
            f"Expected a record with {expectation}, got something else; run the script again."
        )


def _file_name(record: dict[str, Any]) -> str:
    parts = (record["suite"], record["machine"]["name"], record["device"])
    return "--".join(_slug(part) for part in parts) + ".json"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def _quartiles(times: list[float]) -> tuple[float, float]:
    if len(times) == 1:
        return times[0], times[0]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return low, high


def _machine() -> dict[str, Any]:
    """Describe the machine without naming its owner: no host name, no user."""
    processor = _processor()
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "name": _slug(f"{processor}-{cores}-cores"),
        "processor": processor,
        "cores": cores,
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """Return the name of the processor; Linux keeps it in a file of its own."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text())
        if names:
            return str(names[0]).strip()
    return platform.processor() or platform.machine()


def _package_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = package_version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(RESULTS.parent), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() if answer.returncode == 0 else ""
