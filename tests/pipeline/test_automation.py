"""Archives that keep themselves up to date: the real UI, daemon and code server, and files that come."""

import json
import shutil
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest
from place import Place, make_videos
from served import by_sample, serving, watched_closely

from lib.errors import AlertError
from orchestration import alerts
from orchestration.alerts import Alert, tell, without_secrets

STAGES = ("items", "frames", "frame_embeddings", "centring", "clips", "summaries")
STALE = Alert(
    "check_failed", "talks", "check talks/sources: source_is_fresh doesn't pass", "quiet for 9 days"
)


class Hook:
    """A webhook on this machine; answers what it is told to, and keeps what it was sent."""

    def __init__(self, *answers: int):
        self.got: list[dict] = []
        left = list(answers)
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/services/T0/s3cret-token"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(alerts, "_PAUSES_S", (0.0, 0.0))
    for name in (alerts.WEBHOOK, alerts.MAIL_TO, alerts.SMTP, alerts.SMTP_USER, alerts.SMTP_PASSWORD):
        monkeypatch.delenv(name, raising=False)


def test_an_alert_is_posted_again_when_the_webhook_stumbles(quick, monkeypatch):
    hook = Hook(503, 200)
    monkeypatch.setenv(alerts.WEBHOOK, hook.url)
    tell(STALE)
    hook.close()
    assert [told["event"] for told in hook.got] == ["check_failed", "check_failed"]
    assert hook.got[0]["text"] == f"Dinolake: {STALE.what}: quiet for 9 days"


def test_an_alert_that_cannot_be_sent_says_so_without_the_address(quick, monkeypatch):
    hook = Hook(404)
    monkeypatch.setenv(alerts.WEBHOOK, hook.url)
    with pytest.raises(AlertError, match=r"DINOLAKE_ALERT_WEBHOOK \(it answered 404\)") as refused:
        tell(STALE)
    hook.close()
    assert len(hook.got) == 1
    assert "s3cret" not in str(refused.value) and refused.value.__cause__ is None
    monkeypatch.setenv(alerts.WEBHOOK, "not-an-address-s3cret")
    with pytest.raises(AlertError) as refused:
        tell(STALE)
    assert "s3cret" not in str(refused.value)


