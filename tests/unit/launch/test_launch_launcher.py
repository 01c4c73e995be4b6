"""One experiment becomes one `accelerate launch`, or nothing where it is finished already."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from flops_fit.errors import UserError
from flops_fit.files.writing import write_json
from flops_fit.launch import launcher as launch
from flops_fit.launch import leases
from flops_fit.launch.slurm import Rendezvous
from flops_fit.plan.files import plan_jobs, plan_specs
from flops_fit.plan.job import Job
from flops_fit.plan.plan import make_plan
from flops_fit.records.experiment_files import is_held, state_folder
from flops_fit.records.run_record import read_record, store_record
from hand_computed import dataset_meta, measures, run_record, small_study, spec_of

ARGUMENTS = ["--study-folder=results/x", "--id=0123456789ab", "--log=x.log"]
HERE = Rendezvous(nodes=1, rank=0, address="localhost", port=4321)


def job(processes: int = 1, precision: str = "no", config: str | None = None) -> Job:
    study = small_study({"train.precision": precision})
    plan = make_plan(study, measures(study), dataset_meta())
    first, *_ = plan_jobs(plan, study, data_folder="data", search_folder=".").values()
    return replace(first, processes=processes, accelerate_config=config)


def understood(command: list[str]):
    """What accelerate itself reads from a command."""
    assert Path(command[0]).name == "accelerate"
    assert command[1] == "launch"
    return launch_command_parser().parse_args(command[2:])


@pytest.mark.parametrize(
    ("precision", "mixed"), [("no", "no"), ("bf16", "bf16"), ("fp16", "fp16"), ("float64", "no")]
)
def test_accelerate_understands_a_single_process(precision, mixed):
    options = understood(launch.accelerate_command(job(precision=precision), ARGUMENTS))
    assert (options.num_processes, options.num_machines, options.machine_rank) == (1, 1, 0)
    assert options.mixed_precision == mixed
    assert options.dynamo_backend == "no"
    assert not options.multi_gpu
    assert Path(options.training_script) == launch.TRAIN_SCRIPT
    assert options.training_script_args == ARGUMENTS


def test_accelerate_understands_several_processes():
    options = understood(launch.accelerate_command(job(processes=3), ARGUMENTS, HERE))
    assert (options.num_processes, options.main_process_port, options.multi_gpu) == (3, 4321, True)
    assert options.training_script_args == ARGUMENTS


def test_accelerate_understands_its_place_among_several_nodes():
    rendezvous = Rendezvous(nodes=2, rank=1, address="10.0.0.7", port=4321)
    options = understood(launch.accelerate_command(job(processes=4), ARGUMENTS, rendezvous))
    # accelerate's number of processes is the total over the machines
    assert (options.num_processes, options.num_machines, options.machine_rank) == (4, 2, 1)
    assert (options.main_process_ip, options.main_process_port) == ("10.0.0.7", 4321)
    assert options.multi_gpu


def test_what_is_launched_exists():
    command = launch.accelerate_command(job(), [])
    assert os.access(command[0], os.X_OK)
    assert Path(command[0]).parent == Path(sys.executable).parent
    assert launch.TRAIN_SCRIPT.is_file()


def test_the_users_own_accelerate_configuration_decides_nothing():
    options = understood(launch.accelerate_command(job(), ARGUMENTS))
    assert Path(options.config_file) == launch.ACCELERATE_CONFIG
    ours = yaml.safe_load(launch.ACCELERATE_CONFIG.read_text(encoding="utf-8"))
    assert (ours["num_processes"], ours["num_machines"]) == (1, 1)
    assert (ours["mixed_precision"], ours["distributed_type"]) == ("no", "NO")


def test_a_configuration_of_the_studys_own_says_how_processes_work_together():
    """Its number of processes and its precision are overruled: these belong to the study."""
    command = launch.accelerate_command(
        job(processes=3, precision="bf16", config="fsdp.yaml"), ARGUMENTS, HERE
    )
    options = understood(command)
    assert options.config_file == "fsdp.yaml"
    assert (options.num_processes, options.mixed_precision) == (3, "bf16")
    assert options.main_process_port == 4321
    assert not options.multi_gpu
    assert options.training_script_args == ARGUMENTS


def test_an_environment_without_accelerate_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(launch.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(UserError) as caught:
        launch.accelerate_command(job(), [])
    assert str(caught.value).startswith(f"{tmp_path}/accelerate: is missing, expected the acceler")


@pytest.mark.parametrize(
    ("threads", "processes", "each"), [(1, 1, 1), (8, 1, 8), (8, 2, 4), (7, 2, 3), (1, 4, 1)]
)
def test_threads_are_shared_among_the_processes(monkeypatch, threads, processes, each):
    # What Snakemake sets for a job; torch follows MKL's number before OpenMP's.
    names = [f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS", "GOTO", "NUMEXPR")]
    for name in names:
        monkeypatch.setenv(name, "99")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("MINE", "kept")
    environment = launch.process_environment(threads, processes)
    assert {environment[name] for name in names} == {str(each)}
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environment["MINE"] == "kept"
    assert not [name for name in environment if name.startswith("ACCELERATE_")]
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"  # of this process: untouched


def test_a_chosen_wait_policy_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert launch.process_environment(1, 1)["OMP_WAIT_POLICY"] == "ACTIVE"


# A whole launch ----------------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """A study folder with two experiments, the second with two processes."""
    settings = small_study()
    plan = make_plan(settings, measures(settings), dataset_meta())
    specs = plan_specs(plan, settings, data_folder="data", search_folder=".")
    specs[plan.experiments[1].id]["processes"] = 2
    write_json(tmp_path / "specs.json", specs)
    return tmp_path, plan.experiments


def main(folder: Path, run_id: str, *more: str, gpus: tuple[str, ...] = ()) -> list[tuple]:
    """Run the launcher on a node with these GPUs, of which it takes the last; what it ran."""
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "visible_gpus", lambda environment: list(gpus))
        patch.setattr(launch, "lease_gpus", lambda count, visible, warn: visible[-count:])
        patch.setattr(launch, "lease_port", lambda warn: 23_456)
        patch.setattr(leases, "lease_folder", lambda: folder)
        patch.setattr(launch, "supervise", lambda *arguments: ran.append(arguments) or 0)
        log = str(folder / "logs" / f"{run_id}.log")
        launch.main(["--plan", str(folder / "plan.csv"), "--id", run_id, "--log", log, *more])
    return ran


def test_the_launcher_runs_its_command(study, capfd):
    folder, rows = study
    ((command, environment),) = main(folder, rows[0].id, "--threads", "3")
    log = folder / "logs" / f"{rows[0].id}.log"
    options = understood(command)
    assert options.num_processes == 1
    assert options.training_script_args == [
        f"--study-folder={folder}", f"--id={rows[0].id}", f"--log={log}", "--gpus=0",
        "--threads=3",
    ]  # fmt: skip
    assert environment["OMP_NUM_THREADS"] == "3"
    # shown to the person, and in the log, as one could paste it
    *_, shown = capfd.readouterr().out.splitlines()
    assert shlex.split(shown) == command
    assert shlex.split(log.read_text(encoding="utf-8")) == command


def test_warnings_stand_in_the_log_below_the_command(tmp_path, capfd):
    warnings, log = launch.Warnings(), tmp_path / "x.log"
    warnings.write(log, ["srun", "a b"])
    assert log.read_text() == "srun 'a b'\n"
    warnings.add("port 1 is in use")
    assert capfd.readouterr().err == "warning: port 1 is in use\n"
    warnings.write(log, None)  # the launcher of one of several nodes
    assert log.read_text() == "srun 'a b'\nwarning: port 1 is in use\n"
    warnings.write(log, ["accelerate"])
    assert log.read_text() == "accelerate\nwarning: port 1 is in use\n"


def test_several_processes_have_a_rendezvous_at_a_port(study):
    folder, rows = study
    ((command, environment),) = main(folder, rows[1].id, "--threads", "4")
    options = understood(command)
    assert (options.num_processes, options.main_process_port) == (2, 23_456)
    assert environment["OMP_NUM_THREADS"] == "2"


def test_processes_see_the_gpus_that_were_leased_for_them(study, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    folder, rows = study
    ((command, environment),) = main(folder, rows[1].id, gpus=("GPU-a", "GPU-b", "GPU-c"))
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-b,GPU-c"
    assert understood(command).training_script_args[-2:] == ["--gpus=2", "--threads=1"]
    held = environment[launch.USE_FILES].split(os.pathsep)
    assert held == [f"{folder}/GPU-b.use", f"{folder}/GPU-c.use"]


def test_a_slurm_job_without_gpus_hides_those_of_its_node_and_says_so(study, monkeypatch, capfd):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder, rows = study
    ((_, environment),) = main(folder, rows[0].id)
    assert "CUDA_VISIBLE_DEVICES" not in environment
    assert "SLURM" not in capfd.readouterr().out
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    ((command, environment),) = main(folder, rows[0].id)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert "--gpus=0" in understood(command).training_script_args
    assert "this SLURM job was given no GPU (CUDA_VISIBLE_DEVICES is not set)" in (
        capfd.readouterr().out
    )


def test_the_lock_is_free_again_when_the_trainer_wants_it(study):
    folder, rows = study
    main(folder, rows[0].id)
    assert not is_held(folder, rows[0].id)


def test_a_finished_experiment_is_linked_and_not_trained(study, capfd):
    folder, rows = study
    store_record(run_record(rows[0]), folder)
    output = folder / "runs" / f"{rows[0].id}.json"
    output.unlink()  # as Snakemake does before a job
    assert main(folder, rows[0].id) == []
    assert read_record(output) == run_record(rows[0])
    assert capfd.readouterr().out == f"{rows[0].id}: finished earlier, its stored record is used\n"


def test_a_damaged_stored_record_is_trained_again(study):
    folder, rows = study
    store_record(run_record(rows[0]), folder)
    (state_folder(folder, rows[0].id) / "record.json").write_text("{")
    assert len(main(folder, rows[0].id)) == 1


def test_an_experiment_that_is_not_planned_is_a_sentence(study):
    folder, _ = study
    with pytest.raises(UserError) as caught:
        main(folder, "0123456789ab")
    assert str(caught.value) == (
        f"{folder}/specs.json: has no experiment 0123456789ab, expected one of the 4 that the plan "
        "holds; run snakemake again to plan again"
    )
    assert not (folder / "logs").exists()


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (None, "delete {}/plan.csv and run snakemake again to plan again"),
        ("{", "it is specs.json.damaged now, and a rerun writes it again"),
    ],
)
def test_specs_that_cannot_be_read_are_a_sentence(study, content, advice):
    folder, rows = study
    (folder / "specs.json").unlink()
    if content is not None:
        (folder / "specs.json").write_text(content)
    with pytest.raises(UserError) as caught:
        launch.read_job(folder / "specs.json", rows[0].id)
    message = str(caught.value)
    assert message.startswith(f"{folder}/specs.json: ")
    assert message.endswith(advice.format(folder))


def test_a_job_is_read_as_planned(study):
    folder, rows = study
    read = launch.read_job(folder / "specs.json", rows[3].id)
    assert read.spec == spec_of(rows[3])
    assert read.id == rows[3].id
    assert read.to_json() == json.loads((folder / "specs.json").read_text())[rows[3].id]


def test_a_launcher_that_refuses_says_so_at_the_end_of_the_experiments_log(tmp_path):
    """An earlier attempt's last line would be taken for the reason."""
    log = tmp_path / "logs" / "0123456789ab.log"
    log.parent.mkdir()
    log.write_text("what an earlier attempt said\n")
    command = [sys.executable, "-m", "flops_fit.launch", f"--plan={tmp_path / 'plan.csv'}"]
    command += ["--id=0123456789ab", f"--log={log}"]
    library = str(Path(launch.__file__).parents[2])
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": library}, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"error: {tmp_path / 'specs.json'}: cannot be read")
    assert log.read_text() == f"what an earlier attempt said\n{said}\n"
