"""A server that asks who calls, for tests of the client: sessions, unary calls and backups, answered as
if all went well, by those who may."""

import concurrent.futures
import threading

import grpc
from conftest import admin_pb2, admin_pb2_grpc, pb, rpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2


def refuse(context, code, reason, message):
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="waitd"))
    status = status_pb2.Status(code=code.value[0], message=message, details=[detail])
    context.set_trailing_metadata(
        (("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


class Guarded(rpc.WaitServiceServicer, admin_pb2_grpc.AdminServiceServicer):
    """With `tokens`, serves those that it holds, names the others FORBIDDEN, and whoever has none
    NO_CREDENTIALS. A wait on "parks" parks. `seen`: method, token and certificate of each call."""

    def __init__(self, credentials=None, address="127.0.0.1:0", tokens=None):
        self.tokens, self.seen, self._cut = tokens, [], threading.Event()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        rpc.add_WaitServiceServicer_to_server(self, self._server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self, self._server)
        # grpcio has no stub of it; its answer is SERVING.
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {"Check": grpc.unary_unary_rpc_method_handler(self._health)}),))
        self.port = (self._server.add_secure_port(address, credentials) if credentials
                     else self._server.add_insecure_port(address))
        self._server.start()

    def stop(self):
        self.cut()
        self._server.stop(0).wait()

    def cut(self):
        """Ends all streams."""
        self._cut.set()
        self._cut = threading.Event()

    def calls(self, method):
        return [each[1:] for each in self.seen if each[0] == method]

    def _check(self, context, method):
        sent = dict(context.invocation_metadata()).get("authorization")
        names = context.auth_context().get("x509_common_name", [b""])
        self.seen.append((method, sent, names[0].decode()))
        if self.tokens is None:
            return
        if sent is None:
            refuse(context, grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS", "who are you?")
        if sent not in [f"Bearer {token}" for token in self.tokens]:
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN", "not for you")

    def Session(self, messages, context):
        cut, sequence = self._cut, 0  # before it is seen, after which a test may cut it
        self._check(context, "Session")
        next(messages)  # the hello
        yield pb.SessionResponse(welcome=pb.SessionWelcome(resume_token="t"))
        # Read by a thread of its own, so that this one can end the stream.
        arrived, came = [], threading.Condition()

        def read():
            try:
                for each in messages:
                    with came:
                        arrived.append(each)
                        came.notify()
            except grpc.RpcError:
                pass
            with came:
                arrived.append(None)
                came.notify()

        threading.Thread(target=read, daemon=True).start()
        while not cut.is_set():
            with came:
                if not came.wait_for(lambda: arrived, 0.02):
                    continue
                message = arrived.pop(0)
            if message is None:
                return
            results = [self._result(each) for each in message.operations]
            results = [each for each in results if each is not None]
            if results:
                sequence += 1
                yield pb.SessionResponse(results=results, sequence=sequence)

    @staticmethod
    def _result(operation):
        result = pb.OperationResult(id=operation.id)
        if operation.HasField("wait"):
            if operation.wait.name == "parks":
                return None
            result.wait.outcome = pb.OUTCOME_READY
            result.wait.signal.data = b"for you"
        elif operation.HasField("ready"):
            result.ready.effect = pb.READY_EFFECT_REMEMBERED
        return result

    def GetPollDescriptor(self, request, context):
        self._check(context, "Get")
        return pb.GetPollDescriptorResponse(poll_descriptor=pb.PollDescriptor(name=request.name))

    def ListPollDescriptors(self, request, context):
        self._check(context, "List")
        return pb.ListPollDescriptorsResponse()

    def _health(self, _request, context):
        self._check(context, "Health")
        return b"\x08\x01"

    def Backup(self, request, context):
        self._check(context, "Backup")
        return admin_pb2.BackupResponse(name=request.name, path="/copy")
