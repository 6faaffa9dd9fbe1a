"""The conformance statements that a client can see, through gRPC, from another language."""

import grpc
import pytest

from conftest import pb, refusal, until

OPEN = pb.OpenOptions
CODE = grpc.StatusCode
NOW = {"seconds": 0}


def opened(server, name, kind=pb.KIND_EXCLUSIVE):
    return server.stub.OpenPollDescriptor(
        pb.OpenPollDescriptorRequest(name=name, options=OPEN(kind=kind))).poll_descriptor


def wait(server, name, **fields):
    return server.stub.Wait.future(pb.WaitRequest(name=name, **fields))


def tried(server, name, **fields):
    return server.stub.Wait(pb.WaitRequest(name=name, timeout=NOW, **fields), timeout=10)


def ready(server, name, data=b"", **fields):
    return server.stub.Ready(pb.ReadyRequest(name=name, signal=pb.Signal(data=data), **fields))


def deadline(server, name, seconds=None, **fields):
    request = pb.SetDeadlineRequest(name=name, **fields)
    if seconds is None:
        request.clear.SetInParent()
    else:
        request.timeout.FromNanoseconds(int(seconds * 1e9))
    return server.stub.SetDeadline(request)


def test_C1_a_new_descriptor_has_nothing_and_a_wait_parks(server, name):
    descriptor = opened(server, name)
    for side in (descriptor.read, descriptor.write):
        assert side.state == pb.SEMAPHORE_STATE_NIL and not side.HasField("deadline")
    call = wait(server, name)
    server.parked(name)
    assert server.get(name).read.state == pb.SEMAPHORE_STATE_WAITING
    call.cancel()


def test_C5_open_of_an_open_name(server, name):
    first = opened(server, name, pb.KIND_FIFO)
    again = server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(name=name))
    assert not again.created and again.poll_descriptor.generation == first.generation
    assert refusal(lambda: opened(server, name, pb.KIND_LATCH))[:2] == (
        CODE.FAILED_PRECONDITION, "KIND_MISMATCH")
    assert refusal(lambda: server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(
        name=name, must_create=True)))[:2] == (CODE.ALREADY_EXISTS, "EXISTS")


def test_C6_C8_close_ends_both_sides_and_frees_the_name(server, name):
    old = opened(server, name).generation
    calls = [wait(server, name), wait(server, name, mode=pb.MODE_WRITE)]
    server.parked(name)
    server.parked(name, side="write")
    closed = server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name=name))
    assert closed.woken == 2
    assert all(call.result(10).outcome == pb.OUTCOME_CLOSED for call in calls)
    assert refusal(lambda: tried(server, name))[:2] == (CODE.NOT_FOUND, "NO_DESCRIPTOR")
    assert refusal(lambda: tried(server, name, generation=old, open_if_missing=OPEN()))[
        :2] == (CODE.NOT_FOUND, "NO_DESCRIPTOR")
    assert opened(server, name).generation > old
    assert refusal(lambda: tried(server, name, generation=old))[:2] == (
        CODE.ABORTED, "STALE_GENERATION")


def test_C12_close_discards_a_remembered_ready(server, name):
    opened(server, name)
    ready(server, name)
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name=name))
    opened(server, name)
    assert tried(server, name).outcome == pb.OUTCOME_TIMED_OUT


def test_C13_C14_an_expired_deadline_goes_before_ready_which_stays(server, name):
    opened(server, name)
    ready(server, name, b"kept")
    deadline(server, name, -1)
    answer = wait(server, name).result(10)
    assert (answer.outcome, answer.timeout_cause) == (
        pb.OUTCOME_TIMED_OUT, pb.TIMEOUT_CAUSE_DEADLINE)
    deadline(server, name)
    assert tried(server, name).signal.data == b"kept"
    assert tried(server, name).outcome == pb.OUTCOME_TIMED_OUT


def test_C15_C40_the_sides_are_apart(server, name):
    opened(server, name)
    answer = deadline(server, name, 0)
    assert answer.read_effect == pb.DEADLINE_EFFECT_EXPIRED
    assert answer.write_effect == pb.DEADLINE_EFFECT_UNSPECIFIED
    call = wait(server, name, mode=pb.MODE_WRITE)
    server.parked(name, side="write")
    ready(server, name, mode=pb.MODE_WRITE)
    assert call.result(10).outcome == pb.OUTCOME_READY


