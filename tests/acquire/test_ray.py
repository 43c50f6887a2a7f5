"""A Ray cluster of one machine brings the same output as one process; what goes wrong in it is told as elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from acquire.fetch_support import (
    data_files,
    pictures,
    remnants,
    rows_of,
    run,
    site_of,
    stable_provenance,
    write_list,
)
from acquire.servers import Asked, page, serve
from bezoar.acquire import ray_workers
from bezoar.errors import BezoarError, OutputError

ray = pytest.importorskip("ray")
HOW: dict[str, Any] = {"per_shard": 5, "distributor": "ray", "processes": 2}


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One for all tests: to start it takes seconds."""
    tests = Path(__file__).parents[1]
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": str(tests)}})
    yield
    ray.shutdown()


def test_the_same_output(tmp_path: Path) -> None:
    contents = pictures(33)
    with serve(site_of(contents, _3=page(b"other"), _20=page(b"gone", 404))) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "one", per_shard=5)
        report = run(path, tmp_path / "ray", **HOW)
        assert (report.tally.verified, report.tally.quarantined, report.shards) == (31, 1, 7)
        (tmp_path / "ray" / "00002.tar").unlink()
        assert run(path, tmp_path / "ray", **HOW).resumed == 6
    assert data_files(tmp_path / "ray") == data_files(tmp_path / "one")
    assert stable_provenance(tmp_path / "ray") == stable_provenance(tmp_path / "one")
    assert not remnants(tmp_path / "ray")


def test_a_worker_that_dies_loses_nothing(tmp_path: Path) -> None:
    contents = pictures(30)
    workers: list[ray_workers.RayWorkers] = []

    def deadly(asked: Asked) -> Iterator[bytes | float]:
        for worker in workers[0]._workers:
            ray.kill(worker)
        yield 0.5

    class Watched(ray_workers.RayWorkers):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            workers.append(self)

    honest = site_of(contents)
    with serve({**honest, "/17.jpg": deadly}) as server, pytest.MonkeyPatch.context() as patch:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        patch.setattr(ray_workers, "RayWorkers", Watched)
        with pytest.raises(
            BezoarError, match=r"a worker of the Ray cluster ended .*the same command goes on"
        ):
            run(path, tmp_path / "ray", **HOW)
        server.site = honest
        assert run(path, tmp_path / "ray", **HOW).tally.verified == 30
    assert sorted(rows_of(tmp_path / "ray", "key")) == sorted({*rows_of(tmp_path / "ray", "key")})
    assert not remnants(tmp_path / "ray")


def test_a_machine_that_does_not_see_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = pictures(6)
    real = ray_workers.RayWorkers

    class Elsewhere(real):
        def run(self, tasks: Any) -> Any:
            shutil.move(tmp_path / "ray.fetch", tmp_path / "hidden")
            try:
                yield from super().run(tasks)
            finally:
                shutil.move(tmp_path / "hidden", tmp_path / "ray.fetch")

    monkeypatch.setattr(ray_workers, "RayWorkers", Elsewhere)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        with pytest.raises(OutputError, match="storage that all machines of the cluster share"):
            run(path, tmp_path / "ray", **HOW)
    assert not list((tmp_path / "ray").iterdir())


def test_a_fault_of_a_worker_is_told_as_it_is(tmp_path: Path) -> None:
    contents = pictures(6)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        run(path, tmp_path / "ray", **HOW)
        (tmp_path / "ray" / "00001.tar").unlink()
        (tmp_path / "ray" / "00001.tar").mkdir()
        with pytest.raises(OutputError):
            run(path, tmp_path / "ray", **HOW)


def test_a_cluster_without_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would be fetched, and the fetch would end as if all were well."""
    contents = pictures(3)
    monkeypatch.setattr(ray, "cluster_resources", dict)
    with serve(site_of(contents)) as server:
        path = write_list(tmp_path / "list.csv", server.url, contents)
        with pytest.raises(BezoarError, match="no core to fetch with"):
            run(path, tmp_path / "ray", **HOW)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere.invalid:6379"])
def test_a_cluster_that_does_not_answer(address: str) -> None:
    with pytest.raises(BezoarError, match="no Ray cluster answers there"):
        ray_workers._check_address(address)


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_addresses_that_ray_resolves_itself(address: str) -> None:
    ray_workers._check_address(address)
