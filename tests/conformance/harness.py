"""A waitd process, a client of it, and the words in which the tests speak of both."""

import contextlib
import os
import re
import shutil
import signal as signals
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request

import grpc
from google.protobuf import duration_pb2, empty_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc.health.v1 import health_pb2, health_pb2_grpc
from waitd.v1 import waitd_pb2 as pb
from waitd.v1 import waitd_pb2_grpc

READ, WRITE, READ_WRITE = pb.MODE_READ, pb.MODE_WRITE, pb.MODE_READ_WRITE
EXCLUSIVE, FIFO, LATCH = pb.KIND_EXCLUSIVE, pb.KIND_FIFO, pb.KIND_LATCH
KINDS = [EXCLUSIVE, FIFO, LATCH]
READY, TIMED_OUT, CLOSED = pb.OUTCOME_READY, pb.OUTCOME_TIMED_OUT, pb.OUTCOME_CLOSED
BY_DEADLINE, BY_WAIT, BY_MAX_WAIT = (
    pb.TIMEOUT_CAUSE_DEADLINE, pb.TIMEOUT_CAUSE_WAIT, pb.TIMEOUT_CAUSE_MAX_WAIT)
WOKE, REMEMBERED, COALESCED, REFUSED = (
    pb.READY_EFFECT_WOKE, pb.READY_EFFECT_REMEMBERED, pb.READY_EFFECT_COALESCED,
    pb.READY_EFFECT_REFUSED)
IF_NOT_EXPIRED, IF_WAITING = pb.READY_CONDITION_NOT_EXPIRED, pb.READY_CONDITION_WAITING
ONLY_LATER, ONLY_EARLIER, ARM_OR_EXTEND = (
    pb.DEADLINE_CONDITION_ONLY_LATER, pb.DEADLINE_CONDITION_ONLY_EARLIER,
    pb.DEADLINE_CONDITION_ARM_OR_EXTEND)
ARMED, EXTENDED, SHORTENED, UNCHANGED, CLEARED, EXPIRED, NOT_SET = (
    pb.DEADLINE_EFFECT_ARMED, pb.DEADLINE_EFFECT_EXTENDED, pb.DEADLINE_EFFECT_SHORTENED,
    pb.DEADLINE_EFFECT_UNCHANGED, pb.DEADLINE_EFFECT_CLEARED, pb.DEADLINE_EFFECT_EXPIRED,
    pb.DEADLINE_EFFECT_REFUSED)
NIL, HELD, WAITING = (
    pb.SEMAPHORE_STATE_NIL, pb.SEMAPHORE_STATE_READY, pb.SEMAPHORE_STATE_WAITING)

CALL_LIMIT_S = 30
CLEAR = "clear"


def eventually(check, what, limit_s=CALL_LIMIT_S):
    """Asks until the answer is true, and returns it; each asking is a call, so none is idle."""
    end = time.monotonic() + limit_s
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"


def duration(seconds):
    """Seconds, as a number or a Duration made by hand, as a Duration."""
    if seconds is None or isinstance(seconds, duration_pb2.Duration):
        return seconds
    nanos = round(seconds * 1_000_000_000)
    whole = abs(nanos) // 1_000_000_000 * (1 if nanos >= 0 else -1)
    return duration_pb2.Duration(seconds=whole, nanos=nanos - whole * 1_000_000_000)


