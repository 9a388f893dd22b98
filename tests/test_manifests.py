"""What deploys Lacak says nothing that the code does not know: compose, Kubernetes, the image, and the sizing guide."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import msgspec
import pytest
import yaml

from bench.sizing import PAGE, ROLES, STATEFUL, Size, load_guide, load_reports, read_measured, sizes
from bench.sizing_page import page
from gateway.settings import GatewaySettings
from gateway.settings import variables as gateway_variables
from lacak.main import cli
from lacak.settings import read_settings
from lacak.settings import variables as worker_variables
from streams.settings import Settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
OVERLAYS = ("district", "province", "nation")
KUBERNETES = ("1.30", "1.32", "1.34")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?")
UNITS = {"": 1, "m": 0.001, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

Object = dict[str, Any]


def known(environment: Mapping[str, str]) -> None:
    """Every LACAK_ variable is a setting, and takes the value."""
    names = {name for name, _, _ in (*worker_variables(), *gateway_variables())}
    assert {name for name in environment if name.startswith("LACAK_")} <= names
    read_settings(environment)


def says_a_command(words: list[str]) -> None:
    """`lacak WORDS...` is a command, with arguments and options that it has."""
    context = click.Context(cli)
    command = cli.get_command(context, words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:])


# Compose.


@cache
def compose() -> Object:
    """The file with its merges done."""
    found: Object = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return found


def services() -> list[tuple[str, Object]]:
    return list(compose()["services"].items())


def ours() -> list[tuple[str, Object]]:
    """The services that run our image."""
    return [(name, each) for name, each in services() if each["image"].startswith("lacak:")]


def test_compose_is_compose() -> None:
    """As Docker's own `compose config` says where it is installed, else the parser of the package compose-spec."""
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        done = subprocess.run(
            [docker, "compose", "--file", str(COMPOSE), "config", "--quiet"],
            capture_output=True, text=True, check=False, env={"LACAK_CLUSTER_ID": "x"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return
    compose_spec = pytest.importorskip("compose_spec", reason="neither docker compose nor the package compose-spec")
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose()))
    wrong = json.loads(json.dumps(compose()))
    wrong["services"]["kafka"]["healthchek"] = {}
    with pytest.raises(ValueError, match="healthchek"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(wrong))


def test_what_compose_depends_on_is_there() -> None:
    """Services, volumes, networks and secrets that are named are defined, and the others are not; who is waited for to
    be healthy has a check."""
    tree = compose()
    used: dict[str, set[str]] = {"volumes": set(), "networks": set(), "secrets": set()}
    for name, each in services():
        for other, how in each.get("depends_on", {}).items():
            waited = tree["services"][other]
            if how["condition"] == "service_healthy":
                assert "test" in waited["healthcheck"], (name, other)
        used["volumes"] |= {
            volume.split(":")[0] for volume in each.get("volumes", []) if not volume.startswith(("./", "/"))
        }
        used["networks"] |= set(each["networks"])
        used["secrets"] |= set(each.get("secrets", []))
    assert {kind: set(tree[kind]) for kind in used} == used
    for name in ("registry", "visits-0", "places-0", "tracing", "status", "recorder", "gateway"):
        assert "migrate" in tree["services"][name]["depends_on"], name


def test_all_roles_run_in_compose() -> None:
    """Each role and the gateway, by commands that there are; workers of a role by indexes of their own."""
    indexes: dict[str, list[int]] = {}
    for _, each in ours():
        program, *words = each["command"]
        assert program == "lacak"
        says_a_command(words)
        if words[0] == "worker":
            indexes.setdefault(words[1], []).append(int(each["environment"]["LACAK_WORKER_INDEX"]))
    assert set(indexes) == set(ROLES)
    assert all(sorted(each) == list(range(len(each))) for each in indexes.values())


@pytest.mark.parametrize(("name", "each"), ours())
def test_settings_and_ports_of_compose(name: str, each: Object) -> None:
    """Variables are settings; the check asks where the service answers, Prometheus too; the stop is in time."""
    environment = {key: str(value) for key, value in each["environment"].items()}
    known({key: value for key, value in environment.items() if not value.startswith("${")})
    if name == "migrate":
        assert each["healthcheck"] == {"disable": True}
        return
    port = 8600 if name == "gateway" else int(environment["LACAK_METRICS_PORT"])
    assert f"http://127.0.0.1:{port}/ready" in each["healthcheck"]["test"][-1]
    targets = yaml.safe_load((DEPLOY / "prometheus" / "targets" / _targets(name)).read_text("utf-8"))
    assert f"{name}:{port}" in [target for group in targets for target in group["targets"]]
    assert seconds(each["stop_grace_period"]) > Settings().health.stop_seconds
    assert seconds(each["stop_grace_period"]) > 5 + GatewaySettings().send.stop_seconds


