"""An old waitd is drained and a new one started on the same data, under load: nothing is lost."""

import itertools
import threading
import time

import grpc
from google.protobuf import duration_pb2

from conftest import Server, pb, rpc, until
from durable import LATCH, seconds

UPGRADES = 3
CLIENTS = 6
LONG_S = 100_000
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Client(threading.Thread):
    """Hands one READY after another over to itself, each on a name of its own, as a client does
    that repeats with the same ids whatever broke; and moves one deadline ever further."""

    def __init__(self, address, number, stop):
        super().__init__()
        self._channel = grpc.insecure_channel(address, [
            ("grpc.use_local_subchannel_pool", 1), ("grpc.min_reconnect_backoff_ms", 20),
            ("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 20)])
        self._stub = rpc.WaitServiceStub(self._channel)
        self._number, self._stop_now = number, stop
        self.taken, self.repeated, self.ended_at, self.fault = 0, 0, [], None

    def _repeat(self, call, request):
        first = time.monotonic()
        while True:
            try:
                return call(request, timeout=60, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    raise
            self.repeated += 1
            time.sleep(0.01)
            request.first_sent_ago.CopyFrom(seconds(time.monotonic() - first))

    def _hand_over(self, name):
        answers = []
        wait = pb.WaitRequest(name=name, wait_id="w", open_if_missing=LATCH)
        waiter = threading.Thread(target=lambda: answers.append(self._repeat(self._stub.Wait, wait)))
        waiter.start()
        self._repeat(self._stub.Ready, pb.ReadyRequest(
            name=name, request_id="r", signal=pb.Signal(data=name.encode()),
            open_if_missing=pb.OpenOptions(kind=pb.KIND_LATCH)))
        waiter.join()
        answer, = answers
        assert (answer.outcome, answer.signal.data, answer.delivery) == (
            pb.OUTCOME_READY, name.encode(), 1), answer
        closed = self._repeat(self._stub.ClosePollDescriptor,
                              pb.ClosePollDescriptorRequest(name=name, request_id="c"))
        assert closed.woken == 0
        self.taken += 1
        self.ended_at.append(time.monotonic())

    def run(self):
        try:
            for number in itertools.count():
                if self._stop_now.is_set():
                    break
                self._hand_over(f"upgrade/{self._number}/{number}")
        except Exception as error:  # pylint: disable=broad-except  # the test's thread judges it
            self.fault = error
        finally:
            self._channel.close()


def start(folder):
    return Server(folder, "--store", "rocksdb", "--drain-timeout", "1s")


def test_upgrades_under_load_lose_nothing(tmp_path, capsys):
    server = start(tmp_path)
    stub = server.stub
    stub.SetDeadline(pb.SetDeadlineRequest(
        name="long", open_if_missing=LATCH, timeout=duration_pb2.Duration(seconds=LONG_S)))
    due = server.get("long").read.deadline.at
    stub.Ready(pb.ReadyRequest(name="kept", signal=pb.Signal(data=b"kept"),
                               open_if_missing=pb.OpenOptions()))
    stop = threading.Event()
    clients = [Client(server.address, number, stop) for number in range(CLIENTS)]
    for client in clients:
        client.start()

    def work_goes_on():
        before = [client.taken for client in clients]
        until(lambda: all(client.fault or client.taken > taken + 5
                          for client, taken in zip(clients, before)), 60)

    gaps = []
    try:
        work_goes_on()
        for _ in range(UPGRADES):
            told = time.monotonic()
            server.stop()
            server = start(tmp_path)
            work_goes_on()
            ended = sorted(at for client in clients for at in list(client.ended_at))
            gaps.append(max(b - a for a, b in zip(ended, ended[1:]) if b > told))
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert [client.fault for client in clients] == [None] * CLIENTS
    assert sum(client.repeated for client in clients) > 0, "no call met an upgrade"
    assert server.get("long").read.deadline.at == due
    left = server.stub.ListPollDescriptors(pb.ListPollDescriptorsRequest()).poll_descriptors
    assert sorted(each.name for each in left) == ["kept", "long"]
    answer = server.stub.Wait(pb.WaitRequest(name="kept"), timeout=30)
    assert answer.signal.data == b"kept"
    server.stop()
    with capsys.disabled():
        print(f"\nupgrades: {sum(client.taken for client in clients)} READYs handed over; "
              f"longest pause {[round(gap, 2) for gap in gaps]} s")
