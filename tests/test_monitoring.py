"""What Prometheus, Grafana's board and Ray's dashboard show of a sweep: a real Prometheus asks a real Ray while a sweep runs."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from toy import Toy

pytestmark = pytest.mark.timeout(900)
MONITORING = Path(__file__).resolve().parents[1] / "deploy" / "monitoring"
DOCS = Path(__file__).resolve().parents[1] / "docs" / "monitoring.md"
BOARD = json.loads((MONITORING / "grafana.json").read_text())
NEEDS_GPU = {"GPU memory of running trials", "GPU use of the nodes"}  # no machine of the tests has one
OURS = re.compile(r"\bray_(xfer_ray_\w+)")
EXTRA = """
TINY = Model(name="tiny-bert", family="encoder", checkpoint={checkpoint!r}, gpus=0,
             recipe=Recipe(steps=600, learning_rate=1e-3, batch_size=8, max_length=16, select_every=100))
SWEEP = Sweep("toy", grid(tasks=[TOY], models=[TOY_MODEL, TINY], seeds=(0, 1)))
"""


def queries(panel: dict) -> list[str]:
    """A panel's queries, with Grafana's variables filled in as Grafana does."""
    return [target["expr"].replace("$__rate_interval", "30s").replace("$sweep", ".*") for target in panel["targets"]]


def ask(url: str, **parameters: str):
    query = urllib.parse.urlencode(parameters)
    with urllib.request.urlopen(f"{url}?{query}" if query else url, timeout=30) as answer:
        return json.loads(answer.read())


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:  # refused, or 503 while it starts
        return False


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A folder with a short path, as Ray's sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="xm", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_head(short):
    """A head of Ray with its dashboard, which reports every second."""
    from ray.cluster_utils import Cluster

    port = free_port()
    arguments = {"num_cpus": 2, "include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    arguments |= {"temp_dir": str(short), "dashboard_agent_listen_port": free_port()}  # without this agent there are no logs
    cluster = Cluster(initialize_head=True, head_node_args={**arguments, "_system_config": {"metrics_report_interval_ms": 1000}})
    yield cluster, f"http://127.0.0.1:{port}"
    cluster.shutdown()


@pytest.fixture(scope="module")
def prometheus(short, ray_head):
    """A Prometheus with the configuration that we ship, but for the folder and the pace."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("there is no program `prometheus` on this machine; the system's package of that name has it")
    text = (MONITORING / "prometheus.yaml").read_text()
    assert text.count("/tmp/ray/") == 1
    file = short / "prometheus.yaml"
    file.write_text(text.replace("/tmp/ray/", f"{short}/").replace("10s", "1s"))
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={file}", f"--storage.tsdb.path={short / 'data'}", f"--web.listen-address={address}"]
    with (short / "prometheus.log").open("w") as log:
        process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
    end = time.monotonic() + 120
    while not is_ready(f"http://{address}/-/ready"):
        assert process.poll() is None, (short / "prometheus.log").read_text()
        assert time.monotonic() < end, "Prometheus has not begun to answer"
        time.sleep(0.2)
    yield f"http://{address}/api/v1"
    process.terminate()
    process.wait(30)


def value_of(prometheus: str, query: str) -> list:
    answer = ask(f"{prometheus}/query", query=query)
    assert answer["status"] == "success", answer
    return [sample for sample in answer["data"]["result"] if sample["value"][1] != "NaN"]


class Watched:
    """What was seen of a sweep while it ran: the answers to each panel's queries, of Prometheus and of Ray's dashboard."""

    def __init__(self, toy: Toy, prometheus: str, dashboard: str) -> None:
        self.toy, self.prometheus, self.dashboard = toy, prometheus, dashboard
        self.answered: dict[str, list] = {}
        self.actors: dict[str, dict] = {}
        self.logs: dict[str, str] = {}
        self.titles: set[str] = set()

    def look(self) -> None:
        for query in {query for panel in BOARD["panels"] for query in queries(panel)}:
            found = value_of(self.prometheus, query)
            if found:
                self.answered[query] = found
        actors = ask(f"{self.dashboard}/api/v0/actors", detail="true")["data"]["result"]["result"]
        self.actors |= {actor["actor_id"]: actor for actor in actors}
        for actor in actors:
            if actor["class_name"] == "TrialRunner" and actor["state"] == "ALIVE":
                self.read_log(actor["actor_id"])
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # the process has ended since
                self.titles.add(file.read_bytes().split(b"\0")[0].decode())

    def read_log(self, actor: str) -> None:
        url = f"{self.dashboard}/api/v0/logs/file?actor_id={actor}&suffix=err&lines=-1"
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=30) as answer:
            self.logs[actor] = answer.read().decode()


