#ifndef WAITD_SERVER_METRICS_ADMIN_H_
#define WAITD_SERVER_METRICS_ADMIN_H_

#include <prometheus/collectable.h>

#include <functional>
#include <string>
#include <vector>

struct mg_context;
struct mg_connection;

namespace waitd::server {

/// The HTTP side door: /metrics for Prometheus, /healthz for whether the process lives, /readyz for
/// whether it takes waits.
///
/// Threads:  its own; what it is given is called from them.
/// Lifetime: the collectables outlive it.
class Admin {
 public:
  Admin(std::vector<const prometheus::Collectable*> collectables, std::function<bool()> ready);
  ~Admin();
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  /// Serves on HOST:PORT. Returns the address that was bound, or an empty string and the reason.
  std::string Start(const std::string& address, std::string* error);

 private:
  static int Metrics(mg_connection* connection, void* self);
  static int Healthz(mg_connection* connection, void* self);
  static int Readyz(mg_connection* connection, void* self);

  const std::vector<const prometheus::Collectable*> collectables_;
  const std::function<bool()> ready_;
  mg_context* context_ = nullptr;
  std::string host_;
  int port_ = 0;
};

}  // namespace waitd::server

#endif  // WAITD_SERVER_METRICS_ADMIN_H_