def _targets(name: str) -> str:
    return "gateways.yaml" if name == "gateway" else "workers.yaml"


def test_nothing_else_is_scraped() -> None:
    """Every target is a service."""
    for name in ("workers.yaml", "gateways.yaml"):
        for group in yaml.safe_load((DEPLOY / "prometheus" / "targets" / name).read_text("utf-8")):
            assert {target.split(":")[0] for target in group["targets"]} <= dict(ours()).keys()


@pytest.mark.parametrize(("name", "each"), services())
def test_compose_is_closed(name: str, each: Object) -> None:
    """Images by version; no service has more rights than it needs, a secret in a variable, or a port that other
    machines reach."""
    assert PINNED.fullmatch(each["image"]), each["image"]
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert each.get("read_only") is (None if name == "kafka" else True)
    assert all(port.startswith("127.0.0.1:") for port in each.get("ports", []))
    secret = [key for key in each.get("environment", {}) if re.search(r"PASSWORD|SECRET|TOKEN", key)]
    assert all(each["environment"][key].startswith("/run/secrets/") for key in secret), secret


def test_what_compose_mounts_is_there() -> None:
    """Folders of this checkout that services read."""
    for _, each in services():
        for volume in each.get("volumes", []):
            if volume.startswith("./"):
                assert (DEPLOY / volume.split(":")[0]).is_dir(), volume


def test_grafana_has_what_its_data_sources_ask_for() -> None:
    """Every variable of the provisioning is set, the password from a file; the dashboards lie where it looks."""
    grafana = compose()["services"]["grafana"]
    files = sorted((DEPLOY / "grafana" / "provisioning").rglob("*.yaml"))
    text = "\n".join(path.read_text("utf-8") for path in files)
    lines = "\n".join(line.partition("#")[0] for line in text.splitlines())
    asked = set(re.findall(r"\$\{?(LACAK_\w+)", lines))
    assert asked
    set_at_start = set(re.findall(r"(LACAK_\w+)=", grafana["entrypoint"][-1]))
    assert asked == {name for name in grafana["environment"] if name.startswith("LACAK_")} | set_at_start
    where = re.search(r"path: (\S+)", lines)
    assert where is not None
    assert f"./grafana/dashboards:{where[1]}:ro" in grafana["volumes"]


def seconds(text: str) -> float:
    """A duration of compose, in whole seconds."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return float(found[1])


# The image.


def test_the_image() -> None:
    """Two stages of one pinned base; packages by hash; the last user is a number, not root; what it copies may come."""
    lines = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line.strip() and not line.startswith("#")]
    froms = [words for step, words in steps if step == "FROM"]
    assert len(froms) == 2
    assert len({words.split()[0] for words in froms}) == 1
    assert PINNED.fullmatch(froms[0].split()[0])
    assert {step for step, _ in steps} <= {
        "FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "VOLUME", "STOPSIGNAL", "CMD",
    }  # fmt: skip
    installs = [words for step, words in steps if step == "RUN" and "pip install" in words]
    assert installs
    assert all("--require-hashes" in words or "--no-deps --no-build-isolation" in words for words in installs)
    last = len(steps) - 1 - [step for step, _ in reversed(steps)].index("FROM")
    users = [words for step, words in steps[last:] if step == "USER"]
    assert [re.fullmatch(r"[1-9]\d*:[1-9]\d*", words) is not None for words in users] == [True]
    assert json.loads(steps[-1][1])[0] == "lacak"
    assert ("STOPSIGNAL", "SIGTERM") in [tuple(step) for step in steps]
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert {"*", "**/.env", "deploy/secrets"} <= set(ignored)
    copied = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    packages = re.search(r"^packages = \[(.*?)\]", project, re.S | re.M)
    assert packages is not None
    assert {name.split(".")[0] for name in re.findall(r'"([\w.]+)"', packages[1])} <= copied
    assert {"pyproject.toml", "requirements.lock", "README.md", "LICENSE"} <= copied


# Kubernetes.


@cache
def built(overlay: str) -> tuple[Object, ...]:
    """The objects of an overlay, as kubectl's own Kustomize builds them."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl is installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / "kubernetes" / "overlays" / overlay)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in built(overlay) if each["kind"] in kinds}


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    """What runs: (name, the pod's template)."""
    for name, each in of_kind(overlay, "StatefulSet", "Deployment", "Job", "DaemonSet").items():
        yield name, each["spec"]["template"]


