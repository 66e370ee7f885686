"""The files for real clusters: their form, and the flags that they give."""

import importlib.util
import json
import pathlib
import re
import subprocess

import pytest
import yaml

from fedrec_tff.config import field_spec
from fedrec_tff.config.run_config import RunConfig

_ROOT = pathlib.Path(__file__).parents[2]
_FOLDER = _ROOT / "examples" / "cluster"
_FLAG = re.compile(r"--([a-z]\w*)")
# Fields of KubeRay's custom resources, by its API reference for `ray.io/v1`, without those of
# services. What is not among them, Kubernetes drops or refuses.
_JOB_FIELDS = (
    "activeDeadlineSeconds backoffLimit clusterSelector deletionStrategy entrypoint "
    "entrypointNumCpus entrypointNumGpus entrypointResources jobId managedBy metadata "
    "rayClusterSpec runtimeEnvYAML shutdownAfterJobFinishes submissionMode submitterConfig "
    "submitterPodTemplate suspend ttlSecondsAfterFinished"
)
_CLUSTER_FIELDS = (
    "autoscalerOptions enableInTreeAutoscaling gcsFaultToleranceOptions headGroupSpec "
    "headServiceAnnotations managedBy rayVersion suspend workerGroupSpecs"
)
_HEAD_FIELDS = "enableIngress headService rayStartParams serviceType template"
_GROUP_FIELDS = (
    "groupName idleTimeoutSeconds maxReplicas minReplicas numOfHosts rayStartParams replicas "
    "scaleStrategy suspend template"
)


def _load(name):
    return yaml.safe_load((_FOLDER / name).read_text())


def _check_flags(command):
    known = {*field_spec.read_specs(RunConfig), "output_dir"}
    found = _FLAG.findall(command)
    assert {"execution", "ray_address", "num_shares"} <= set(found) <= known


def test_the_autoscaler_s_file_has_what_it_must():
    config = _load("autoscaler.yaml")
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    assert config["provider"]["type"] == "aws"
    for kind in types.values():
        assert 0 <= kind["min_workers"] <= kind["max_workers"] <= config["max_workers"]
        assert kind["node_config"]
        # Without a kind of machine, a node has as many processors as it says.
        assert kind["resources"]["CPU"] >= 0
    for commands, named in (("head", "--head"), ("worker", "--address=$RAY_HEAD_IP:6379")):
        assert named in " ".join(config[f"{commands}_start_ray_commands"])


def test_the_autoscaler_s_file_is_of_ray_s_own_schema():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (requirements-ray.txt)")
    import jsonschema
    import ray.autoscaler

    schema = pathlib.Path(ray.autoscaler.__file__).parent / "ray-schema.json"
    jsonschema.validate(_load("autoscaler.yaml"), json.loads(schema.read_text()))


def test_the_script_for_slurm_is_one():
    path = _FOLDER / "slurm.sh"
    checked = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    lines = path.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    settings = [line for line in lines if line.startswith("#SBATCH ")]
    # Slurm reads them up to the first command.
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert all(lines.index(setting) < first for setting in settings)
    named = {re.match(r"#SBATCH --([a-z-]+)", setting)[1] for setting in settings}
    assert {"nodes", "ntasks-per-node", "cpus-per-task", "time", "signal"} <= named
    _check_flags(path.read_text().split("experiments.train")[1].split("DRIVER")[0])


def test_the_job_of_kuberay_has_what_it_must():
    job = _load("rayjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    _check_flags(job["spec"]["entrypoint"])
    cluster = job["spec"]["rayClusterSpec"]
    pins = (_ROOT / "requirements-ray.txt").read_text()
    assert f"ray=={cluster['rayVersion']}\n" in pins
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    assert set(job["spec"]) <= set(_JOB_FIELDS.split())
    assert set(cluster) <= set(_CLUSTER_FIELDS.split())
    for group, fields in zip(groups, (_HEAD_FIELDS, *[_GROUP_FIELDS] * len(groups)), strict=False):
        assert set(group) <= set(fields.split())
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        for container in group["template"]["spec"]["containers"]:
            assert container["image"]
            assert container["resources"]["limits"] == container["resources"]["requests"]
    for group in groups[1:]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    mounts = groups[0]["template"]["spec"]["containers"][0]["volumeMounts"]
    volumes = {volume["name"] for volume in groups[0]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in mounts} <= volumes
    assert any(
        f"--output_dir={mount['mountPath']}/" in job["spec"]["entrypoint"] for mount in mounts
    )
