"""What a client of another make does with a server: the official Python client, which shares nothing with kubectl.

Run by `python.rs` with a kubeconfig. Each check has a name, and says `ok NAME` when it has passed; the first that fails ends the run.
"""

import http.client
import sys
import time
from datetime import datetime, timezone

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

NAMESPACE = "default"
PATIENCE_SECONDS = 60
checks = []


def check(function):
    checks.append(function)
    return function


def pod(name, command, **more):
    container = {"name": "app", "image": "tapp:1", "imagePullPolicy": "Never", "command": command}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [{**container, **more}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"made-by": "python"}}, "spec": spec}


def fails(code, reason, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except ApiException as error:
        assert (error.status, error.reason) and error.status == code, f"{error.status} and not {code}: {error.body}"
        assert f'"reason":"{reason}"' in error.body.replace(" ", ""), error.body
        return error
    raise AssertionError(f"{function.__name__} did not fail")


def version_of(thing):
    return int(thing.metadata.resource_version)


def watch_until(core, since, name, wanted):
    """Follows a pod from a revision on until an event is wanted; all events so far."""
    seen = []
    watching = watch.Watch()
    events = watching.stream(
        core.list_namespaced_pod, NAMESPACE, resource_version=since, field_selector=f"metadata.name={name}", timeout_seconds=PATIENCE_SECONDS
    )
    for event in events:
        seen.append((event["type"], event["object"]))
        if wanted(*seen[-1]):
            watching.stop()
            return seen
    raise AssertionError(f"it did not come: {[(kind, pod.status.phase) for kind, pod in seen]}")


def is_ready(_, pod):
    return any(condition.type == "Ready" and condition.status == "True" for condition in pod.status.conditions or [])


@check
def discovery_and_versions(core):
    assert client.VersionApi().get_code().major == "1"
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"coordination.k8s.io", "events.k8s.io", "node.k8s.io"} <= groups, groups
    kinds = {resource.kind for resource in core.get_api_resources().resources}
    assert {"Pod", "ConfigMap", "Secret", "Node", "Event"} <= kinds, kinds
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": NAMESPACE}}}
    assert client.AuthorizationV1Api().create_self_subject_access_review(review).status.allowed
    nodes = core.list_node().items
    assert len(nodes) == 1 and nodes[0].status.capacity["pods"], nodes


@check
def a_pod_is_created_watched_and_listed(core):
    before = core.list_namespaced_pod(NAMESPACE).metadata.resource_version
    created = core.create_namespaced_pod(NAMESPACE, pod("life", ["tapp", "run", "--http", "8000", "--reverse", "127.0.0.1:7000"]))
    seen = watch_until(core, before, "life", is_ready)
    assert seen[0][0] == "ADDED" and {kind for kind, _ in seen[1:]} == {"MODIFIED"}, seen
    assert {thing.metadata.uid for _, thing in seen} == {created.metadata.uid}
    versions = [version_of(thing) for _, thing in seen]
    assert versions == sorted(set(versions)) and versions[0] == version_of(created), versions
    phases = [thing.status.phase for _, thing in seen]
    assert phases[0] == "Pending" and phases[-1] == "Running", phases
    selected = core.list_pod_for_all_namespaces(label_selector="made-by=python", field_selector="status.phase=Running")
    assert [thing.metadata.name for thing in selected.items] == ["life"]
    assert core.list_namespaced_pod(NAMESPACE, label_selector="made-by!=python").items == []
    error = fails(409, "AlreadyExists", core.create_namespaced_pod, NAMESPACE, pod("life", ["true"]))
    assert 'pods \\"life\\" already exists' in error.body, error.body


@check
def lists_come_in_pages(core):
    for number in range(5):
        core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": f"page-{number}", "labels": {"paged": "yes"}}})
    names, following = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes", limit=2, _continue=following)
        assert len(page.items) <= 2
        names += [item.metadata.name for item in page.items]
        following = page.metadata._continue
        if not following:
            break
    assert names == [f"page-{number}" for number in range(5)], names
    core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="paged=yes")
    assert core.list_namespaced_config_map(NAMESPACE, label_selector="paged=yes").items == []


