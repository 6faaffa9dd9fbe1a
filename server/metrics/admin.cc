#include "server/metrics/admin.h"

#include <civetweb.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <chrono>
#include <iterator>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

namespace waitd::server {
namespace {

int Answer(mg_connection* connection, int status, const char* type, const std::string& body) {
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Connection: close\r\n\r\n",
            status, status == 200 ? "OK" : "Service Unavailable", type, body.size());
  mg_write(connection, body.data(), body.size());
  return status;
}

constexpr const char* kPlain = "text/plain; charset=utf-8";

}  // namespace

Admin::Admin(std::vector<const prometheus::Collectable*> collectables, std::function<bool()> ready)
    : collectables_(std::move(collectables)), ready_(std::move(ready)) {}

// civetweb sees that it shall stop after the next connection, or two seconds: so it gets some.
Admin::~Admin() {
  if (context_ == nullptr) return;
  std::atomic<bool> stopped{false};
  std::thread stopper([&] {
    mg_stop(context_);
    stopped.store(true, std::memory_order_relaxed);
  });
  while (!stopped.load(std::memory_order_relaxed)) {
    char error[64];
    mg_connection* const knock = mg_connect_client(host_.c_str(), port_, 0, error, sizeof(error));
    if (knock != nullptr) mg_close_connection(knock);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stopper.join();
}

std::string Admin::Start(const std::string& address, std::string* error) {
  const char* options[] = {"listening_ports",
                           address.c_str(),
                           "num_threads",
                           "8",
                           "request_timeout_ms",
                           "2000",
                           "enable_keep_alive",
                           "no",
                           nullptr};
  // What it would write to stderr in its own form; what matters of it is said below.
  mg_callbacks callbacks{};
  callbacks.log_message = [](const mg_connection* /*connection*/, const char* /*message*/) {
    return 1;
  };
  mg_init_data init{};
  init.callbacks = &callbacks;
  init.configuration_options = options;
  mg_init_library(0);
  context_ = mg_start2(&init, nullptr);
  if (context_ == nullptr) {
    const bool unknown = address.starts_with('[') && mg_check_feature(MG_FEATURES_IPV6) == 0;
    *error = absl::StrCat("cannot serve metrics on ", address, ": ",
                          unknown ? "the civetweb that waitd is built with has no IPv6"
                                  : "the address is in use, or not one of this machine",
                          "; choose another --metrics-address");
    return "";
  }
  mg_set_request_handler(context_, "/metrics$", &Admin::Metrics, this);
  mg_set_request_handler(context_, "/healthz$", &Admin::Healthz, this);
  mg_set_request_handler(context_, "/readyz$", &Admin::Readyz, this);
  mg_server_port port{};
  mg_get_server_ports(context_, 1, &port);
  host_ = address.substr(0, address.rfind(':'));
  port_ = port.port;
  return absl::StrCat(host_, ":", port_);
}

int Admin::Metrics(mg_connection* connection, void* self) {
  std::vector<prometheus::MetricFamily> families;
  for (const prometheus::Collectable* each : static_cast<Admin*>(self)->collectables_) {
    auto collected = each->Collect();
    families.insert(families.end(), std::make_move_iterator(collected.begin()),
                    std::make_move_iterator(collected.end()));
  }
  return Answer(connection, 200, "text/plain; version=0.0.4; charset=utf-8",
                prometheus::TextSerializer().Serialize(families));
}

int Admin::Healthz(mg_connection* connection, void* /*self*/) {
  return Answer(connection, 200, kPlain, "ok\n");
}

int Admin::Readyz(mg_connection* connection, void* self) {
  const bool ready = static_cast<Admin*>(self)->ready_();
  return Answer(connection, ready ? 200 : 503, kPlain, ready ? "ok\n" : "draining\n");
}

}  // namespace waitd::server
