"""What an experiment asks of a batch system."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flops_fit.errors import UserError
from flops_fit.launch.resources import Site, nodes_for, request
from flops_fit.plan.experiment import PlannedExperiment
from hand_computed import planned


def row(processes: int) -> PlannedExperiment:
    """An experiment of 1e18 FLOPs and 1e9 parameters."""
    return replace(planned().experiments[0], processes=processes, C=1e18, n_params=10**9)


def site(**more) -> Site:
    return Site(gpus_per_node=8, flops_per_second=1e14, **more)


def test_one_machine_is_asked_for_nothing_that_only_a_cluster_knows():
    asked = request(row(16), Site())
    assert (asked.threads, asked.gpu) == (16, 16)
    rest = ("gpu_model", "nodes", "tasks", "mpi", "slurm_extra")
    assert {getattr(asked, name) for name in rest} == {None}


def test_an_experiment_on_one_node_is_one_task_with_all_its_gpus():
    asked = request(row(4), site(gpu_type="a100", cpus_per_process=6))
    assert (asked.gpu, asked.gpu_model, asked.threads) == (4, "a100", 24)
    # Without a number of nodes SLURM spreads the GPUs over nodes that are in use in part.
    assert (asked.nodes, asked.tasks, asked.mpi) == (1, None, None)
    assert asked.slurm_extra == "--signal=USR1@120"


def test_more_processes_than_a_node_has_gpus_fill_several_nodes():
    asked = request(row(16), site(gpu_type="a100", cpus_per_process=2, sbatch_options="--nice"))
    assert (asked.nodes, asked.tasks, asked.mpi, asked.threads) == (2, 2, "srun", 16)
    assert (asked.gpu, asked.gpu_model) == (None, None)
    options = "--signal=USR1@120 --gpus-per-node=a100:8 --ntasks-per-node=1 --nice"
    assert asked.slurm_extra == options


def test_memory_is_that_of_the_processes_of_one_node():
    # 4000 MB and 16 bytes for each of 1e9 parameters, per process
    assert request(row(4), site()).mem_mb == 4 * 20_000
    assert request(row(16), site()).mem_mb == 8 * 20_000
    assert request(row(4), site(), attempt=2).mem_mb == 8 * 20_000
    assert request(row(4), site(), attempt=5).mem_mb == 8 * 20_000


def test_time_follows_the_flops_and_grows_with_the_attempt():
    # 1e18 FLOPs on 4 x 1e14 FLOP/s are 2500 seconds, 41.7 minutes
    assert [request(row(4), site(), attempt).runtime for attempt in (1, 2, 3)] == [94, 177, 260]
    assert request(row(8), site()).runtime == 52
    assert request(row(4), site(max_minutes=60), attempt=3).runtime == 60


def test_nodes_without_gpus_are_asked_for_none():
    asked = request(row(16), Site(gpus_per_node=0))
    assert (asked.gpu, asked.gpu_model, asked.nodes, asked.threads) == (None, None, 1, 16)
    assert asked.slurm_extra == "--signal=USR1@120"
    assert asked.mem_mb == 16 * 20_000


def test_a_type_that_the_executor_refuses_is_asked_of_slurm_itself():
    asked = request(row(4), site(gpu_type="nvidia_a100-sxm4-80gb"))
    assert (asked.gpu, asked.gpu_model, asked.nodes, asked.tasks) == (None, None, 1, None)
    assert asked.slurm_extra == "--signal=USR1@120 --gpus-per-node=nvidia_a100-sxm4-80gb:4"


def test_a_node_that_would_be_filled_in_part_is_refused():
    assert [nodes_for(processes, 8) for processes in (1, 8, 16, 64)] == [1, 1, 2, 8]
    with pytest.raises(UserError, match=r"train\.processes: found 20 .* such as 16"):
        nodes_for(20, 8)


def test_values_are_read_as_a_profile_spells_them():
    found = Site.from_resources(
        {"gpus_per_node": 4, "flops_per_second": "2.5e+13", "gpu_type": "h100", "mem_mb": "9"}
    )
    assert found == Site(gpus_per_node=4, flops_per_second=2.5e13, gpu_type="h100")
    # Snakemake puts quotes around 2e9, and users around words that would be evaluated
    found = Site.from_resources({"flops_per_second": "'2e9'", "gpu_type": '"a100"'})
    assert found == Site(flops_per_second=2e9, gpu_type="a100")
    assert Site.from_resources({"gpu_type": 3090}).gpu_type == "3090"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpus_per_nodes", "gpus_per_node"),
        ("gpu_per_node", "gpus_per_node"),
        ("cpu_per_process", "cpus_per_process"),
        ("max_minute", "max_minutes"),
        ("sbatch_option", "sbatch_options"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_right_one(name, meant):
    with pytest.raises(UserError, match=rf"^{name} \(.*\): is unknown, expected {meant}$"):
        Site.from_resources({"gpus_per_node": 4, name: 4})


def test_names_of_snakemake_and_of_its_executors_are_left_alone():
    names = (
        "tmpdir", "_cores", "mem_mb", "mem_mb_per_cpu", "disk_mb", "runtime", "nodes", "tasks",
        "tasks_per_node", "tasks_per_gpu", "cpus_per_task", "cpus_per_gpu", "gpu", "gpu_model",
        "gpu_manufacturer", "gres", "constraint", "qos", "slurm_account", "slurm_partition",
        "slurm_extra", "clusters",
    )  # fmt: skip
    assert Site.from_resources(dict.fromkeys(names, 1)) == Site()


def test_slurm_without_a_word_about_its_nodes_is_refused():
    with pytest.raises(UserError, match=r"^gpus_per_node .* or 0 to train on CPUs"):
        Site.from_resources({"mem_mb": 4}, "slurm")
    assert Site.from_resources({"gpus_per_node": 0}, "slurm") == Site(gpus_per_node=0)
    assert Site.from_resources({"mem_mb": 4}, "local") == Site()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpus_per_node", "many"),
        ("gpus_per_node", -1),
        ("gpus_per_node", 1.5),
        ("flops_per_second", 0),
        ("flops_per_second", "inf"),
        ("max_minutes", "1d"),
        ("max_minutes", 4),
        ("gpu_type", "gpu:a100:4"),
        ("gpu_type", "a100 --exclusive"),
        ("cpus_per_process", 0),
    ],
)
def test_a_wrong_value_of_the_profile_is_named(name, value):
    with pytest.raises(UserError, match=rf"{name} \(set-resources of the rule train\): found"):
        Site.from_resources({name: value})