def settings_of(overlay: str, template: Object) -> dict[str, str]:
    """The variables of a pod's first container; what the cluster fills in is a number here."""
    container = template["spec"]["containers"][0]
    maps = of_kind(overlay, "ConfigMap")
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]["data"]
    for each in container.get("env", []):
        found[each["name"]] = each.get("value", "0")
    return found


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_what_kubernetes_knows(overlay: str, version: str) -> None:
    """Each object against the schema of its kind, in which unknown fields are faults."""
    assert built(overlay)
    for each in built(overlay):
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_manifest_is_found() -> None:
    """The schemas are there, and strict."""
    wrong = json.loads(json.dumps(of_kind("district", "StatefulSet")["visits"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_roles_run_in_kubernetes(overlay: str) -> None:
    """Each role once, as a StatefulSet whose pods know their index; those with a state have a volume that stays, and
    wait for their return; the gateway has a volume for what it has answered."""
    sets = of_kind(overlay, "StatefulSet")
    assert set(ROLES) | {"gateway"} <= set(sets)
    for name in (*ROLES, "gateway", "migrate"):
        template = dict(pods(overlay))[name]
        container = template["spec"]["containers"][0]
        assert container["command"] == ["lacak"]
        says_a_command(container["args"])
        environment = settings_of(overlay, template)
        known(environment)
        if name in ROLES:
            assert container["args"] == ["worker", name]
            where = {each["name"]: each["valueFrom"] for each in container["env"] if "valueFrom" in each}
            path = where["LACAK_WORKER_INDEX"]["fieldRef"]["fieldPath"]
            assert path == "metadata.labels['apps.kubernetes.io/pod-index']"
        keeps = name in (*STATEFUL, "status", "gateway")
        claims = sets[name]["spec"].get("volumeClaimTemplates", []) if name in sets else []
        assert len(claims) == keeps
        if keeps and name != "gateway":
            assert environment["LACAK_TRANSPORT_LEAVE_ON_STOP"] == "false"
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert {environment["LACAK_DATA_DIR"], "/var/cache/lacak", "/tmp"} <= mounts
        for key, value in environment.items():
            if key.endswith("_FILE") and (name != "gateway" or "DATABASE" not in key):
                assert str(Path(value).parent) in mounts, (name, key)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_probes_and_stops_agree_with_the_code(overlay: str) -> None:
    """Probes ask what is answered, where it is answered; the grace outlasts the stop, and the session a restart."""
    for name in (*ROLES, "gateway"):
        template = dict(pods(overlay))[name]
        container = template["spec"]["containers"][0]
        settings = read_settings(settings_of(overlay, template))
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for probe, path in (("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")):
            asked = container[probe]["httpGet"]
            assert (asked["path"], ports[asked["port"]]) == (path, 8600 if name == "gateway" else settings.metrics_port)
        annotations = template["metadata"]["annotations"]
        assert int(annotations["prometheus.io/port"]) in ports.values()
        grace = template["spec"]["terminationGracePeriodSeconds"]
        before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        stop = 5 + GatewaySettings().send.stop_seconds if name == "gateway" else settings.health.stop_seconds
        assert before + stop + 5 <= grace
        if name != "gateway":
            assert settings.metrics_host == "0.0.0.0"
            assert settings.health.stop_seconds < settings.transport.session_timeout_seconds


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_restricted(overlay: str) -> None:
    """The restricted profile of the pod security standards, a root file system that stays as it is (but for Kafka's
    image), images by version, bounded memory, and no secret in a manifest."""
    assert not of_kind(overlay, "Secret")
    for name, template in pods(overlay):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*spec.get("initContainers", []), *spec["containers"]):
            assert PINNED.fullmatch(container["image"]), container["image"]
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context.get("readOnlyRootFilesystem", False) is (name != "kafka")
            assert "privileged" not in context
            resources = container["resources"]
            assert quantity(resources["requests"]["memory"]) <= quantity(resources["limits"]["memory"])
            for each in container.get("env", []):
                if re.search(r"PASSWORD|SECRET|TOKEN", each["name"]):
                    assert each.get("value", "/run/secrets/").startswith("/run/secrets/")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_budgets_and_spread(overlay: str) -> None:
    """Each set of ours may lose one pod at a time, and is spread over nodes and zones; selectors select."""
    sets = of_kind(overlay, "StatefulSet")
    budgets = of_kind(overlay, "PodDisruptionBudget")
    for name in (*ROLES, "gateway"):
        template = sets[name]["spec"]["template"]
        labels = template["metadata"]["labels"]
        wanted = budgets[name]["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= labels.items()
        assert sets[name]["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        spread = template["spec"]["topologySpreadConstraints"]
        assert {each["topologyKey"] for each in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        for each in spread:
            assert each["labelSelector"]["matchLabels"].items() <= labels.items()
            assert set(each["matchLabelKeys"]) <= labels.keys()
    for name, each in of_kind(overlay, "Service").items():
        selected = [
            pod for _, pod in pods(overlay) if each["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert selected, name
        for port in each["spec"]["ports"]:
            for pod in selected:
                names = {p["name"] for container in pod["spec"]["containers"] for p in container.get("ports", [])}
                assert port["targetPort"] in names


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_talks_but_what_is_said(overlay: str) -> None:
    """All is closed by default; gateways reach brokers and no database."""
    policies = of_kind(overlay, "NetworkPolicy")
    closed = [each for each in policies.values() if each["spec"]["podSelector"] == {}]
    assert {"Ingress", "Egress"} in [
        set(each["spec"]["policyTypes"]) for each in closed if "egress" not in each["spec"]
    ]
    database = policies["to-postgres" if "to-postgres" in policies else "to-database"]
    expressions = database["spec"]["podSelector"]["matchExpressions"]
    assert any("gateway" in each["values"] and each["operator"] == "NotIn" for each in expressions)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool is installed")
@pytest.mark.parametrize("path", ["prometheus/prometheus.yaml", "kubernetes/prometheus.yaml"])
def test_prometheus_takes_its_configuration(path: str) -> None:
    """As promtool says, rules included; and the jobs are those that rules and dashboards know."""
    done = subprocess.run(
        ["promtool", "check", "config", str(DEPLOY / path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tree = yaml.safe_load((DEPLOY / path).read_text("utf-8"))
    assert {job["job_name"] for job in tree["scrape_configs"]} >= {"lacak-worker", "lacak-gateway"}


# The sizing guide.


def test_the_sizing_page_is_made_of_the_figures() -> None:
    """`python -m bench.sizing` writes what is there."""
    assert PAGE.read_text("utf-8") == page(load_guide(), load_reports())


def found_sizes() -> dict[str, Size]:
    return {each.region.overlay: each for each in sizes(load_guide(), read_measured(load_reports()))}


def test_sizes_grow_with_people() -> None:
    """More people need no less of anything."""
    found = list(found_sizes().values())
    for less, more in pairwise(found):
        assert less.region.people < more.region.people
        for name in ("peak", "gateways", "kafka_gib", "database_gib", "cores", "memory_gib", "blocks_a_second"):
            assert getattr(less, name) <= getattr(more, name), name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_give_what_the_sizing_asks(overlay: str) -> None:
    """Workers, their cores, memory and volumes, gateways and partitions: no less than in docs/sizing.md."""
    wanted = found_sizes()[overlay]
    sets = of_kind(overlay, "StatefulSet")
    for role, each in wanted.workers.items():
        template = sets[role]["spec"]["template"]
        requests = template["spec"]["containers"][0]["resources"]["requests"]
        assert sets[role]["spec"]["replicas"] >= each.number, role
        assert quantity(requests["cpu"]) >= each.cores, role
        assert quantity(requests["memory"]) >= each.memory_gib * 2**30, role
        for claim in sets[role]["spec"].get("volumeClaimTemplates", []):
            assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= each.disk_gib * 2**30, role
        partitions = msgspec.structs.asdict(read_settings(settings_of(overlay, template)).partitions)
        assert partitions == wanted.partitions
    for topic, role in (("scans", "visits"), ("visits", "places"), ("cases", "status")):
        assert wanted.partitions[topic] % sets[role]["spec"]["replicas"] == 0, (
            f"{role}: some would have more than others"
        )
    assert sets["gateway"]["spec"]["replicas"] >= wanted.gateways
    for name, gib in (("kafka", wanted.kafka_gib), ("postgres", wanted.database_gib)):
        if name in sets:
            claim = sets[name]["spec"]["volumeClaimTemplates"][0]
            assert quantity(claim["spec"]["resources"]["requests"]["storage"]) >= gib * 2**30


def quantity(text: str) -> float:
    """A quantity of Kubernetes as a number."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text))
    assert found, text
    return float(found[1]) * UNITS[found[2]]