def test_C17_park_then_ready(server, name):
    opened(server, name)
    call = wait(server, name)
    server.parked(name)
    answer = server.stub.Ready(pb.ReadyRequest(name=name, signal=pb.Signal(
        data=b"x", content_type="text/plain", failure=pb.Signal.Failure(code=3, message="m"),
        attributes={"traceparent": "00"})))
    assert (answer.effect, answer.woken) == (pb.READY_EFFECT_WOKE, 1)
    result = call.result(10)
    assert result.outcome == pb.OUTCOME_READY and result.attempt == 1 and result.delivery == 1
    assert result.signal.failure.code == 3 and result.signal.attributes["traceparent"] == "00"
    assert result.HasField("ready_time") and result.parked.ToNanoseconds() > 0
    assert server.get(name).read.state == pb.SEMAPHORE_STATE_NIL


def test_C18_C19_C28_ready_saturates_and_carries_the_newest_payload(server, name):
    opened(server, name)
    assert ready(server, name, b"1").effect == pb.READY_EFFECT_REMEMBERED
    assert ready(server, name, b"2").effect == pb.READY_EFFECT_COALESCED
    answer = tried(server, name)
    assert (answer.signal.data, answer.coalesced) == (b"2", 1)
    assert tried(server, name).outcome == pb.OUTCOME_TIMED_OUT


def test_C20_ready_of_both_sides(server, name):
    opened(server, name)
    ready(server, name, mode=pb.MODE_READ_WRITE)
    assert tried(server, name).outcome == pb.OUTCOME_READY
    assert tried(server, name, mode=pb.MODE_WRITE).outcome == pb.OUTCOME_READY


def test_C21_two_readys_one_wait_the_second_is_remembered(server, name):
    opened(server, name)
    call = wait(server, name)
    server.parked(name)
    assert ready(server, name, b"1").effect == pb.READY_EFFECT_WOKE
    assert ready(server, name, b"2").effect == pb.READY_EFFECT_REMEMBERED
    assert call.result(10).signal.data == b"1"
    assert tried(server, name).signal.data == b"2"


def test_C23_a_double_wait_is_refused_and_the_first_undisturbed(server, name):
    opened(server, name)
    call = wait(server, name)
    server.parked(name)
    assert refusal(lambda: wait(server, name).result(10))[:2] == (
        CODE.FAILED_PRECONDITION, "DOUBLE_WAIT")
    ready(server, name)
    assert call.result(10).outcome == pb.OUTCOME_READY


@pytest.mark.parametrize("how", ["cancel", "deadline"])
def test_C26_a_call_that_ends_without_its_answer_spends_no_ready(server, name, how):
    opened(server, name)
    if how == "cancel":
        call = wait(server, name)
        server.parked(name)
        call.cancel()
    else:
        call = server.stub.Wait.future(pb.WaitRequest(name=name), timeout=0.2)
        assert call.exception(10).code() == CODE.DEADLINE_EXCEEDED
    server.parked(name, 0)
    assert ready(server, name).effect == pb.READY_EFFECT_REMEMBERED
    assert tried(server, name).outcome == pb.OUTCOME_READY


def test_C29_C30_ignore_deadline(server, name):
    opened(server, name)
    deadline(server, name, 0)
    call = wait(server, name, ignore_deadline=True)
    server.parked(name)
    ready(server, name)
    assert call.result(10).outcome == pb.OUTCOME_READY
    ready(server, name)
    assert tried(server, name, ignore_deadline=True).outcome == pb.OUTCOME_READY


def test_C31_C32_C34_reset(server, name):
    opened(server, name, pb.KIND_LATCH)
    ready(server, name)
    reset = server.stub.Reset(pb.ResetRequest(name=name))
    assert reset.reset and reset.forgot
    assert tried(server, name).outcome == pb.OUTCOME_TIMED_OUT
    deadline(server, name, 0)
    assert not server.stub.Reset(pb.ResetRequest(name=name)).reset


def test_C35_C36_C37_C38_a_deadline_expires_clears_and_revives(server, name):
    opened(server, name)
    call = wait(server, name)
    server.parked(name)
    answer = deadline(server, name, 0.05)
    assert answer.read_effect == pb.DEADLINE_EFFECT_ARMED and answer.read.HasField("at")
    result = call.result(10)
    assert result.outcome == pb.OUTCOME_TIMED_OUT and result.late.ToNanoseconds() >= 0
    assert wait(server, name).result(10).outcome == pb.OUTCOME_TIMED_OUT
    assert server.get(name).read.deadline.expired
    assert deadline(server, name).read_effect == pb.DEADLINE_EFFECT_CLEARED
    assert deadline(server, name, 60).read_effect == pb.DEADLINE_EFFECT_ARMED
    call = wait(server, name)
    server.parked(name)
    call.cancel()


