"""The configuration file of accelerate that a study may name."""

from __future__ import annotations

import pytest
from flops_fit.errors import UserError
from hand_computed import small_study


def test_an_accelerate_configuration_is_sought_beside_the_studys(tmp_path):
    (tmp_path / "own.yaml").write_text("distributed_type: MULTI_GPU\n")
    file = str(tmp_path / "my.yaml")
    found = small_study({"train.accelerate_config": "own.yaml"}, file).accelerate_config
    assert found == str(tmp_path / "own.yaml")
    with pytest.raises(UserError) as caught:
        small_study({"train.accelerate_config": "other.yaml"}, file)
    assert str(caught.value) == (
        f"{file}: train.accelerate_config: found no file {tmp_path / 'other.yaml'}, expected an "
        "existing file"
    )


@pytest.mark.parametrize(
    ("text", "sharded"),
    [
        ("distributed_type: MULTI_GPU\n", False),
        ("distributed_type: NO\n", False),
        ("num_machines: 1\n", False),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2}\n", True),
    ],
)
def test_an_accelerate_configuration_may_ask_for_shards(tmp_path, text, sharded):
    (tmp_path / "own.yaml").write_text(text)
    file = str(tmp_path / "my.yaml")
    assert small_study({"train.accelerate_config": "own.yaml"}, file).sharded is sharded


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "distributed_type: DEEPSPEED\n",
            "distributed_type: found 'DEEPSPEED', expected MULTI_GPU, FSDP or NO",
        ),
        (
            "distributed_type: FSDP\n",
            "fsdp_config.fsdp_version: found 1, expected 2",
        ),
        (
            "distributed_type: FSDP\nfsdp_config: yes\n",
            "fsdp_config.fsdp_version: found None, expected 2",
        ),
        (
            "distributed_type: MULTI_GPU\nparallelism_config: {parallelism_config_tp_size: 2}\n",
            "parallelism_config: found {'parallelism_config_tp_size': 2}, expected no such key",
        ),
        (
            "distributed_type: MULTI_GPU\ngpu_ids: '2,3'\n",
            "gpu_ids: found '2,3', expected all, or no such key",
        ),
        ("use_cpu: true\n", "use_cpu: found True, expected false"),
        ("- a list\n", "is no configuration file of accelerate (YAML)"),
        ("{", "is no configuration file of accelerate (YAML)"),
        ("[" * 3000 + "]" * 3000, "is no configuration file of accelerate (YAML)"),
        ("use_cpu: " + "1" * 5000, "is no configuration file of accelerate (YAML)"),
    ],
)
def test_a_parallelism_that_would_go_wrong_in_silence_is_refused(tmp_path, text, sentence):
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(UserError) as caught:
        small_study({"train.accelerate_config": "own.yaml"}, str(tmp_path / "my.yaml"))
    assert str(caught.value).startswith(f"{own}: {sentence}")