def test_secrets_of_the_environment_are_not_told(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", 'wJalr"XUtnFEMI')
    monkeypatch.setenv("DINOLAKE_POSTGRES_URL", "postgresql+psycopg2://lake:hunter22@db:5432/dagster")
    reason = 'key wJalr"XUtnFEMI at postgresql+psycopg2://lake:hunter22@db:5432/dagster failed'
    told = Alert("run_failed", "talks", "run 1", reason).as_json()
    assert "XUtnFEMI" not in told and "hunter22" not in told
    assert json.loads(told)["reason"] == "key *** at postgresql+psycopg2://***@db:5432/dagster failed"
    assert without_secrets("no secret here") == "no secret here"


class _Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as a client needs."""

    def handle(self):
        def say(line):
            self.wfile.write(f"{line}\r\n".encode())

        say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if verb == "DATA":
                say("354 go on")
                while (row := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    self.server.got.append(row)
                say("250 taken")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


def test_an_alert_is_mailed_where_a_server_is_named(quick, monkeypatch):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mailbox) as server:
        server.got = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(alerts.SMTP, f"127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv(alerts.MAIL_TO, "keeper@example.org")
        tell(STALE)
        monkeypatch.setenv(alerts.SMTP_USER, "me")
        monkeypatch.setenv(alerts.SMTP_PASSWORD, "s3cret-password")
        # The server offers no encryption: a password isn't sent in the clear.
        with pytest.raises(AlertError, match="DINOLAKE_ALERT_SMTP"):
            tell(STALE)
        server.shutdown()
    assert "To: keeper@example.org" in server.got
    assert any("source_is_fresh" in row for row in server.got if row.startswith("Subject:"))
    assert not any("s3cret" in row for row in server.got)


def test_a_check_is_told_of_once_when_it_fails_and_once_when_it_passes_again(quick, monkeypatch):
    hook = Hook()
    monkeypatch.setenv(alerts.WEBHOOK, hook.url)
    key = dg.AssetCheckKey(dg.AssetKey(["talks", "sources"]), "source_is_fresh")
    (_, sensor) = alerts.alert_sensors([key])
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        for passed in (True, False, False, False, True, True):
            found = dg.AssetCheckEvaluation(
                asset_key=key.asset_key,
                check_name=key.name,
                passed=passed,
                description="so it is",
                metadata={},
            )
            instance.report_runless_asset_event(found)
            context = dg.build_sensor_context(instance=instance, cursor=cursor)
            sensor(context)
            cursor = context.cursor
    hook.close()
    assert [told["event"] for told in hook.got] == ["check_failed", "check_passed"]


def test_a_run_that_failed_for_good_is_told_of_and_one_that_is_tried_again_is_not(quick, monkeypatch):
    @dg.op
    def breaks():
        raise dg.Failure("the disk is full")

    @dg.job
    def talks__run_embed():
        breaks()

    hook = Hook()
    monkeypatch.setenv(alerts.WEBHOOK, hook.url)
    (sensor, _) = alerts.alert_sensors([])
    with dg.DagsterInstance.ephemeral() as instance:
        for will_retry in ("true", "false"):
            made = talks__run_embed.execute_in_process(
                instance=instance, raise_on_error=False, tags={"dagster/will_retry": will_retry}
            )
            (event,) = [event for event in made.all_events if event.is_run_failure]
            run = instance.get_run_by_id(made.run_id)
            sensor(
                dg.build_run_status_sensor_context(
                    sensor.name, event, instance, run, context=None
                ).for_run_failure()
            )
    hook.close()
    assert [(told["event"], told["archive"], told["run_id"]) for told in hook.got] == [
        ("run_failed", "talks", made.run_id)
    ]
    assert "breaks" in hook.got[0]["reason"]


def test_sensors_go_on_after_the_clock_was_set_back():
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.scheduler.instigation import (
        InstigatorState,
        InstigatorStatus,
        InstigatorType,
        SensorInstigatorData,
    )

    from orchestration.instance import forget_future_ticks

    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("dinolake"), "__repository__")
    with dg.instance_for_test() as instance:
        for name, ahead_s in (("ahead", 86400.0), ("as_ever", -5.0)):
            state = InstigatorState(
                RemoteInstigatorOrigin(repository, name), InstigatorType.SENSOR, InstigatorStatus.RUNNING,
                SensorInstigatorData(
                    min_interval=30, cursor="kept", last_tick_timestamp=time.time() + ahead_s,
                    last_tick_start_timestamp=time.time() + ahead_s,
                ),
            )  # fmt: skip
            instance.add_instigator_state(state)
        assert forget_future_ticks(instance) == 1
        left = {state.name: state.instigator_data for state in instance.all_instigator_state()}
        assert left["ahead"].last_tick_timestamp is None and left["ahead"].cursor == "kept"
        assert left["as_ever"].last_tick_timestamp is not None


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_files_that_are_dropped_in_are_found_and_files_taken_away_are_not(tmp_path):
    quiet = Place(tmp_path / "quiet")
    make_videos(tmp_path / "stock", 5)
    quiet.videos.mkdir(parents=True)
    place = Place(tmp_path / "served")
    place.videos.mkdir(parents=True)
    watched_closely(place)
    hook = Hook()
    with serving(place, DINOLAKE_ALERT_WEBHOOK=hook.url) as served:
        for number in (0, 1):
            shutil.copy(tmp_path / "stock" / f"v{number}.mp4", place.videos)
        served.wait(lambda: served.is_up_to_date(2))
        # A file that takes its time to come, one that says that it is whole, and one that was there at once.
        whole = (tmp_path / "stock" / "v4.mp4").read_bytes()
        (place.videos / "v4.mp4").write_bytes(whole[:1000])
        (place.videos / "v2.mp4").write_bytes((tmp_path / "stock" / "v2.mp4").read_bytes())
        (place.videos / "v2.mp4.done").touch()
        grown = [1000]

        def grows() -> bool:
            grown[0] = min(grown[0] + 10, len(whole) - 1)
            (place.videos / "v4.mp4").write_bytes(whole[: grown[0]])
            return "v2" in {row["item"] for row in place.rows("items")}

        served.wait(grows, every_s=0.5)
        assert {row["item"] for row in place.rows("items")} == {"v0", "v1", "v2"}
        (place.videos / "v4.mp4").write_bytes(whole)
        served.wait(lambda: served.is_up_to_date(4))
        hits = place.json("search", "talks", "--item", "v0", "-k", "20")["hits"]
        assert {hit["item"] for hit in hits} >= {"v1", "v2", "v4"}
        # What is made again by a backfill from the UI is what was there.
        before = {stage: by_sample(place, stage) for stage in STAGES}
        for file in [*served.committed("clips"), *served.committed("summaries")]:
            file.unlink()
        backfill = served.backfill(["clips", "summaries"], ["s00000", "s00001"])
        served.wait(lambda: served.backfill_status(backfill) == "COMPLETED_SUCCESS")
        assert {stage: by_sample(place, stage) for stage in STAGES} == before
        (place.videos / "v1.mp4").unlink()
        served.wait(lambda: len([r for r in place.rows("items") if r["removed"]]) == 1)
        hits = place.json("search", "talks", "--item", "v0", "-k", "20")["hits"]
        assert "v1" not in {hit["item"] for hit in hits}
        served.wait(lambda: served.is_up_to_date(4))
    hook.close()
    assert not hook.got, "nothing failed, and somebody was told"
    quiet.add(shard_items=2)
    for batch in ((0, 1), (2,), (4,)):
        for number in batch:
            shutil.copy(tmp_path / "stock" / f"v{number}.mp4", quiet.videos)
        quiet.run()
    (quiet.videos / "v1.mp4").unlink()
    quiet.run()
    assert {s: by_sample(place, s) for s in STAGES} == {s: by_sample(quiet, s) for s in STAGES}