@pytest.fixture(scope="module")
def watched(tmp_path_factory, ray_head, prometheus) -> Watched:
    """A sweep of two models, with a worker that dies, watched to its end."""
    import tiny

    cluster, dashboard = ray_head
    toy = Toy(tmp_path_factory.mktemp("watched"))
    toy.declare(languages=("en", "de", "ru"), seconds=4)
    checkpoint = str(tiny.bert(toy.folder / "bert"))
    (toy.folder / "toy.py").write_text((toy.folder / "toy.py").read_text() + EXTRA.format(checkpoint=checkpoint))
    toy.fault("de.s1", "kill")
    toy.fault("ru.s0", "data")
    seen = Watched(toy, prometheus, dashboard)
    driver = toy.start("run", "toy.py", "--address", cluster.address)
    end = time.monotonic() + 600
    while driver.poll() is None and time.monotonic() < end:
        seen.look()
        time.sleep(0.5)
    _, err = driver.communicate(timeout=60)
    seen.err = err
    assert driver.returncode == 5, err
    assert "again    toy.toy-model.de-HT-en.s1" in err, "no worker was killed"
    return seen


@pytest.mark.slow
def test_each_panel_shows_a_running_sweep(watched):
    empty = [(p["title"], q) for p in BOARD["panels"] for q in queries(p) if p["title"] not in NEEDS_GPU and q not in watched.answered]
    assert empty == []


@pytest.mark.slow
def test_the_board_counts_right(watched):
    assert watched.toy.status()["counts"]["done"] == 11

    def most(state: str) -> float:
        return float(value_of(watched.prometheus, f'max(max_over_time(ray_xfer_ray_trials{{state="{state}"}}[10m]))')[0]["value"][1])

    # A driver reports once a second here; what it counted since its last report goes with it, and that may be the last trial.
    assert most("done") in (10, 11)
    assert (most("failed"), most("running")) == (1, 2)
    assert most("waiting") in (10, 11, 12)
    assert sum(float(s["value"][1]) for s in value_of(watched.prometheus, "max_over_time(ray_xfer_ray_retries_total[10m])")) == 1
    ended = value_of(watched.prometheus, "sum by (state) (max_over_time(ray_xfer_ray_trials_ended_total[10m]))")
    assert {s["metric"]["state"]: float(s["value"][1]) for s in ended} in ({"committed": n, "failed": 1} for n in (10, 11))
    tokens = value_of(watched.prometheus, 'sum by (model, phase) (max_over_time(ray_xfer_ray_tokens_total{sweep="toy"}[10m]))')
    counted = {s["metric"]["phase"]: float(s["value"][1]) for s in tokens}
    examples = value_of(watched.prometheus, "sum by (phase) (max_over_time(ray_xfer_ray_examples_total[10m]))")
    read = {s["metric"]["phase"]: float(s["value"][1]) for s in examples}
    # Six trials of 600 steps of 8 rows, less at most what a worker had not passed on when it ended; 3 targets and 6 looks at dev, 30 each.
    assert 0.5 * 6 * 600 * 8 < read["training"] <= 6 * 600 * 8
    assert 0.5 * 6 * 30 * (3 + 6) < read["evaluation"] <= 6 * 30 * (3 + 6)
    assert all(counted[phase] > 5 * read[phase] for phase in read), "a row has more than five tokens"


