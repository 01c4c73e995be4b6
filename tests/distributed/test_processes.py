"""The processes that were asked for, no others, and no silent fallback."""

from __future__ import annotations

import os
import subprocess

import pytest
from flops_fit.errors import UserError
from flops_fit.launch.launcher import TRAIN_SCRIPT, accelerate_executable
from flops_fit.plan.files import read_job

# Notes how many numbers of the parameters a process holds while it computes the loss.
WATCH = """


def held_by(outputs):
    import gc
    from torch.distributed.tensor import DTensor

    local = {id(p): p.to_local().numel() for p in gc.get_objects()
             if isinstance(p, DTensor) and isinstance(p, nn.Parameter)}
    open(f"held-{os.getpid()}", "w").write(str(sum(local.values())))


plain_masked_loss = masked_loss


def masked_loss(outputs, targets):
    if os.environ.get("WATCH") and not os.path.exists(f"held-{os.getpid()}"):
        held_by(outputs)
    return plain_masked_loss(outputs, targets)
"""


def train_arguments(launchpad, run_id):
    return [
        str(TRAIN_SCRIPT), f"--study-folder={launchpad.study}", f"--id={run_id}",
        f"--log={launchpad.study / 'logs' / run_id}.log", "--gpus=0", "--threads=1",
    ]  # fmt: skip


def test_one_process_where_two_were_asked_for_is_an_error(launchpad):
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    # This starts ONE process, whatever the number says.
    launcher = [accelerate_executable(), "launch", "--cpu", "--num_processes=2", "--quiet"]
    done = subprocess.run(
        [*launcher, *train_arguments(launchpad, run_id)], env=launchpad.environment(),
        cwd=launchpad.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode != 0
    assert "error: train.processes: 2 processes were asked for, but 1 work together" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()


def test_an_accelerate_configuration_in_the_home_folder_has_no_influence(launchpad, tmp_path):
    run_id = launchpad.plan()[0]
    home = tmp_path / "home"
    config = home / ".cache" / "huggingface" / "accelerate" / "default_config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\nnum_processes: 3\n"
        "num_machines: 1\nmixed_precision: fp16\nuse_cpu: false\ndebug: false\n"
        # With this, accelerate would look for a library that is not installed.
        "deepspeed_config: {zero_stage: 3}\n"
    )
    with_home = launchpad.launch(
        run_id, HOME=str(home), ACCELERATE_MIXED_PRECISION="bf16", ACCELERATE_USE_DEEPSPEED="true"
    )
    (launchpad.study / "runs" / f"{run_id}.json").unlink()
    (launchpad.study / "state" / run_id / "record.json").unlink()
    without = launchpad.launch(run_id)
    assert with_home["world"]["num_processes"] == 1
    assert with_home["loss"] == without["loss"]


@pytest.mark.parametrize("processes", [1, 2])
def test_variables_of_another_launch_have_no_influence(launchpad, processes):
    """Such as those of a pod or of an MPI job that Snakemake runs in."""
    launchpad.config["train"]["processes"] = processes
    run_id = launchpad.plan()[0]
    record = launchpad.launch(
        run_id, RANK="1", WORLD_SIZE="3", LOCAL_RANK="1", LOCAL_WORLD_SIZE="3",
        MASTER_ADDR="localhost", MASTER_PORT="1", PMI_SIZE="3", PMI_RANK="1",
        OMPI_COMM_WORLD_SIZE="3", OMPI_COMM_WORLD_RANK="1", PET_NNODES="2",
    )  # fmt: skip
    assert record["world"]["num_processes"] == processes


# An expert that few samples are sent to, in a model with a part that nothing uses.
EXPERTS = """

class Experts(Perceptron):
    def __init__(self, width):
        super().__init__(width)
        self.expert = nn.Linear(6, 3)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        chosen = x[:, 0] > 1
        outputs = self.layers(x)
        if chosen.any():
            outputs = outputs.index_add(0, chosen.nonzero()[:, 0], self.expert(x[chosen]))
        return outputs
"""


