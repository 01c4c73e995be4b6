"""What experiments train on, by name."""

from __future__ import annotations

import socket

import pytest
from flops_fit.launch import device, gpus
from flops_fit.launch.device import Device

ROWS = {"GPU-1": "NVIDIA A100-SXM4-80GB", "GPU-2": "NVIDIA A100-SXM4-80GB"}


@pytest.fixture
def node(monkeypatch):
    """A node with two GPUs, as its driver tells about them."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def ask(question, columns, patience=None):
        names = [[uuid, name] for uuid, name in ROWS.items()]
        return [row[:columns] for row in names]

    monkeypatch.setattr(gpus, "_ask", ask)


def test_gpus_are_of_a_type_wherever_they_are(node):
    found = Device.here()
    assert found == Device(name="NVIDIA A100-SXM4-80GB")
    assert found.count == 2
    assert found.is_gpu
    assert str(found) == "NVIDIA A100-SXM4-80GB"


def test_only_visible_gpus_count(node, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert Device.here().count == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not Device.here().is_gpu


def test_cores_are_those_of_a_host(monkeypatch):
    monkeypatch.setattr(device, "visible_gpus", lambda environment: [])
    assert Device.here() == Device(name="cpu", host=socket.gethostname())
    assert str(Device(name="cpu", host="n1")) == "the CPU of n1"


def test_a_record_names_its_device():
    assert Device.of_record("cpu", ("n1",)) == Device(name="cpu", host="n1")
    assert Device.of_record("cpu", ("n1", "n2")) == Device(name="cpu")
    assert Device.of_record("NVIDIA A100", ("n1",)) == Device(name="NVIDIA A100")
