"""In which words the tests of access speak: who comes, what each asks for, and what stands."""

import contextlib
import os
import threading

import grpc
from credentials import token_line
from google.protobuf import empty_pb2
from harness import CALL_LIMIT_S, FIFO, WRITE, Refusal, Server, duration, eventually, options
from session import FIELDS, SessionError, Stream, hello, result_of
from waitd.v1 import admin_pb2, admin_pb2_grpc
from waitd.v1 import waitd_pb2 as pb

RIGHTS = ["wait", "ready", "deadline", "open", "list", "admin"]
ADMIN = "/waitd.v1.AdminService/Backup"
METHODS = {
    pb.OpenPollDescriptorRequest: "OpenPollDescriptor",
    pb.ClosePollDescriptorRequest: "ClosePollDescriptor", pb.ResetRequest: "Reset",
    pb.WaitRequest: "Wait", pb.ReadyRequest: "Ready", pb.SetDeadlineRequest: "SetDeadline",
    pb.PollRequest: "Poll", pb.AckRequest: "Ack",
    pb.GetPollDescriptorRequest: "GetPollDescriptor",
    pb.ListPollDescriptorsRequest: "ListPollDescriptors",
}
UNKNOWN, DENIED, MISSING = (
    (grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS"),
    (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
    (grpc.StatusCode.NOT_FOUND, "NO_DESCRIPTOR"))


def token_of(identity):
    return f"token-of-{identity}-which-nobody-else-knows"


def tokens(*identities):
    """The text of a token file."""
    return "".join(token_line(one, token_of(one)) for one in identities)


def replace(path, text):
    """Puts another version of a file in its place, so that nobody reads half of one."""
    new = f"{path}.new"
    with open(new, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(new, path)


def wait(name, timeout=None, **fields):
    return pb.WaitRequest(name=name, timeout=duration(timeout), **fields)


def ready(name, data=b"", **fields):
    return pb.ReadyRequest(name=name, signal=pb.Signal(data=data), **fields)


def poll(*names, timeout=None, **fields):
    return pb.PollRequest(targets=[pb.PollRequest.Target(name=one) for one in names],
                          timeout=duration(timeout), **fields)


def answer(client, request):
    """What a unary call is answered: a response, or a Refusal."""
    try:
        if isinstance(request, admin_pb2.BackupRequest):
            return admin_pb2_grpc.AdminServiceStub(client.channel).Backup(
                request, timeout=CALL_LIMIT_S)
        return getattr(client.stub, METHODS[type(request)])(request, timeout=CALL_LIMIT_S)
    except grpc.RpcError as error:
        return Refusal(error)


class Operations:
    """One session, and what each of its operations is answered; as answer() of unary calls."""

    def __init__(self, client):
        self.stream = Stream(client.channel, hello(linger=0.001))
        self.token = self.stream.welcome().resume_token
        self._last = 0

    def __call__(self, request):
        self._last += 1
        self.stream.send((self._last, request))
        try:
            return result_of(self.stream.results(1)[self._last])
        except SessionError as error:
            return Refusal(error)


def in_a_hello(client, request):
    """What a stream is answered whose first message is a hello with an operation: the Refusal with
    which it ended."""
    with Stream(client.channel) as stream:
        stream.send((1, request), hello=hello(linger=0.001))
        error = stream.ended()
        assert error is not None, "it ended well"
        return Refusal(error)


def kind_of(said):
    """Status and reason of a Refusal; None of an answer."""
    return (said.code, said.reason) if isinstance(said, Refusal) else None


class Scene:
    """A name on which something of each sort stands, which any call would change: a READY and a
    hand-off without its Ack on the read side, a wait and a deadline on the write side. Beside it a
    name that is not open."""

    def __init__(self, owner, name):
        self.owner, self.name, self.missing = owner, name, f"{name}/missing"
        owner.open(name, kind=FIFO, labels={"a": "b"})
        owner.ready(name, b"handed over")
        self.handed = owner.wait(name, wait_id="handed", ack_timeout=1000)
        owner.ready(name, b"remembered")
        owner.deadline(name, 1000, WRITE)
        self.call = owner.park(name, mode=WRITE)

    def look(self):
        """All that there is to see."""
        shown = self.owner.get(self.name)
        shown.write.deadline.ClearField("remaining")
        return shown, [one.name for one in self.owner.list(prefix=self.name).poll_descriptors]

    def end(self):
        """The wait is still the one that was parked, and the READY the one that was sent."""
        assert not self.call.done()
        assert self.owner.wait(self.name, 0).signal.data == b"remembered"
        self.owner.ack(self.name, "handed", self.handed)
        self.owner.ready(self.name, b"last", mode=WRITE)
        assert self.call.result().signal.data == b"last"


def of_a_right(name, handed=pb.WaitResponse(delivery=1, generation=1)):
    """Calls that need one right on a name, by a word for each: (right, request)."""
    return {
        "close": ("open", pb.ClosePollDescriptorRequest(name=name)),
        "reset": ("ready", pb.ResetRequest(name=name)),
        "ready": ("ready", ready(name, b"in between", mode=pb.MODE_READ_WRITE)),
        "set_deadline": ("deadline", pb.SetDeadlineRequest(
            name=name, mode=WRITE, timeout=duration(0))),
        "clear": ("deadline", pb.SetDeadlineRequest(
            name=name, mode=WRITE, clear=empty_pb2.Empty())),
        "try": ("wait", wait(name, 0)),
        "wait": ("wait", wait(name, 0.001, mode=WRITE)),
        "wait with an id": ("wait", wait(name, wait_id="handed", ack_timeout=duration(1000))),
        "poll": ("wait", poll(name, timeout=0)),
        "ack": ("wait", pb.AckRequest(name=name, wait_id="handed", delivery=handed.delivery,
                                      generation=handed.generation)),
        "get": ("list", pb.GetPollDescriptorRequest(name=name)),
    }


def that_open(name, missing):
    """Calls that would open the name that is missing, or name the one that is open: (what else they
    need the right to, request)."""
    opened = options(kind=FIFO)
    return {
        "open": (None, pb.OpenPollDescriptorRequest(name=missing, options=opened)),
        "open what is open": (None, pb.OpenPollDescriptorRequest(name=name, options=opened)),
        "open with another kind": (None, pb.OpenPollDescriptorRequest(name=name)),
        "must_create": (None, pb.OpenPollDescriptorRequest(name=name, must_create=True)),
        "wait": ("wait", wait(missing, 0, open_if_missing=opened)),
        "wait on what is open": ("wait", wait(name, 0, open_if_missing=opened)),
        "ready": ("ready", ready(missing, open_if_missing=opened)),
        "ready on what is open": ("ready", ready(name, open_if_missing=opened)),
        "set_deadline": ("deadline", pb.SetDeadlineRequest(
            name=missing, timeout=duration(0), open_if_missing=opened)),
        "poll": ("wait", poll(name, missing, timeout=0, open_if_missing=opened)),
    }


def in_sessions(request):
    """Whether there is an operation for it."""
    return type(request) in FIELDS


def every_call(scene):
    """One of each method and more, all of which would change the scene or tell of it."""
    calls = {word: request for word, (_, request) in of_a_right(
        scene.name, scene.handed).items()}
    calls |= {f"{word} if missing": request
              for word, (_, request) in that_open(scene.name, scene.missing).items()}
    calls["list"] = pb.ListPollDescriptorsRequest(prefix=scene.name)
    calls["backup"] = admin_pb2.BackupRequest(name="nobody-may")
    assert {type(request) for request in calls.values()} == {*METHODS, admin_pb2.BackupRequest}
    return calls


class Guarded:
    """A server with tokens and rules of its own, and the clients of it by who they are."""

    def __init__(self, waitd, directory, rules, identities, *flags):
        self.tokens, self.rules = directory / "tokens", directory / "acl"
        replace(self.tokens, tokens(*identities))
        replace(self.rules, rules)
        self.server = Server(waitd, "--auth=token", f"--token-file={self.tokens}",
                             f"--acl-file={self.rules}", *flags)
        self._clients = contextlib.ExitStack()
        self._known = {}

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *unused):
        self._clients.close()
        self.server.stop()

    def bearer(self, token):
        """A client that sends this token; None: none."""
        if token not in self._known:
            self._known[token] = self._clients.enter_context(self.server.client(token=token))
        return self._known[token]

    def client(self, identity):
        return self.bearer(token_of(identity))

    def __call__(self, identity, request):
        """What a unary call of somebody is answered."""
        return answer(self.client(identity), request)

    def crash(self):
        self.server.kill()
        self._clients.close()
        self._known = {}
        self.server.start()


class Working:
    """Does these over and over, each on a thread of its own, until the end of the with. None may
    ever fail; check() returns when each has been done once more from there on."""

    def __init__(self, *works):
        self._stop, self._failed = threading.Event(), []
        self._rounds = [0] * len(works)
        self._threads = [threading.Thread(target=self._run, args=each, daemon=True)
                         for each in enumerate(works)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.check()
        return self

    def __exit__(self, *unused):
        self._stop.set()
        for thread in self._threads:
            thread.join(CALL_LIMIT_S)

    def _run(self, number, work):
        while not self._stop.is_set():
            try:
                work()
            except Exception as error:  # whatever it is: the test has failed by it
                self._failed.append(error)
                return
            self._rounds[number] += 1

    def check(self):
        before = list(self._rounds)
        eventually(lambda: self._failed or all(
            now > then + 1 for now, then in zip(self._rounds, before)), "all were at work")
        assert not self._failed, self._failed


def hands_over(client, name):
    """A piece of work for that: signals, and takes the signal."""
    client.open(name, kind=FIFO)

    def work():
        assert client.ready(name, b"x").woken == 0
        assert client.wait(name).signal.data == b"x"
    return work