def with_experts(launchpad, processes: int, **train) -> str:
    if not hasattr(launchpad, "experts"):
        (launchpad.path / "points.py").open("a").write(EXPERTS)
        launchpad.experts = True
    launchpad.config["model"]["target"] = "points:Experts"
    launchpad.config["study"] = f"experts{processes}"
    launchpad.config["train"] |= {"processes": processes, **train}
    return launchpad.plan()[0]


def test_parameters_without_a_gradient_are_a_sentence_and_no_hang(launchpad):
    run_id = with_experts(launchpad, 2)
    process = launchpad.start(run_id)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    for said in (output, (launchpad.study / "logs" / f"{run_id}.log").read_text()):
        assert "error: width=4 C=4e+05: parameters of the model got no gradient (" in said
        assert "train.find_unused_parameters: true" in said
        assert "Traceback" not in said
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()


def test_parameters_without_a_gradient_change_nothing_where_they_are_expected(launchpad):
    run_id = with_experts(launchpad, 1)
    one = launchpad.launch(run_id)
    for processes in (2, 4):
        assert with_experts(launchpad, processes, find_unused_parameters=True) == run_id
        several = launchpad.launch(run_id)
        assert several["world"]["num_processes"] == processes
        assert several["steps"] >= 100
        assert several["loss"] == pytest.approx(one["loss"], rel=1e-8)


def test_two_experiments_of_two_processes_each_run_side_by_side(launchpad):
    launchpad.config["train"]["processes"] = 2
    first, second = launchpad.plan()[:2]
    processes = [launchpad.start(run_id) for run_id in (first, second)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    ports = {
        word
        for output in outputs
        for word in output.split()
        if word.startswith("--main_process_port")
    }
    assert len(ports) == 2
    for run_id in (first, second):
        assert launchpad.record(run_id)["world"]["num_processes"] == 2


def test_cpu_threads_are_divided_among_the_processes(launchpad):
    (launchpad.path / "points.py").open("a").write(
        "\n\ndef counting_loss(outputs, targets):\n"
        "    path = os.path.join(os.path.dirname(__file__), f'threads-{os.getpid()}')\n"
        "    policy = os.environ.get('OMP_WAIT_POLICY')\n"
        "    open(path, 'w').write(f'{torch.get_num_threads()} {policy}')\n"
        "    return mean_loss(outputs, targets)\n"
    )
    launchpad.config["loss"] = "points:counting_loss"
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    for path in launchpad.path.glob("threads-*"):
        path.unlink()
    command = launchpad.command(run_id, threads=2)  # torch takes no more than there are cores
    # Snakemake tells every library the threads of the whole job.
    of_job = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    environment = launchpad.environment(**of_job)
    environment.pop("OMP_WAIT_POLICY", None)
    subprocess.run(command, env=environment, cwd=launchpad.path, check=True, timeout=600)
    reports = [path.read_text() for path in launchpad.path.glob("threads-*")]
    assert reports == ["1 PASSIVE", "1 PASSIVE"]


def test_a_dataset_that_changed_since_the_plan_is_refused(launchpad):
    run_id = launchpad.plan()[0]
    (meta,) = (launchpad.path / "results" / "data").glob("*/meta.json")
    meta.write_text(
        meta.read_text().replace('"content_fingerprint": "', '"content_fingerprint": "0')
    )
    process = launchpad.start(run_id)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "the dataset was prepared again with other content; run snakemake again" in output
    assert "Traceback" not in output


def test_a_dataset_that_changed_in_place_ends_all_processes_in_one_sentence(launchpad):
    launchpad.config["train"]["processes"] = 2
    run_id = launchpad.plan()[0]
    points = launchpad.path / "points.py"
    points.write_text(points.read_text().replace("manual_seed(n)", "manual_seed(n + 1)"))
    process = launchpad.start(run_id)
    output, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "the train split is not the one that was planned" in output
    assert "Traceback" not in output
    assert not (launchpad.study / "runs" / f"{run_id}.json").exists()


def test_numbers_of_another_processor_are_not_taken_for_other_data(launchpad):
    """Its samples are random numbers of torch, which rounds them as the processor's kernels do."""
    other = "default" if os.environ.get("ATEN_CPU_CAPABILITY") != "default" else "avx2"
    launchpad.launch(launchpad.plan()[0], ATEN_CPU_CAPABILITY=other)


def test_an_accelerate_configuration_of_the_study_is_used(launchpad):
    own = launchpad.path / "own.yaml"
    own.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 7\n"
        "num_machines: 1\nmixed_precision: 'no'\nuse_cpu: false\ndebug: false\n"
    )
    launchpad.config["train"] |= {"processes": 2, "accelerate_config": "own.yaml"}
    run_id = launchpad.plan()[0]
    record = launchpad.launch(run_id)
    assert record["world"]["num_processes"] == 2  # the study's number, not the file's
    log = (launchpad.study / "logs" / f"{run_id}.log").read_text()
    assert f"--config_file={own}" in log


