#ifndef WAITD_SERVER_RPC_ADMIN_SERVICE_H_
#define WAITD_SERVER_RPC_ADMIN_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "server/api/validate.h"
#include "server/rpc/rpc.h"
#include "server/store/store.h"
#include "waitd/v1/admin.grpc.pb.h"

namespace waitd::server {

/// The name of a backup's directory, if one was given.
Fault CheckBackupName(std::string_view name);

/// What an operator asks for. A synchronous service, for its calls are few and take long: they run
/// on threads of gRPC's that nothing else needs, while the completion queues go on.
///
/// Threads:  SetStore comes first; Backup by anyone.
/// Lifetime: what it is given outlives its calls, which the server's shutdown waits for.
class AdminService final : public v1::AdminService::Service {
 public:
  struct Options {
    std::string backup_dir;       ///< empty: none are made
    uint64_t free_bytes_min = 0;  ///< on the store's disk
  };

  /// `store_failed` says whether nothing can be saved any more.
  AdminService(Context& context, Options options, const std::atomic<bool>& store_failed)
      : context_(context), options_(std::move(options)), store_failed_(store_failed) {}

  /// Before the first call; without one there is nothing to copy.
  void SetStore(Store& store) { store_ = &store; }

  /// One at a time: two would only share the disk. The one that is refused gets RESOURCE_EXHAUSTED,
  /// for UNAVAILABLE is what clients may repeat at once and by themselves.
  grpc::Status Backup(grpc::ServerContext* call, const v1::BackupRequest* request,
                      v1::BackupResponse* response) override;

 private:
  Fault Enter(const grpc::ServerContext& call) const;
  Fault MakeBackup(const v1::BackupRequest& request, v1::BackupResponse& response);
  Fault CheckState() const;

  Context& context_;
  const Options options_;
  const std::atomic<bool>& store_failed_;
  Store* store_ = nullptr;
  // MO[backup]: acquire and release, as a lock's, though what it keeps apart is in files.
  std::atomic<bool> busy_{false};
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_RPC_ADMIN_SERVICE_H_
