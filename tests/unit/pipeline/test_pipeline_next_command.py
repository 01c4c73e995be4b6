"""The commands that the closing lines advise: for the same study, at the same place."""

from __future__ import annotations

import shlex

import pytest
from flops_fit.pipeline.next_command import command_line, next_commands, repeated_options
from snakemake.cli import get_argument_parser


@pytest.fixture(scope="module")
def parser():
    return get_argument_parser()


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ("", ""),
        ("--cores 8 runs", "--cores 8"),
        ("-c4 plan", "-c 4"),
        ("-c 4", "-c 4"),
        ("--cores=4", "--cores 4"),
        ("--core 4 -n", "--cores 4"),
        ("-kc4 runs", "-k -c 4"),
        ("--workflow-profile profiles/slurm -n", "--workflow-profile profiles/slurm"),
        ("--workflow-profile=p --profile mine", "--workflow-profile p --profile mine"),
        ("--profile none --profile b", "--profile none --profile b"),
        ("-e slurm -j5 partial", "-e slurm -j 5"),
        ("-j 4 --resources gpu=4 mem=5 -k", "-j 4 --resources gpu=4 mem=5 -k"),
        ("runs --configfile a.yaml b.yaml -c2", "--configfile a.yaml b.yaml -c 2"),
        ("--configfiles a.yaml -- plan", "--configfiles a.yaml"),
        ("-d there -s=up/Snakefile", "-d there -s up/Snakefile"),
        ("--directory there --snakefile up/S", "--directory there --snakefile up/S"),
        ("--config a=1 b=2 --unlock", "--config a=1 b=2"),
        ("-C study=x -dthere", "-C study=x -d there"),
        ("--sdm conda --conda-prefix /x plan", "--sdm conda --conda-prefix /x"),
        ("plan --sdm conda --conda-prefix /x", "--sdm conda --conda-prefix /x"),
        ("--use-conda --shared-fs-usage none", "--use-conda --shared-fs-usage none"),
        ("--rerun-triggers mtime --default-res -n", "--rerun-triggers mtime --default-res"),
        ("--slurm-requeue --local-cores 2 -p", "--slurm-requeue --local-cores 2 -p"),
        ("--local-storage-prefix=-x", "--local-storage-prefix=-x"),
        ("-F -R a b --until c --touch -O d", ""),
        ("--directory", ""),  # no command line of Snakemake
        ("--bogus 1", ""),
    ],
)  # fmt: skip
def test_the_next_command_has_the_options_that_were_typed(parser, arguments, options):
    assert repeated_options(arguments.split(), parser) == options.split()


def test_experiments_in_groups_need_a_plan_that_is_made_again(parser):
    typed = "--groups train=s --group-components s=2 -c1"
    found = repeated_options(typed.split(), parser, "law_{}".format)
    assert found == [*typed.replace("-c1", "-c 1").split(), "--forcerun", "law_plan_experiments"]


def test_the_next_command_is_quoted_for_a_shell(parser):
    typed = ["--config", "model={size_param: d_model}", "--directory", "it's `here` $(now) \\ &"]
    assert shlex.split(command_line("partial", *repeated_options(typed, parser))) == [
        "snakemake", "partial", *typed,
    ]  # fmt: skip


def test_a_module_is_asked_for_its_own_targets(parser):
    ours = next_commands(["plan", "-c1"], parser, str, by_default=True)
    assert (ours.go_on, ours.partial) == ("snakemake -c 1", "snakemake partial -c 1")
    theirs = next_commands(["-s", "S"], parser, "law_{}".format, by_default=False)
    assert theirs.go_on == "snakemake law_report -s S"
    assert theirs.partial == "snakemake law_partial -s S"
