"""What is told of the machine, and what is not."""

import json
import os
import socket

import tensorflow as tf

from fedrec_tff.benchmarks import machine


def test_versions_and_cores_are_those_in_use():
    found = machine.describe()
    assert found["tensorflow"] == tf.__version__
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["cpu"]
    assert 0 < found["memory_gib"] < 10_000


def test_neither_host_nor_user_nor_path_is_told():
    text = json.dumps(machine.describe())
    assert json.dumps(socket.gethostname()) not in text
    assert os.getcwd() not in text
    assert "/" not in machine.describe()["python"]


def test_the_cpu_is_the_first_that_has_a_name():
    text = "processor\t: 0\nvendor_id\t: X\nmodel name\t: Abacus: the 9th\n\nmodel name\t: other\n"
    assert machine._find_cpu_model(text) == "Abacus: the 9th"
    assert machine._find_cpu_model("processor\t: 0\n") == "unknown"