def timestamp(seconds):
    """Seconds since the epoch, or a Timestamp made by hand, as a Timestamp."""
    if seconds is None or isinstance(seconds, timestamp_pb2.Timestamp):
        return seconds
    nanos = round(seconds * 1_000_000_000)
    return timestamp_pb2.Timestamp(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def seconds(time_or_duration):
    """A Duration or Timestamp as a number, for comparing to no less than a microsecond."""
    return time_or_duration.seconds + time_or_duration.nanos / 1e9


def nanos(time_or_duration):
    """A Duration or Timestamp, exactly."""
    return time_or_duration.seconds * 1_000_000_000 + time_or_duration.nanos


def options(**fields):
    """OpenOptions; idle_ttl in seconds."""
    if "idle_ttl" in fields:
        fields["idle_ttl"] = duration(fields["idle_ttl"])
    return pb.OpenOptions(**fields)


class Refusal:
    """What a refused call said."""

    def __init__(self, error):
        self.code = error.code()
        self.message = error.details()
        self.reason = self.domain = self.retry_delay = None
        self.metadata, self.fields, self.quota = {}, [], []
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                self._read(status_pb2.Status.FromString(value), error)

    def _read(self, status, error):
        assert status.code == error.code().value[0], "the details tell of another status"
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                self.reason, self.domain, self.metadata = (
                    info.reason, info.domain, dict(info.metadata))
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                self.fields = [violation.field for violation in bad.field_violations]
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                self.retry_delay = seconds(retry.retry_delay)
            elif detail.Is(error_details_pb2.QuotaFailure.DESCRIPTOR):
                quota = error_details_pb2.QuotaFailure()
                detail.Unpack(quota)
                self.quota = list(quota.violations)

    def __repr__(self):
        return (f"Refusal({self.code}, reason={self.reason}, fields={self.fields}, "
                f"metadata={self.metadata}, message={self.message!r})")


def check_refusal(error, code, reason, field=None):
    """Asserts status, reason, domain and field of an RpcError, and returns what it said."""
    refusal = Refusal(error)
    assert refusal.code == code, refusal
    if reason is not None:
        assert (refusal.reason, refusal.domain) == (reason, "waitd"), refusal
    if field is not None:
        assert refusal.fields == [field], refusal
    if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        assert refusal.retry_delay is not None and refusal.retry_delay > 0, refusal
    assert refusal.message, "a refusal without a word"
    return refusal


@contextlib.contextmanager
def refused(code, reason, field=None):
    """Asserts that the call inside is refused so. Yields a list that gets the Refusal."""
    said = []
    try:
        yield said
    except grpc.RpcError as error:
        said.append(check_refusal(error, getattr(grpc.StatusCode, code), reason, field))
        return
    raise AssertionError(f"not refused: expected {code} {reason}")


def refusal_of(call, code, reason, field=None):
    """Asserts that a call that was started is refused so."""
    with refused(code, reason, field) as said:
        call.result()
    return said[0]


class _WithToken(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the token to each call."""

    def __init__(self, token):
        self._metadata = (("authorization", f"Bearer {token}"),)

    def _details(self, details):
        return details._replace(metadata=tuple(details.metadata or ()) + self._metadata)

    def intercept_unary_unary(self, continuation, client_call_details, request):
        return continuation(self._details(client_call_details), request)

    def intercept_stream_stream(self, continuation, client_call_details, request_iterator):
        return continuation(self._details(client_call_details), request_iterator)


class Client:
    """The contract's calls on one connection. start_... returns at once; the others block, for
    CALL_LIMIT_S at most. Times are in seconds; a field that is None is left unset."""

    def __init__(self, address, credentials=None, token=None):
        """credentials: of TLS; token: sent with each call."""
        # A pool of its own: clients that share a connection would share its fate.
        pool = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = (grpc.insecure_channel(address, options=pool) if credentials is None
                        else grpc.secure_channel(address, credentials, options=pool))
        if token is not None:
            self.channel = grpc.intercept_channel(self.channel, _WithToken(token))
        self.stub = waitd_pb2_grpc.WaitServiceStub(self.channel)
        self.health_stub = health_pb2_grpc.HealthStub(self.channel)
        self._names = 0

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.disconnect()

    def disconnect(self):
        self.channel.close()

    def start(self, method, request, call_limit_s=CALL_LIMIT_S):
        """Starts the call of that name: one way of carrying it, which others replace."""
        return getattr(self.stub, method).future(request, timeout=call_limit_s)

    def start_open(self, name, must_create=False, request_id="", first_sent_ago=None, **fields):
        return self.start("OpenPollDescriptor", pb.OpenPollDescriptorRequest(
            name=name, options=options(**fields), must_create=must_create,
            request_id=request_id, first_sent_ago=duration(first_sent_ago)))

    def open(self, name, kind=EXCLUSIVE, **fields):
        return self.start_open(name, kind=kind, **fields).result()

    def start_close(self, name, first_sent_ago=None, **fields):
        return self.start("ClosePollDescriptor", pb.ClosePollDescriptorRequest(
            name=name, first_sent_ago=duration(first_sent_ago), **fields))

    def close(self, name, **fields):
        return self.start_close(name, **fields).result()

    def start_reset(self, name, mode=READ, first_sent_ago=None, **fields):
        return self.start("Reset", pb.ResetRequest(
            name=name, mode=mode, first_sent_ago=duration(first_sent_ago), **fields))

    def reset(self, name, mode=READ, **fields):
        return self.start_reset(name, mode, **fields).result()

    def start_wait(self, name, timeout=None, mode=READ, call_limit_s=CALL_LIMIT_S,
                   first_sent_ago=None, ack_timeout=None, **fields):
        return self.start("Wait", pb.WaitRequest(
            name=name, mode=mode, timeout=duration(timeout),
            first_sent_ago=duration(first_sent_ago), ack_timeout=duration(ack_timeout), **fields),
            call_limit_s)

    def wait(self, name, timeout=None, mode=READ, **fields):
        return self.start_wait(name, timeout, mode, **fields).result()

    def start_ready(self, name, data=None, mode=READ, signal=None, first_sent_ago=None, **fields):
        if data is not None:
            signal = pb.Signal(data=data)
        return self.start("Ready", pb.ReadyRequest(
            name=name, mode=mode, signal=signal, first_sent_ago=duration(first_sent_ago),
            **fields))

    def ready(self, name, data=None, mode=READ, **fields):
        return self.start_ready(name, data, mode, **fields).result()

    def start_deadline(self, name, timeout=None, mode=READ, at=None, first_sent_ago=None,
                       **fields):
        """timeout in seconds, or CLEAR; or at, in seconds since the epoch."""
        request = pb.SetDeadlineRequest(
            name=name, mode=mode, first_sent_ago=duration(first_sent_ago), **fields)
        if timeout == CLEAR:
            request.clear.CopyFrom(empty_pb2.Empty())
        elif timeout is not None:
            request.timeout.CopyFrom(duration(timeout))
        elif at is not None:
            request.at.CopyFrom(timestamp(at))
        return self.start("SetDeadline", request)

    def deadline(self, name, timeout=None, mode=READ, at=None, **fields):
        return self.start_deadline(name, timeout, mode, at, **fields).result()

    def start_poll(self, targets, need=0, timeout=None, call_limit_s=CALL_LIMIT_S,
                   first_sent_ago=None, ack_timeout=None, **fields):
        """targets: names, (name, mode) pairs, or Targets."""
        return self.start("Poll", pb.PollRequest(
            targets=[self._target(target) for target in targets], need=need,
            timeout=duration(timeout), first_sent_ago=duration(first_sent_ago),
            ack_timeout=duration(ack_timeout), **fields), call_limit_s)

    def poll(self, targets, need=0, timeout=None, **fields):
        return self.start_poll(targets, need, timeout, **fields).result()

    def start_ack(self, name, wait_id, answer, mode=READ, **fields):
        """answer: how the wait with that id ended."""
        named = {"delivery": answer.delivery, "generation": answer.generation, **fields}
        return self.start("Ack", pb.AckRequest(name=name, mode=mode, wait_id=wait_id, **named))

    def ack(self, name, wait_id, answer, mode=READ, **fields):
        return self.start_ack(name, wait_id, answer, mode, **fields).result()

    @staticmethod
    def _target(target):
        if isinstance(target, pb.PollRequest.Target):
            return target
        name, mode = target if isinstance(target, tuple) else (target, READ)
        return pb.PollRequest.Target(name=name, mode=mode)

    def get(self, name):
        return self.stub.GetPollDescriptor(
            pb.GetPollDescriptorRequest(name=name), timeout=CALL_LIMIT_S).poll_descriptor

    def side(self, name, mode=READ):
        descriptor = self.get(name)
        return descriptor.write if mode == WRITE else descriptor.read

    def list(self, **fields):
        return self.stub.ListPollDescriptors(
            pb.ListPollDescriptorsRequest(**fields), timeout=CALL_LIMIT_S)

    def is_open(self, name):
        try:
            self.get(name)
        except grpc.RpcError as error:
            check_refusal(error, grpc.StatusCode.NOT_FOUND, "NO_DESCRIPTOR")
            return False
        return True

    def health(self, service=""):
        return self.health_stub.Check(
            health_pb2.HealthCheckRequest(service=service), timeout=CALL_LIMIT_S).status

    def serves(self):
        """Whether it says so; not: it says otherwise, or does not answer yet."""
        try:
            return self.health() == health_pb2.HealthCheckResponse.SERVING
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
            return False

    def await_parked(self, name, count=1, mode=READ, limit_s=CALL_LIMIT_S):
        """Returns when exactly so many waits are parked on a side."""
        eventually(lambda: self.side(name, mode).waiters == count, f"{count} parked on {name}",
                   limit_s)

    def park(self, name, timeout=None, mode=READ, count=1, **fields):
        """Starts a wait, and returns it when it is parked as the count-th of its side."""
        call = self.start_wait(name, timeout, mode, **fields)
        self.await_parked(name, count, mode)
        return call

    def await_detached(self, name):
        """Returns when the server has noticed that the client of the wait that stands there is gone."""
        eventually(lambda: refusal_of(self.start_wait(name), "FAILED_PRECONDITION",
                                      "DOUBLE_WAIT").metadata["connected"] == "false",
                   f"the client that waits on {name} is gone")

    def park_briefly(self, name, timeout):
        """Parks a wait for a while that is short, but long enough to see it parked; and for how
        long that is. So its instant comes within that time from now."""
        while True:
            call = self.start_wait(name, timeout)
            eventually(lambda call=call: call.done() or self.side(name).waiters == 1,
                       f"one parked on {name}, or gone")
            if not call.done():
                return call, timeout
            assert timed_out(call.result(), BY_WAIT)
            timeout *= 2

    def park_poll(self, targets, need=0, timeout=None, **fields):
        """Starts a poll, and returns it when it is parked on all of its targets."""
        call = self.start_poll(targets, need, timeout, **fields)
        for target in call_targets(targets):
            self.await_parked(*target)
        return call

    def elapse(self, length_s):
        """Lets so much time pass by the server's clock: it is waited for there."""
        self._names += 1
        name = f"elapse/{id(self)}/{self._names}"
        answer = self.wait(name, length_s, open_if_missing=options(kind=FIFO))
        assert (answer.outcome, answer.timeout_cause) == (TIMED_OUT, BY_WAIT)
        self.close(name)

    def takes(self, name, mode=READ):
        """Whether a try takes a READY."""
        return self.wait(name, 0, mode).outcome == READY


def call_targets(targets):
    """(name, 1, mode) of each target, as await_parked wants them."""
    for target in targets:
        name, mode = target if isinstance(target, tuple) else (target, READ)
        yield name, 1, mode


def timed_out(answer, cause):
    """Whether a wait ended by that limit, and not before it."""
    return (answer.outcome == TIMED_OUT and answer.timeout_cause == cause
            and nanos(answer.late) >= 0)


_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text):
    """Prometheus' text format as {(name, frozenset of labels): value}."""
    samples = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = _SAMPLE.match(line)
            assert match, f"no sample: {line!r}"
            key = (match[1], frozenset(_LABEL.findall(match[2] or "")))
            assert key not in samples, f"twice: {line}"
            samples[key] = float(match[3])
    return samples


class Metrics:
    """One scrape."""

    def __init__(self, text):
        self.text = text
        self.samples = parse_metrics(text)

    def __call__(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def total(self, name):
        """The sum over all label sets."""
        return sum(value for (of, _), value in self.samples.items() if of == name)

    def label_sets(self, name):
        return [dict(labels) for of, labels in self.samples if of == name]


class Server:
    """A waitd process on a unix socket of its own, with its metrics on a free port.

    env replaces what the process sees as WAITD_*; config is the text of its config file;
    listen replaces the address; credentials are those of TLS by which its state is asked for.
    """

    def __init__(self, binary, *flags, env=None, config=None, listen=None, credentials=None):
        self.directory = tempfile.mkdtemp(prefix="waitd-")
        self._listen = listen or f"unix:{self.directory}/s"
        self._arguments = [binary, f"--listen-address={self._listen}",
                           "--metrics-address=127.0.0.1:0", *self._store(), *flags]
        if config is not None:
            path = os.path.join(self.directory, "config")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config)
            self._arguments.append(f"--config={path}")
        self._env = clean_environment(env)
        self._credentials = credentials
        self._changed = threading.Condition()
        self.process, self._seen_to_end = None, False

    def _store(self):
        """The whole suite runs on the store that WAITD_TEST_STORE names."""
        store = os.environ.get("WAITD_TEST_STORE", "memory")
        return [f"--store={store}", f"--data-dir={self.directory}/data"]

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        """Starts it; after kill or exit_code once more, on the same data."""
        self._lines, self._ended, self._seen_to_end = [], False, False
        self.process = subprocess.Popen(
            self._arguments, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=self._env,
            text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.await_log(r"listen=\S+ metrics=\S+")
        self.address = re.search(r"listen=(\S+)", line)[1]
        self.metrics_address = re.search(r"metrics=(\S+)", line)[1]
        with self.client() as client:
            grpc.channel_ready_future(client.channel).result(timeout=CALL_LIMIT_S)
            # One whose connections are short-lived may take it away from this call, too.
            eventually(client.serves, "it serves")
        return self

    def _read(self):
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def await_log(self, pattern):
        """The first line of the log that matches; it may be still to come."""
        def find():
            return next((line for line in self._lines if re.search(pattern, line)), None)
        with self._changed:
            assert self._changed.wait_for(
                lambda: find() or self._ended, CALL_LIMIT_S), f"no line {pattern}: {self._lines}"
            assert find(), f"it ended without a line {pattern}: {self._lines}"
            return find()

    def client(self, **who):
        return Client(self.address, **{"credentials": self._credentials, **who})

    def terminate(self):
        self.process.send_signal(signals.SIGTERM)

    def kill(self):
        """Ends the process as a crash does."""
        self.process.kill()
        assert self.exit_code() == -signals.SIGKILL

    def exit_code(self):
        """Waits until the process has ended by itself. Whoever asks judges the code."""
        code = self.process.wait(timeout=CALL_LIMIT_S)
        self._reader.join()
        self.process.stderr.close()
        self._seen_to_end = True
        return code

    def stop(self):
        """Ends the process, unless a test has seen it end, and checks that it ended well."""
        try:
            if self.process and not self._seen_to_end:
                # One that is gone already was not told to go: its code says how it fell.
                if self.process.poll() is None:
                    self.terminate()
                code = self.exit_code()
                assert code == 0, (code, self._lines)
        finally:
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
                self._reader.join()
                self.process.stderr.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def http(self, path):
        """Status and body of a page beside the metrics."""
        try:
            with urllib.request.urlopen(f"http://{self.metrics_address}{path}",
                                        timeout=CALL_LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metrics(self):
        status, text = self.http("/metrics")
        assert status == 200
        return Metrics(text)

    def await_at_rest(self):
        """Nobody is left parked, and the gauges never went below zero."""
        def at_rest():
            metrics = self.metrics()
            parked = [metrics("waitd_waiters", mode=mode) for mode in ("read", "write", "poll")]
            assert min(parked) >= 0
            return not any(parked)
        eventually(at_rest, "nobody parked")

    def rss(self):
        """Resident memory, in bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measured_memory():
    """The environment of a server whose resident memory is looked at: a sanitizer keeps what was
    freed for a while, which is not what is measured."""
    options = f"{os.environ.get('ASAN_OPTIONS', '')}:quarantine_size_mb=4"
    return {"ASAN_OPTIONS": options.lstrip(":")}


def clean_environment(extra=None):
    """This process's environment without its WAITD_*, and with those given. A server that is not
    told where its store is finds no place for it, and least of all the user's own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WAITD_")}
    return {**kept, "STATE_DIRECTORY": "/dev/null/none", **(extra or {})}


SOMEWHERE = ["--listen-address=127.0.0.1:0", "--metrics-address=127.0.0.1:0", "--store=memory"]


def assert_refused_at_start(waitd, arguments, env=None, mention=None):
    """It exits with 2, and says why in one line, which is returned."""
    result = subprocess.run([waitd, *arguments], env=clean_environment(env), text=True,
                            capture_output=True, timeout=CALL_LIMIT_S, check=False)
    assert result.returncode == 2, result
    assert not result.stdout, result
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].strip(), result
    if mention:
        assert mention in lines[0], result
    return lines[0]