def test_processes_follow_the_size_of_the_model(launchpad):
    launchpad.config["train"]["processes"] = [
        {"from_params": 0, "processes": 1},
        {"from_params": "100", "processes": 2},
        {"from_params": 1e6, "processes": 8},
    ]
    ids = launchpad.plan()
    jobs = [read_job(launchpad.study / "specs.json", run_id) for run_id in ids]
    # 7 w + 3 (w + 1) parameters at the widths 4, 8 and 16
    assert [job.n_params for job in jobs] == [43, 83, 163]
    assert [job.processes for job in jobs] == [1, 1, 2]


@pytest.mark.parametrize("processes", [2, 4])
def test_sharded_parameters_give_the_same_loss(launchpad, processes):
    """FSDP shards for real, over processes on the CPU, and changes no digit of the science."""
    (launchpad.path / "points.py").open("a").write(WATCH)
    (launchpad.path / "fsdp.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_processes: 7\n"
        "num_machines: 1\nmixed_precision: 'no'\nuse_cpu: false\ndebug: false\n"
        "fsdp_config: {fsdp_version: 2, fsdp_auto_wrap_policy: SIZE_BASED_WRAP, "
        "fsdp_min_num_params: 20, fsdp_reshard_after_forward: true, "
        "fsdp_cpu_ram_efficient_loading: false}\n"
    )
    launchpad.config["loss"] = "points:masked_loss"
    # 62 chunks: some of 4 processes have fewer of them to evaluate than others
    launchpad.config["train"] |= {"batch": 12, "eval_units": 62}
    run_id = launchpad.plan()[0]
    whole = launchpad.launch(run_id)
    launchpad.config["study"] = "sharded"
    launchpad.config["train"] |= {"processes": processes, "accelerate_config": "fsdp.yaml"}
    assert launchpad.plan()[0] == run_id
    sharded = launchpad.launch(run_id, WATCH="1")
    held = [int(path.read_text()) for path in launchpad.path.glob("held-*")]
    assert len(held) == processes
    assert sum(held) == whole["n_params"]
    assert max(held) < whole["n_params"]
    assert sharded["world"]["num_processes"] == processes
    assert sharded["steps"] >= 100
    assert sharded["loss"] == pytest.approx(whole["loss"], rel=1e-8)
    assert sharded["loss_std_err"] == pytest.approx(whole["loss_std_err"], rel=1e-7)
    for row, expected in zip(sharded["curve"], whole["curve"], strict=True):
        assert row[2] == pytest.approx(expected[2], rel=1e-8)


def test_shards_need_equal_shares(launchpad):
    (launchpad.path / "fsdp.yaml").write_text(
        "distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n"
    )
    launchpad.config["train"] |= {"processes": 4, "accelerate_config": "fsdp.yaml"}
    with pytest.raises(UserError) as caught:
        launchpad.plan()
    assert "10 units are 10 samples, expected a multiple of the 4 processes" in str(caught.value)


def test_a_compiled_model_gives_the_same_loss(launchpad, tmp_path):
    run_id = launchpad.plan()[0]
    plain = launchpad.launch(run_id)
    launchpad.config["study"] = "compiled"
    launchpad.config["train"]["compile"] = True
    assert launchpad.plan()[0] == run_id
    cache = tmp_path / "inductor"
    compiled = launchpad.launch(run_id, TORCHINDUCTOR_CACHE_DIR=str(cache))
    assert list(cache.rglob("*.cpp")), "torch.compile generated no code"
    assert compiled["loss"] == pytest.approx(plain["loss"], rel=1e-8)
