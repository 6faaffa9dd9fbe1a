"""Clients of Session: a stream, message by message, and a session that outlives its streams."""

import queue
import threading
import time

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from harness import CALL_LIMIT_S, Client, duration
from waitd.v1 import waitd_pb2 as pb

# Of each request its field in an Operation, and of a unary method the same.
FIELDS = {
    pb.OpenPollDescriptorRequest: "open", pb.ClosePollDescriptorRequest: "close",
    pb.ResetRequest: "reset", pb.WaitRequest: "wait", pb.ReadyRequest: "ready",
    pb.SetDeadlineRequest: "set_deadline", pb.PollRequest: "poll", pb.AckRequest: "ack",
}
CODES = {code.value[0]: code for code in grpc.StatusCode}


def operation(number, request):
    """An operation; request is a message of the unary calls, or the id of one to cancel."""
    if isinstance(request, int):
        return pb.Operation(id=number, cancel=request)
    return pb.Operation(id=number, **{FIELDS[type(request)]: request})


def hello(client="", resume_token="", linger=None, acked_sequence=0):
    return pb.SessionHello(client=client, resume_token=resume_token, linger=duration(linger),
                           acked_sequence=acked_sequence)


def result_of(result):
    """The answer in a result; None: a cancel's, which has none. An error is raised."""
    which = result.WhichOneof("result")
    if which == "error":
        raise SessionError(result.error)
    return getattr(result, which) if which else None


class SessionError(grpc.RpcError):
    """An operation's error in the shape that a unary call's has."""

    def __init__(self, error):
        super().__init__(f"{error.reason}: {error.message}")
        self.error = error

    def code(self):
        return CODES[self.error.code]

    def details(self):
        return self.error.message

    def trailing_metadata(self):
        details = []

        def add(detail):
            details.append(any_pb2.Any())
            details[-1].Pack(detail)
        if self.error.reason:
            add(error_details_pb2.ErrorInfo(reason=self.error.reason, domain="waitd",
                                            metadata=self.error.metadata))
        if self.error.field:
            add(error_details_pb2.BadRequest(field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field=self.error.field)]))
        if self.error.HasField("retry_delay"):
            add(error_details_pb2.RetryInfo(retry_delay=self.error.retry_delay))
        if not details:
            return ()
        status = status_pb2.Status(code=self.error.code, message=self.error.message,
                                   details=details)
        return (("grpc-status-details-bin", status.SerializeToString()),)


class Stream:
    """One Session call. Nothing is read before it is asked for, nothing is sent by itself."""

    def __init__(self, channel, first=None, limit_s=CALL_LIMIT_S):
        """first: the hello; None: say none."""
        self._requests = queue.SimpleQueue()
        self._call = channel.stream_stream("/waitd.v1.WaitService/Session")(
            iter(self._requests.get, None), timeout=limit_s)
        self.raw = b""
        if first is not None:
            self.send(hello=first)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.break_off()

    def send(self, *operations, acked=0, hello=None):
        """operations: (id, request) pairs."""
        request = pb.SessionRequest(
            hello=hello, acked_sequence=acked,
            operations=[operation(number, request) for number, request in operations])
        self.send_raw(request.SerializeToString())

    def send_raw(self, message):
        self._requests.put(message)

    def half_close(self):
        self._requests.put(None)

    def is_up(self):
        """Whether it has not ended yet."""
        return self._call.is_active()

    def break_off(self):
        """Ends the stream as a client does that has gone."""
        self._call.cancel()
        self._requests.put(None)

    def receive(self):
        """The next message, whose bytes are in raw."""
        try:
            self.raw = next(self._call)
        except StopIteration:
            raise EOFError("the stream has ended with OK") from None
        return pb.SessionResponse.FromString(self.raw)

    def next(self):
        """The next message that is no keepalive."""
        while True:
            response = self.receive()
            if response.sequence or response.HasField("welcome"):
                return response

    def welcome(self):
        response = self.next()
        assert response.HasField("welcome") and response.sequence == 0 and not response.results
        return response.welcome

    def results(self, count, acks=True):
        """So many results, by id, each once, in messages without a gap."""
        found = {}
        while len(found) < count:
            response = self.next()
            for result in response.results:
                assert result.id not in found, f"twice: {result}"
                found[result.id] = result
            if acks:
                self.send(acked=response.sequence)
        assert len(found) == count, found
        return found

    def ended(self):
        """The status with which it ended; what came before is dropped."""
        try:
            while True:
                self.receive()
        except EOFError:
            return None
        except grpc.RpcError as error:
            return error