def test_C39_shortening_takes_effect_at_once(server, name):
    opened(server, name)
    call = wait(server, name)
    server.parked(name)
    deadline(server, name, 3600)
    assert deadline(server, name, 0.02).read_effect == pb.DEADLINE_EFFECT_SHORTENED
    assert call.result(10).outcome == pb.OUTCOME_TIMED_OUT


def test_C41_beyond_the_range_it_never_comes(server, name):
    opened(server, name)
    request = pb.SetDeadlineRequest(name=name)
    request.timeout.seconds = 315576000000
    answer = server.stub.SetDeadline(request)
    assert answer.read_effect == pb.DEADLINE_EFFECT_ARMED and not answer.read.expired
    request.at.seconds = 253402300799
    assert not server.stub.SetDeadline(request).read.expired
    assert tried(server, name).timeout_cause == pb.TIMEOUT_CAUSE_WAIT


def test_C42_C43_conditions(server, name):
    opened(server, name)
    request = pb.SetDeadlineRequest(name=name)
    request.at.GetCurrentTime()
    request.at.seconds += 100
    server.stub.SetDeadline(request)
    assert server.stub.SetDeadline(request).read_effect == pb.DEADLINE_EFFECT_UNCHANGED
    later, heartbeat = pb.DEADLINE_CONDITION_ONLY_LATER, pb.DEADLINE_CONDITION_ARM_OR_EXTEND
    assert not deadline(server, name, 50, condition=later).applied
    assert deadline(server, name, 200, condition=later).applied
    assert not deadline(server, name, 300, condition=pb.DEADLINE_CONDITION_ONLY_EARLIER).applied
    assert not deadline(server, name, 50, condition=heartbeat).applied
    for bad in (0, -1, None):
        assert refusal(lambda: deadline(server, name, bad, condition=heartbeat))[:2] == (
            CODE.INVALID_ARGUMENT, "BAD_TIME")
    late = deadline(server, name, 5, condition=heartbeat, first_sent_ago={"seconds": 6})
    assert late.read_effect == pb.DEADLINE_EFFECT_REFUSED
    assert refusal(lambda: server.stub.SetDeadline(pb.SetDeadlineRequest(name=name))) == (
        CODE.INVALID_ARGUMENT, "BAD_TIME", "deadline")


def test_C44a_conditions_of_ready(server, name):
    opened(server, name)
    assert ready(server, name, condition=pb.READY_CONDITION_WAITING).effect == (
        pb.READY_EFFECT_REFUSED)
    deadline(server, name, 0)
    assert ready(server, name, condition=pb.READY_CONDITION_NOT_EXPIRED).effect == (
        pb.READY_EFFECT_REFUSED)
    answer = ready(server, name)
    assert answer.effect == pb.READY_EFFECT_REMEMBERED and answer.expired


def test_C52_never_early(server, name):
    for nanos in (1_000_000, 20_000_000, 50_000_000):
        answer = server.stub.Wait(pb.WaitRequest(
            name=name, timeout={"nanos": nanos}, open_if_missing=OPEN()))
        assert answer.timeout_cause == pb.TIMEOUT_CAUSE_WAIT
        assert answer.parked.ToNanoseconds() >= nanos


def test_C56_fifo_in_order(server, name):
    opened(server, name, pb.KIND_FIFO)
    calls = []
    for count in range(1, 6):
        calls.append(wait(server, name))
        server.parked(name, count)
    calls[1].cancel()
    server.parked(name, 4)
    for data, call in zip((b"0", b"2", b"3", b"4"), calls[:1] + calls[2:]):
        ready(server, name, data)
        assert call.result(10).signal.data == data


def test_C58_latch(server, name):
    opened(server, name, pb.KIND_LATCH)
    calls = [wait(server, name) for _ in range(20)]
    server.parked(name, 20)
    assert ready(server, name, b"go").woken == 20
    assert all(call.result(10).signal.data == b"go" for call in calls)
    assert tried(server, name).signal.data == b"go"


def targets(*names):
    return [pb.PollRequest.Target(name=each) for each in names]


