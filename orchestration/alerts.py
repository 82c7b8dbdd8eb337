"""Being told: failed runs and failed checks, by webhook or mail.

Who is told, and how, stands in the environment. None of it, nor any other secret of the environment,
stands in a message, a log or metadata.
"""

import json
import os
import re
import smtplib
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from email.message import EmailMessage

import dagster as dg

from lib.errors import AlertError

WEBHOOK = "DINOLAKE_ALERT_WEBHOOK"
MAIL_TO, MAIL_FROM = "DINOLAKE_ALERT_MAIL_TO", "DINOLAKE_ALERT_MAIL_FROM"
SMTP, SMTP_USER, SMTP_PASSWORD = (
    "DINOLAKE_ALERT_SMTP", "DINOLAKE_ALERT_SMTP_USER", "DINOLAKE_ALERT_SMTP_PASSWORD",
)  # fmt: skip
_TIMEOUT_S, _PAUSES_S = 10.0, (1.0, 4.0)
_SECRET = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIAL|WEBHOOK|DATABASE_URL", re.I)
# `user:password@` in an address.
_LOGIN = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


@dataclass(frozen=True, slots=True)
class Alert:
    """What a person is told. `text` is the whole of it, as Slack and its like show it."""

    event: str  # run_failed, check_failed, check_passed
    archive: str
    what: str
    reason: str
    run_id: str = ""

    @property
    def text(self) -> str:
        """One line."""
        return f"Dinolake: {self.what}: {self.reason}"

    def as_json(self) -> str:
        """The webhook's document."""
        return without_secrets(json.dumps({"text": self.text} | asdict(self), ensure_ascii=False))


def without_secrets(text: str) -> str:
    """A text without the values of environment variables that are secrets by their names, or logins."""
    hidden = _LOGIN.sub("***", text)
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET.search(name):
            hidden = hidden.replace(value, "***").replace(json.dumps(value)[1:-1], "***")
    return hidden


def is_anyone_told() -> bool:
    """Whether the environment names a webhook, or a mail server and an address."""
    return bool(os.environ.get(WEBHOOK) or (os.environ.get(MAIL_TO) and os.environ.get(SMTP)))


def tell(alert: Alert) -> None:
    """Post and mail an alert, to whom the environment names; tried three times.

    Raises:
        AlertError: It couldn't be delivered. The message names no address.
    """
    if webhook := os.environ.get(WEBHOOK):
        _try(WEBHOOK, lambda: _post(webhook, alert))
    if os.environ.get(MAIL_TO) and os.environ.get(SMTP):
        _try(SMTP, lambda: _mail(alert))


def _try(name: str, send: "Callable[[], None]") -> None:
    for pause_s in (*_PAUSES_S, None):
        try:
            return send()
        except urllib.error.HTTPError as error:
            fault, passes = f"it answered {error.code}", error.code >= 500 or error.code == 429
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # The errors of these libraries quote addresses: only their kind is told.
            fault, passes = type(error).__name__, isinstance(error, OSError)
        if not passes or pause_s is None:
            raise AlertError(f"the alert couldn't be sent by {name} ({fault}). See to its value.") from None
        time.sleep(pause_s)


def _post(webhook: str, alert: Alert) -> None:
    if not webhook.startswith(("http://", "https://")):
        raise ValueError
    request = urllib.request.Request(  # noqa: S310 - http and https alone
        webhook, alert.as_json().encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
        pass


def _mail(alert: Alert) -> None:
    host, _, port = os.environ[SMTP].rpartition(":")
    message = EmailMessage()
    message["Subject"] = without_secrets(" ".join(f"Dinolake: {alert.what}".split()))[:200]
    message["To"] = os.environ[MAIL_TO]
    message["From"] = os.environ.get(MAIL_FROM) or f"dinolake@{socket.gethostname()}"
    message.set_content(without_secrets(f"{alert.what}\n\n{alert.reason}\n\n{alert.run_id}\n"))
    user, password = os.environ.get(SMTP_USER), os.environ.get(SMTP_PASSWORD)
    if int(port) == 465:
        server: smtplib.SMTP = smtplib.SMTP_SSL(
            host, 465, timeout=_TIMEOUT_S, context=ssl.create_default_context()
        )
    else:
        server = smtplib.SMTP(host, int(port), timeout=_TIMEOUT_S)
    with server:
        if int(port) != 465 and (user or server.has_extn("starttls")):
            # A password goes over an encrypted line or not at all.
            server.starttls(context=ssl.create_default_context())
        if user and password:
            server.login(user, password)
        server.send_message(message)


def alert_sensors(checks: Sequence[dg.AssetCheckKey]) -> Iterable[dg.SensorDefinition]:
    """The sensors that tell: of runs that failed for good, and of checks that no longer pass, or do again."""
    yield _failed_runs()
    yield _failed_checks(checks)


def _failed_runs() -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="tell_of_failed_runs",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description=f"A run that failed for good, by {WEBHOOK} or mail.",
    )
    def tell_of_failed_runs(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return dg.SkipReason("it is tried again")
        if not is_anyone_told():
            return dg.SkipReason(f"nobody is told: neither {WEBHOOK} nor {MAIL_TO} and {SMTP} are set")
        archive = run.tags.get("dinolake/archive") or run.job_name.partition("__")[0]
        tell(Alert("run_failed", archive, f"run {run.run_id[:8]} of {run.job_name} failed",
                   context.failure_event.message or "no reason given", run.run_id))  # fmt: skip
        return None

    return tell_of_failed_runs


def _failed_checks(checks: Sequence[dg.AssetCheckKey]) -> dg.SensorDefinition:
    @dg.sensor(
        name="tell_of_failed_checks",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description=f"A check that no longer passes, or does again, by {WEBHOOK} or mail.",
    )
    def tell_of_failed_checks(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        if not is_anyone_told():
            return dg.SkipReason(f"nobody is told: neither {WEBHOOK} nor {MAIL_TO} and {SMTP} are set")
        failing = set(json.loads(context.cursor or "[]"))
        now = dict(_outcomes(context.instance, checks))
        told = f"{sum(not evaluation.passed for evaluation in now.values())} of {len(now)} checks don't pass"
        for name, evaluation in sorted(now.items()):
            if evaluation.passed != (name in failing):
                continue
            try:
                tell(_alert_of(name, evaluation))
            except AlertError as error:
                # A tick that fails loses its cursor: what was told before would be told again.
                told = f"{error} The next tick tries again."
                break
            failing ^= {name}
        context.update_cursor(json.dumps(sorted(failing)))
        return dg.SkipReason(told)

    return tell_of_failed_checks


def _alert_of(name: str, evaluation: dg.AssetCheckEvaluation) -> Alert:
    event, verb = ("check_passed", "passes again") if evaluation.passed else ("check_failed", "doesn't pass")
    reason = evaluation.description or "no reason given"
    return Alert(event, evaluation.asset_key.path[0], f"check {name} {verb}", reason)


def _outcomes(
    instance: dg.DagsterInstance, checks: Sequence[dg.AssetCheckKey]
) -> Iterable[tuple[str, dg.AssetCheckEvaluation]]:
    """The last outcome of each check that has one."""
    latest: Mapping[dg.AssetCheckKey, object] = (
        instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    )
    for key, record in latest.items():
        event = getattr(getattr(record, "event", None), "dagster_event", None)
        if event is not None and isinstance(event.event_specific_data, dg.AssetCheckEvaluation):
            yield f"{key.asset_key.to_user_string()}: {key.name}", event.event_specific_data