@check
def patches_and_conflicts(core):
    first = core.read_namespaced_pod("life", NAMESPACE)
    merged = core.patch_namespaced_pod("life", NAMESPACE, {"metadata": {"labels": {"colour": "green"}}})
    assert merged.metadata.labels == {"made-by": "python", "colour": "green"}, merged.metadata.labels
    replaced = core.patch_namespaced_pod("life", NAMESPACE, [{"op": "replace", "path": "/metadata/labels/colour", "value": "red"}])
    assert replaced.metadata.labels["colour"] == "red" and version_of(replaced) > version_of(merged) > version_of(first)
    first.metadata.labels = {"made-by": "python", "late": "yes"}
    fails(409, "Conflict", core.replace_namespaced_pod, "life", NAMESPACE, first)
    present = core.read_namespaced_pod("life", NAMESPACE)
    present.metadata.labels = {"made-by": "python", "in-time": "yes"}
    assert core.replace_namespaced_pod("life", NAMESPACE, present).metadata.labels == {"made-by": "python", "in-time": "yes"}
    error = fails(422, "Invalid", core.patch_namespaced_pod, "life", NAMESPACE, {"spec": {"containers": [{"name": "app", "command": ["other"]}]}})
    assert "pod updates may not change fields other than" in error.body, error.body
    error = fails(422, "Invalid", core.create_namespaced_pod, NAMESPACE, {"metadata": {"name": "Bad_Name"}, "spec": {"containers": []}})
    assert "metadata.name" in error.body and "spec.containers" in error.body, error.body
    fails(404, "NotFound", core.read_namespaced_pod, "nobody", NAMESPACE)


@check
def server_side_apply_and_the_dynamic_client(core):
    anything = dynamic.DynamicClient(core.api_client)
    maps = anything.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": {"a": "1", "b": "2"}}
    maps.server_side_apply(body=body, namespace=NAMESPACE, field_manager="first")
    other = {**body, "data": {"a": "3"}}
    fails(409, "Conflict", maps.server_side_apply, body=other, namespace=NAMESPACE, field_manager="second")
    maps.server_side_apply(body=other, namespace=NAMESPACE, field_manager="second", force_conflicts=True)
    assert maps.get(name="applied", namespace=NAMESPACE).data.to_dict() == {"a": "3", "b": "2"}
    maps.delete(name="applied", namespace=NAMESPACE)


@check
def manifests_of_several_documents(core):
    objects = [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "several"}, "stringData": {"word": "hush"}}]
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "several"}, "data": {"x": "y"}})
    utils.create_from_yaml(core.api_client, yaml_objects=objects, namespace=NAMESPACE)
    assert core.read_namespaced_secret("several", NAMESPACE).data == {"word": "aHVzaA=="}
    core.delete_namespaced_secret("several", NAMESPACE)
    core.delete_namespaced_config_map("several", NAMESPACE)


@check
def logs(core):
    begun = datetime.now(timezone.utc)
    script = "echo one; echo two; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo three"
    core.create_namespaced_pod(NAMESPACE, {**pod("talks", ["sh", "-c", script]), "spec": {**pod("talks", ["sh", "-c", script])["spec"], "restartPolicy": "Never"}})
    watch_until(core, "0", "talks", is_ready)
    read = core.read_namespaced_pod_log
    wait_for(lambda: read("talks", NAMESPACE) == "one\ntwo\n")
    assert read("talks", NAMESPACE, tail_lines=1) == "two\n"
    assert read("talks", NAMESPACE, limit_bytes=5) == "one\nt"
    stamped = read("talks", NAMESPACE, timestamps=True).splitlines()
    assert [line.split(" ", 1)[1] for line in stamped] == ["one", "two"] and stamped[0][:4] == str(begun.year), stamped
    assert read("talks", NAMESPACE, since_seconds=3600, tail_lines=1) == "two\n"
    lines = []
    for line in watch.Watch().stream(core.read_namespaced_pod_log, name="talks", namespace=NAMESPACE):
        lines.append(line)
        if line == "two":
            assert run(core, "talks", ["touch", "/tmp/go"]) == ("", "", 0)
    assert lines == ["one", "two", "three"], lines
    error = fails(400, "BadRequest", read, "talks", NAMESPACE, previous=True)
    assert "previous terminated container" in error.body, error.body
    core.delete_namespaced_pod("talks", NAMESPACE)


def wait_for(is_so):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it is not so"


def run(core, name, command):
    answer = stream(
        core.connect_get_namespaced_pod_exec,
        name,
        NAMESPACE,
        command=command,
        stdout=True,
        stderr=True,
        stdin=False,
        tty=False,
        _preload_content=False,
    )
    answer.run_forever(timeout=PATIENCE_SECONDS)
    return answer.read_stdout(timeout=0), answer.read_stderr(timeout=0), answer.returncode