class Operation:
    """One operation of a Session, in the shape of a call's future."""

    def __init__(self, session, number, request):
        self.number, self.request, self.first_sent = number, request, None
        self._session, self._callbacks = session, []
        self._done = threading.Event()
        self.outcomes = []

    def finish(self, result):
        with self._session.lock:
            self.outcomes.append(result)
            first = len(self.outcomes) == 1
            self._done.set()
            callbacks, self._callbacks = self._callbacks, []
        assert first, f"two outcomes: {self.outcomes}"
        for callback in callbacks:
            callback(self)

    def done(self):
        return self._done.is_set()

    def result(self, timeout=CALL_LIMIT_S):
        assert self._done.wait(timeout), f"no outcome of {self.number}: {self.request}"
        return result_of(self.outcomes[0])

    def exception(self):
        try:
            self.result()
        except SessionError as error:
            return error
        return None

    def code(self):
        error = self.exception()
        return error.code() if error else grpc.StatusCode.OK

    def cancel(self):
        if self.done():
            return False
        self._session.start(self.number)
        return True

    def add_done_callback(self, callback):
        with self._session.lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)


class Session:
    """A session as a client library keeps it: answers by id, acknowledged as they come. A stream
    that breaks is followed by another, which resumes it or sends all that is unanswered again.

    connect returns a channel for each stream; pause is how long it waits before the next one.
    """

    def __init__(self, connect, client="", linger=None, pause_s=0.02):
        self.lock = threading.RLock()
        self._connect, self._client, self._linger, self._pause_s = connect, client, linger, pause_s
        self._last, self._token, self._seen = 0, "", 0
        self._pending = {}
        self._stream, self._closed = None, False
        self.streams = self.resumed = self.anew = 0
        self.error = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start(self, request):
        """Starts an operation, or with an id of one cancels it."""
        with self.lock:
            assert not self._closed and not self.error, self.error
            self._last += 1
            one = Operation(self, self._last, request)
            self._pending[one.number] = one
            if self._stream:
                self._stream.send((one.number, self._attempt(one)), acked=self._seen)
            return one

    def break_off(self):
        """Cuts the stream that there is, if any."""
        with self.lock:
            if self._stream:
                self._stream.break_off()

    def close(self):
        """Half-closes, and returns when all is answered and the session has ended."""
        with self.lock:
            self._closed = True
            if self._stream:
                self._stream.half_close()
        self._thread.join(CALL_LIMIT_S)
        assert not self._thread.is_alive(), f"the session does not end: {self._pending}"
        assert not self.error, self.error

    def abandon(self):
        """Goes away without a word."""
        self._stop.set()
        self.break_off()
        self._thread.join(CALL_LIMIT_S)

    def _run(self):
        while not self._stop.is_set():
            channel = self._connect()
            try:
                if self._serve(channel):
                    return
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED,
                                        grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL,
                                        grpc.StatusCode.ABORTED,
                                        grpc.StatusCode.DEADLINE_EXCEEDED):
                    self.error = error
                    return
            finally:
                with self.lock:
                    self._stream = None
                channel.close()
            self._stop.wait(self._pause_s)

    def _serve(self, channel):
        """One stream; true: it ended as it should."""
        stream = Stream(channel, hello(self._client, self._token, self._linger, self._seen),
                        limit_s=None)
        try:
            self._greet(stream)
            while True:
                self._take(stream, stream.receive())
        except EOFError:
            with self.lock:
                return self._closed and not self._pending
        finally:
            stream.break_off()

    def _greet(self, stream):
        response = stream.receive()
        welcome = response.welcome
        with self.lock:
            self.streams += 1
            first = not self._token
            self._token = welcome.resume_token
            if welcome.resumed:
                self.resumed += 1
                again = [one for one in self._pending.values()
                         if one.number > welcome.received_through]
            else:
                self.anew += not first
                self._seen = 0
                again = list(self._pending.values())
            if again:
                stream.send(*((one.number, self._attempt(one)) for one in again))
            self._stream = stream
            if self._closed:
                stream.half_close()
            if self._stop.is_set():
                stream.break_off()

    @staticmethod
    def _attempt(one):
        """An operation as it is sent, or sent again: only then does it say since when."""
        request = one.request
        if one.first_sent is None:
            one.first_sent = time.monotonic()
            return request
        if isinstance(request, (int, pb.AckRequest)):
            return request
        again = type(request)()
        again.CopyFrom(request)
        again.first_sent_ago.CopyFrom(duration(time.monotonic() - one.first_sent))
        return again

    def _take(self, stream, response):
        with self.lock:
            if response.sequence == 0:
                if not self._closed:
                    stream.send(acked=self._seen)  # a keepalive for a keepalive
                return
            if response.sequence <= self._seen:
                return  # seen before the stream broke
            assert response.sequence == self._seen + 1, (
                f"a gap: {response.sequence} after {self._seen}")
            self._seen = response.sequence
            done = [(self._pending.pop(result.id), result) for result in response.results]
            if not self._closed:
                stream.send(acked=self._seen)
        for one, result in done:
            one.finish(result)


class SessionClient(Client):
    """A Client whose calls go through a session, but for Get and List."""

    def __init__(self, address, linger=0.001, who=None, **options):
        """who: how a Client says who it is."""
        super().__init__(address, **(who or {}))
        self.session = Session(lambda: Client(address, **(who or {})).channel, linger=linger,
                               **options)

    def start(self, method, request, call_limit_s=CALL_LIMIT_S):
        if type(request) in FIELDS:
            return self.session.start(request)
        return super().start(method, request, call_limit_s)

    def disconnect(self):
        self.session.abandon()
        super().disconnect()
