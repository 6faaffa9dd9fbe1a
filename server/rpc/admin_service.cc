#include "server/rpc/admin_service.h"

#include <google/protobuf/util/time_util.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <filesystem>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace waitd::server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBackupNameBytesMax = 128;

Error Refusal(std::string_view reason, std::string message) {
  return {.reason = reason, .message = std::move(message), .field = {}};
}

bool IsThere(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

// A name that is free, after the time: two in one second get a number each.
std::string NameOf(const fs::path& dir, core::WallTime now) {
  const absl::Time time = absl::FromUnixNanos(now.time_since_epoch().count());
  const std::string name = absl::FormatTime("%Y%m%dT%H%M%SZ", time, absl::UTCTimeZone());
  std::string free = name;
  for (int n = 2; IsThere(dir / free); ++n) free = absl::StrCat(name, "-", n);
  return free;
}

uint64_t BytesIn(const std::string& path) {
  uint64_t bytes = 0;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(path, error);
       !error && entry != fs::end(entry); entry.increment(error)) {
    std::error_code none;
    if (entry->is_regular_file(none)) bytes += entry->file_size(none);
  }
  return bytes;
}

}  // namespace

Fault CheckBackupName(std::string_view name) {
  const auto bad = [](const char* what) {
    return Error{
        .reason = "BAD_NAME",
        .message = absl::StrCat(what, "; give 1 to ", kBackupNameBytesMax,
                                " bytes for a directory below --backup-dir, or none for the time"),
        .field = "name"};
  };
  if (name.empty()) return std::nullopt;
  if (name.size() > kBackupNameBytesMax) return bad("a backup's name is shorter");
  if (name.find('/') != std::string_view::npos) return bad("a backup's name has no slash");
  if (name == "." || name == "..") return bad("a backup's name is no dots alone");
  if (Fault fault = CheckName(name, "name"))
    return bad("a backup's name has no control characters");
  return std::nullopt;
}

grpc::Status AdminService::Backup(grpc::ServerContext* call, const v1::BackupRequest* request,
                                  v1::BackupResponse* response) {
  context_.calls.fetch_add(1, std::memory_order_relaxed);  // a shutdown waits for the answer
  const core::Instant began = context_.clock.Read().mono;
  context_.metrics.Started(Method::kBackup);
  grpc::Status status;
  Fault fault = Enter(*call);
  if (!fault.has_value()) fault = MakeBackup(*request, *response);
  if (fault.has_value()) {
    context_.metrics.Refused(fault->reason);
    status = ToStatus(*fault);
  }
  context_.metrics.Handled(Method::kBackup, status.error_code(),
                           context_.clock.Read().mono - began);
  context_.calls.fetch_sub(1, std::memory_order_relaxed);
  return status;
}

Fault AdminService::Enter(const grpc::ServerContext& call) const {
  Visitor visitor;
  if (Fault fault = context_.gate.Admit(call, &visitor)) return fault;
  return visitor.CheckOpenly(Right::kAdmin, {});
}

Fault AdminService::MakeBackup(const v1::BackupRequest& request, v1::BackupResponse& response) {
  if (Fault fault = CheckBackupName(request.name())) return fault;
  if (Fault fault = CheckState()) return fault;
  if (busy_.exchange(true, std::memory_order_acquire)) {  // MO[backup]
    return Refusal("LIMIT_BACKUPS", "another backup is being made; try again when it is done");
  }
  const absl::Cleanup done = [this] {
    busy_.store(false, std::memory_order_release);
  };  // MO[backup]

  const core::Now began = context_.clock.Read();
  std::error_code error;
  const fs::path dir = fs::absolute(options_.backup_dir, error);
  if (!error) fs::create_directories(dir, error);
  if (error) {
    return Refusal("BACKUP_FAILED",
                   absl::StrCat("cannot use the server's --backup-dir: ", options_.backup_dir, ": ",
                                error.message(), "; give one that waitd may write to"));
  }
  const std::string name = request.name().empty() ? NameOf(dir, began.wall) : request.name();
  const std::string path = dir / name;
  if (IsThere(path)) {
    return Error{.reason = "EXISTS",
                 .message = absl::StrCat("there is a ", path, " already; give another name"),
                 .field = "name"};
  }
  if (const absl::Status made = store_->Backup(path); !made.ok()) {
    spdlog::error("no backup path={}: {}", path, std::string(made.message()));
    return Refusal("BACKUP_FAILED",
                   absl::StrCat("no backup was made: ", std::string(made.message())));
  }
  const core::Nanos took = context_.clock.Read().mono - began.mono;
  response.set_name(name);
  response.set_path(path);
  response.set_bytes(BytesIn(path));
  *response.mutable_took() = google::protobuf::util::TimeUtil::NanosecondsToDuration(took.count());
  spdlog::info("backup path={} bytes={} in={}ms", path, response.bytes(),
               std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  return std::nullopt;
}

Fault AdminService::CheckState() const {
  if (store_ == nullptr) {
    return Refusal("NO_STORE", "the server runs with --store memory: there is nothing to copy");
  }
  if (options_.backup_dir.empty()) {
    return Refusal(
        "NO_BACKUP_DIR",
        "the server makes no backups; start waitd with --backup-dir, the directory where "
        "they shall go");
  }
  if (store_failed_.load(std::memory_order_relaxed)) {
    return Refusal("STORE_FAILED", "the store has failed, and the server ends; ask again later");
  }
  const absl::StatusOr<uint64_t> free = store_->FreeBytes();
  if (free.ok() && *free < options_.free_bytes_min) {
    return ToError(core::Refusal{.reason = core::Reason::kLimitDisk});
  }
  return std::nullopt;
}

}  // namespace waitd::server