def test_C61_C62_C64_poll(server, name):
    a, b, c = (f"{name}/{each}" for each in "abc")
    for each in (a, b, c):
        opened(server, each)
    ready(server, b)
    answer = server.stub.Poll(pb.PollRequest(targets=targets(a, b, c)))
    assert [result.target for result in answer.results] == [1]
    call = server.stub.Poll.future(pb.PollRequest(targets=targets(a, b, c), need=2))
    server.parked(a)
    assert ready(server, c, b"C").effect == pb.READY_EFFECT_REMEMBERED
    assert ready(server, a, b"A").effect == pb.READY_EFFECT_WOKE
    answer = call.result(10)
    assert [(r.target, r.response.signal.data) for r in answer.results] == [(0, b"A"), (2, b"C")]
    call = server.stub.Poll.future(pb.PollRequest(targets=targets(a, b), need=2))
    server.parked(a)
    server.stub.ClosePollDescriptor(pb.ClosePollDescriptorRequest(name=b))
    answer = call.result(10)
    assert answer.outcome == pb.OUTCOME_CLOSED and answer.results[0].target == 1
    server.parked(a, 0)


def test_C63_bad_polls(server, name):
    opened(server, name)

    def poll(*names, **fields):
        return lambda: server.stub.Poll(pb.PollRequest(targets=targets(*names), **fields))

    for bad in (poll(), poll(name, name), poll(name, need=2)):
        assert refusal(bad)[:2] == (CODE.INVALID_ARGUMENT, "BAD_POLL")
    assert refusal(poll(name, name + "/missing"))[:2] == (CODE.NOT_FOUND, "NO_DESCRIPTOR")
    call = wait(server, name)
    server.parked(name)
    assert refusal(poll(name))[:2] == (CODE.FAILED_PRECONDITION, "DOUBLE_WAIT")
    call.cancel()


def test_C65_max_wait(waitd):
    server = waitd("--max-wait", "100ms")
    opened(server, "a", pb.KIND_FIFO)
    assert wait(server, "a").result(10).timeout_cause == pb.TIMEOUT_CAUSE_MAX_WAIT
    answer = wait(server, "a", timeout={"nanos": 200_000_000}).result(10)
    assert answer.timeout_cause == pb.TIMEOUT_CAUSE_WAIT
    deadline(server, "a", 0.3)
    assert wait(server, "a").result(10).timeout_cause == pb.TIMEOUT_CAUSE_DEADLINE
    server.stop()


def test_C76_idle_ttl(server, name):
    server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(
        name=name, options=OPEN(idle_ttl={"nanos": 50_000_000})))
    listed = pb.ListPollDescriptorsRequest(prefix=name)
    until(lambda: not server.stub.ListPollDescriptors(listed).poll_descriptors)


LONG = 315576000001
BAD = [
    ("Wait", dict(name=""), "BAD_NAME", "name"),
    ("Wait", dict(name="n" * 513), "BAD_NAME", "name"),
    ("Wait", dict(name="a\nb"), "BAD_NAME", "name"),
    ("Wait", dict(name="a\u0085b"), "BAD_NAME", "name"),
    ("Wait", dict(mode=pb.MODE_READ_WRITE), "BAD_MODE", "mode"),
    ("Wait", dict(mode=9), "BAD_MODE", "mode"),
    ("Wait", dict(timeout={"seconds": LONG}), "BAD_TIME", "timeout"),
    ("Wait", dict(timeout={"seconds": 1, "nanos": -1}), "BAD_TIME", "timeout"),
    ("Wait", dict(timeout={"seconds": -1, "nanos": 1}), "BAD_TIME", "timeout"),
    ("Wait", dict(timeout={"nanos": 1_000_000_000}), "BAD_TIME", "timeout"),
    ("Wait", dict(first_sent_ago={"seconds": -1}), "BAD_TIME", "first_sent_ago"),
    ("Wait", dict(open_if_missing={"kind": 9}), "BAD_KIND", "open_if_missing.kind"),
    ("Wait", dict(open_if_missing={"ephemeral": True}), "BAD_OPTIONS",
     "open_if_missing.ephemeral"),
    ("Wait", dict(open_if_missing={"idle_ttl": {"seconds": 0}}), "BAD_TIME",
     "open_if_missing.idle_ttl"),
    ("Wait", dict(open_if_missing={"labels": {str(i): "" for i in range(17)}}), "BAD_LABELS",
     "open_if_missing.labels"),
    ("Wait", dict(open_if_missing={"labels": {"k" * 64: ""}}), "BAD_LABELS",
     "open_if_missing.labels"),
    ("Wait", dict(open_if_missing={"labels": {"k": "v" * 257}}), "BAD_LABELS",
     "open_if_missing.labels"),
    ("Ready", dict(condition=9), "BAD_OPTIONS", "condition"),
    ("Ready", dict(mode=9), "BAD_MODE", "mode"),
    ("SetDeadline", dict(at={"seconds": 253402300800}), "BAD_TIME", "at"),
    ("SetDeadline", dict(at={"nanos": -1}), "BAD_TIME", "at"),
    ("SetDeadline", dict(clear={}, condition=9), "BAD_OPTIONS", "condition"),
    ("ListPollDescriptors", dict(page_token="from nowhere"), "BAD_PAGE_TOKEN", "page_token"),
    ("ListPollDescriptors", dict(page_size=-1), "BAD_OPTIONS", "page_size"),
]


