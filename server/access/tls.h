#ifndef WAITD_SERVER_ACCESS_TLS_H_
#define WAITD_SERVER_ACCESS_TLS_H_

#include <grpcpp/security/server_credentials.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "core/mutex.h"

namespace waitd::server {

/// The server's certificate, its key, and the authorities whose clients may connect, as they are
/// now: every handshake takes the latest.
///
/// gRPC's own provider of certificates from files is not used: in 1.51 it hands out whatever it
/// finds, and a certificate that does not fit its key leaves the port without any.
///
/// Threads:  any. Lifetime: outlives the server that has its credentials.
class TlsCertificates {
 public:
  /// PEM texts; without `client_ca` clients need no certificate. An error says what is wrong with
  /// them, and then the former ones stay.
  absl::Status Set(std::string chain, std::string key, std::optional<std::string> client_ca);

  /// After the first Set. Whether clients need a certificate is settled by it.
  std::shared_ptr<grpc::ServerCredentials> Credentials();

 private:
  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config);

  core::Mutex mutex_;
  std::string chain_ ABSL_GUARDED_BY(mutex_);
  std::string key_ ABSL_GUARDED_BY(mutex_);
  std::optional<std::string> client_ca_ ABSL_GUARDED_BY(mutex_);
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 0;   // of what is set
  uint64_t fetched_ ABSL_GUARDED_BY(mutex_) = 0;  // what gRPC has
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_ACCESS_TLS_H_