@check
def exec_over_websocket(core):
    assert run(core, "life", ["sh", "-c", "echo out; echo err >&2; exit 7"]) == ("out\n", "err\n", 7)
    out, _, code = run(core, "life", ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"])
    assert (len(out), code) == (1000000, 0)
    talk = stream(
        core.connect_get_namespaced_pod_exec,
        "life",
        NAMESPACE,
        command=["sh", "-c", "while read word; do [ $word = end ] && exit 3; echo heard $word; done"],
        stdin=True,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    for word in ["one", "two"]:
        talk.write_stdin(word + "\n")
        assert talk.readline_stdout(timeout=PATIENCE_SECONDS) == f"heard {word}"
    talk.write_stdin("end\n")
    talk.run_forever(timeout=PATIENCE_SECONDS)
    assert talk.returncode == 3, talk.returncode
    terminal = stream(
        core.connect_get_namespaced_pod_exec, "life", NAMESPACE, command=["sh", "-c", "test -t 0 && echo on a terminal"], stdin=True, stdout=True, stderr=False, tty=True
    )
    assert terminal == "on a terminal\r\n", terminal


@check
def ports_over_websocket(core):
    forward = portforward(core.connect_get_namespaced_pod_portforward, "life", NAMESPACE, ports="8000,7000")
    connection = http.client.HTTPConnection("pod")
    connection.sock = forward.socket(8000)
    connection.sock.settimeout(PATIENCE_SECONDS)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"status 200\n")
    connection.close()
    assert forward.error(8000) is None and forward.error(7000) is None
    forward.close()
    refused = portforward(core.connect_get_namespaced_pod_portforward, "life", NAMESPACE, ports="9")
    wait_for(lambda: refused.error(9))
    assert "failed to connect to localhost:9 inside namespace" in refused.error(9), refused.error(9)


@check
def events_are_told(core):
    events = core.list_namespaced_event(NAMESPACE, field_selector="involvedObject.name=life,type=Normal").items
    assert {"Scheduled", "Created", "Started"} <= {event.reason for event in events}, events
    # The typed client wants an `eventTime`, which events of a kubelet do not have.
    modern = dynamic.DynamicClient(core.api_client).resources.get(api_version="events.k8s.io/v1", kind="Event").get(namespace=NAMESPACE).items
    assert any(event.regarding.name == "life" and event.reason == "Started" for event in modern)


@check
def a_watch_from_too_long_ago_is_told_to_begin_anew(core):
    since = core.create_namespaced_config_map(NAMESPACE, {"metadata": {"name": "large"}}).metadata.resource_version
    text = "x" * 900000
    # More than is kept of changes.
    for number in range(30):
        core.patch_namespaced_config_map("large", NAMESPACE, {"data": {"x": f"{number}{text}"}})
    try:
        for event in watch.Watch().stream(core.list_namespaced_config_map, NAMESPACE, resource_version=since, timeout_seconds=PATIENCE_SECONDS):
            raise AssertionError(f"the watch goes on: {event['type']}")
        raise AssertionError("the watch ended without a word")
    except ApiException as error:
        assert error.status == 410, error
    listed = core.list_namespaced_config_map(NAMESPACE)
    core.patch_namespaced_config_map("large", NAMESPACE, {"data": {"x": "short"}})
    watching = watch.Watch()
    for event in watching.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=listed.metadata.resource_version, timeout_seconds=PATIENCE_SECONDS):
        assert event["object"].data == {"x": "short"}
        watching.stop()
    core.delete_namespaced_config_map("large", NAMESPACE)


@check
def a_pod_is_deleted_and_its_end_is_watched(core):
    since = core.read_namespaced_pod("life", NAMESPACE).metadata.resource_version
    stale = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="another"))
    fails(409, "Conflict", core.delete_namespaced_pod, "life", NAMESPACE, body=stale)
    answer = core.delete_namespaced_pod("life", NAMESPACE, grace_period_seconds=5)
    assert answer.metadata.deletion_grace_period_seconds == 5, answer
    seen = watch_until(core, since, "life", lambda kind, _: kind == "DELETED")
    assert {kind for kind, _ in seen[:-1]} == {"MODIFIED"}, seen
    fails(404, "NotFound", core.read_namespaced_pod, "life", NAMESPACE)
    core.create_namespaced_pod(NAMESPACE, pod("evicted", ["tapp", "run"]))
    seen = watch_until(core, "0", "evicted", is_ready)
    core.create_namespaced_pod_eviction("evicted", NAMESPACE, {"metadata": {"name": "evicted", "namespace": NAMESPACE}})
    watch_until(core, seen[-1][1].metadata.resource_version, "evicted", lambda kind, _: kind == "DELETED")
    wait_for(lambda: core.list_namespaced_pod(NAMESPACE).items == [])


if __name__ == "__main__":
    config.load_kube_config(config_file=sys.argv[1])
    for function in checks:
        function(client.CoreV1Api())
        print("ok", function.__name__, flush=True)
    print("all", len(checks), flush=True)