@pytest.mark.slow
def test_what_is_known_by_trial_is_gone_when_the_trial_has_ended(watched):
    gone = time.monotonic() + 60
    while value_of(watched.prometheus, "ray_xfer_ray_trial_progress") and time.monotonic() < gone:
        time.sleep(1)
    assert value_of(watched.prometheus, "ray_xfer_ray_trial_progress") == []
    at_once = value_of(watched.prometheus, "max_over_time(count(ray_xfer_ray_trial_progress)[10m:1s])")
    assert float(at_once[0]["value"][1]) <= 2 + 2, "two run at once, and Ray forgets the one before within two reports"
    trials = value_of(watched.prometheus, "count by (trial) (max_over_time(ray_xfer_ray_trial_progress[10m]))")
    assert len(trials) == 12, "each trial was shown in its turn"


@pytest.mark.slow
def test_the_dashboard_has_readable_names_and_each_trials_log(watched):
    workers = {i: a for i, a in watched.actors.items() if a["class_name"] == "TrialRunner"}
    assert workers
    assert {a["class_name"] for a in watched.actors.values()} <= {"TrialRunner", "_Bell", "Bell"}
    for actor in workers.values():
        assert re.fullmatch(r"toy: toy\.(toy-model|tiny-bert)\.\S+ and on", actor["repr_name"]), actor["repr_name"]
    ended = {path.stem for path in (watched.toy.results / "scores").glob("*.parquet")}
    told = "\n".join(watched.logs.values())
    shown = {trial for trial in ended if f" UTC {trial} on " in told}
    assert len(shown) >= 9, "the logs of nearly all trials were seen in the dashboard; the last ones end with the sweep"
    assert "steps on 30 rows" in told
    assert {f"ray::TrialRunner {trial}" for trial in ended} & watched.titles


# ------------------------------------------------------------------------------ the files alone


def test_the_board_is_what_grafana_reads():
    assert {"title", "uid", "schemaVersion", "panels", "templating", "time", "refresh"} <= set(BOARD)
    assert BOARD["id"] is None
    assert "__inputs" not in BOARD, "provisioning does not fill inputs in"
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in BOARD["panels"]:
        assert panel["type"] in ("stat", "timeseries", "table")
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in ("none", "s", "bytes", "percent", "percentunit")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
    names = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(BOARD)))
    assert used == names


def test_each_query_is_one_that_prometheus_understands(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("there is no program `promtool` on this machine; the system's package `prometheus` has it")
    rules = [{"record": "a:b", "expr": query} for panel in BOARD["panels"] for query in queries(panel)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "board", "rules": [rule | {"record": f"a:b{i}"} for i, rule in enumerate(rules)]}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout
    configuration = ["promtool", "check", "config", "--syntax-only", str(MONITORING / "prometheus.yaml")]
    assert subprocess.run(configuration, capture_output=True).returncode == 0


def test_every_metric_of_ours_is_shown_and_told_and_no_other_is():
    from xfer_ray.sweep import gauges

    source = Path(gauges.__file__).read_text()
    made = {name for name in re.findall(r'"(xfer_ray_\w+)"', source)}
    shown = {re.sub(r"_(total|bucket)$", "", name) for name in OURS.findall(json.dumps(BOARD))}
    told = {re.sub(r"_(total|bucket)$", "", name) for name in OURS.findall(DOCS.read_text())}
    assert made == shown == told


def test_a_metric_that_fails_harms_no_trial():
    import tiny

    from xfer_ray.core import Model, Trial
    from xfer_ray.sweep import gauges

    trial = Trial(tiny.TASK, Model(name="m", family="majority", recipe=tiny.RECIPE), tiny.TASK.sources[0], 0)
    board = gauges.Board("s", [trial], done=0)
    board("no such trial", "failed")
    with gauges.watched(trial, "s") as observe:
        time.sleep(gauges.SECONDS)
        observe("no such kind", 1.0)
        time.sleep(gauges.SECONDS)
        observe("progress", None)


def test_gpu_panels_ask_for_metrics_that_ray_has():
    import ray.dashboard.modules.reporter.reporter_agent as agent

    asked = {name for p in BOARD["panels"] for q in queries(p) for name in re.findall(r"\bray_(node_\w+)", q)}
    assert asked <= set(agent.METRICS_GAUGES)