@pytest.mark.parametrize("method,fields,reason,field", BAD)
def test_bad_input_is_refused_and_changes_nothing(server, name, method, fields, reason, field):
    opened(server, name)
    before = server.get(name)
    if method != "ListPollDescriptors":
        fields = {"name": name, **fields}
    request = getattr(pb, method + "Request")(**fields)
    assert refusal(lambda: getattr(server.stub, method)(request)) == (
        CODE.INVALID_ARGUMENT, reason, field)
    after = server.get(name)
    assert after == before


def test_a_name_and_a_signal_at_their_limits(server, name):
    longest = (name + "/" + "n" * 512)[:512]
    opened(server, longest)

    def sized(size):
        signal = pb.Signal(data=b"d" * (size - 4))
        assert signal.ByteSize() == size
        return lambda: server.stub.Ready(pb.ReadyRequest(name=longest, signal=signal))

    assert sized(65536)().effect == pb.READY_EFFECT_REMEMBERED
    assert server.get(longest).read.payload_bytes == 65536
    assert refusal(sized(65537)) == (CODE.INVALID_ARGUMENT, "PAYLOAD_TOO_LARGE", "signal")
    assert len(tried(server, longest).signal.data) == 65532


def test_a_name_that_is_no_utf8_is_refused_by_the_parser(server):
    call = server.channel.unary_unary("/waitd.v1.WaitService/Wait")
    with pytest.raises(grpc.RpcError):
        call(b"\x0a\x02\xff\xfe", timeout=10)


def test_what_is_not_offered_yet_is_unimplemented(server, name):
    opened(server, name)
    for call, field in [
            (lambda: tried(server, name, wait_id="w"), "wait_id"),
            (lambda: tried(server, name, ack_timeout={"seconds": 1}), "ack_timeout"),
            (lambda: ready(server, name, request_id="r"), "request_id"),
            (lambda: server.stub.Poll(pb.PollRequest(targets=targets(name), wait_id="w")),
             "wait_id"),
            (lambda: server.stub.Ack(pb.AckRequest(name=name)), None),
            (lambda: next(server.stub.Session(iter([pb.SessionRequest()]))), None)]:
        assert refusal(call) == (CODE.UNIMPLEMENTED, "UNIMPLEMENTED", field)


def test_paging_with_filters(server, name):
    names = sorted(f"{name}/{i:03}" for i in range(25))
    for i, each in enumerate(names):
        server.stub.OpenPollDescriptor(pb.OpenPollDescriptorRequest(
            name=each, options=OPEN(labels={"odd": str(i % 2)})))
    seen, token = [], ""
    while True:
        page = server.stub.ListPollDescriptors(pb.ListPollDescriptorsRequest(
            prefix=name + "/", page_size=4, page_token=token))
        seen += [each.name for each in page.poll_descriptors]
        token = page.next_page_token
        if not token:
            break
        kept = token
    assert seen == names
    assert refusal(lambda: server.stub.ListPollDescriptors(pb.ListPollDescriptorsRequest(
        prefix="other", page_token=kept)))[1] == "BAD_PAGE_TOKEN"
    odd = server.stub.ListPollDescriptors(pb.ListPollDescriptorsRequest(
        prefix=name + "/", labels={"odd": "1"}))
    assert len(odd.poll_descriptors) == 12
    call = wait(server, names[3])
    server.parked(names[3])
    waiting = server.stub.ListPollDescriptors(pb.ListPollDescriptorsRequest(
        prefix=name + "/", waiting_only=True))
    assert [each.name for each in waiting.poll_descriptors] == [names[3]]
    call.cancel()
